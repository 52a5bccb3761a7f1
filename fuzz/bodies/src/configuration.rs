//! Any text is a configuration or a list of mistakes with their places.

use thornwall_gateway::config::Config;

use crate::text;
use thornwall_settings::file::ConfigFile;

pub(crate) fn run(bytes: &[u8]) {
    let text = text(bytes);
    let file = ConfigFile {
        path: "fuzz.toml".into(),
        text: text.to_owned(),
    };
    let loaded = Config::parse(&file);
    assert!(loaded.value.is_some() || !loaded.problems.is_empty());
    let _ = file.describe(&loaded.problems);
}
