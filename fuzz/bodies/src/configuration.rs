//! Any text is a configuration or a list of mistakes with their places.

use thornwall_gateway::config::ConfigFile;

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let text = text(bytes);
    let file = ConfigFile {
        path: "fuzz.toml".into(),
        text: text.to_owned(),
    };
    let loaded = file.parse();
    assert!(loaded.value.is_some() || !loaded.problems.is_empty());
    let _ = file.describe(&loaded.problems);
}
