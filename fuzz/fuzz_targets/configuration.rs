//! Any text is a configuration or a list of mistakes with their places.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thornwall_gateway::config::ConfigFile;

fuzz_target!(|text: &str| {
    let file = ConfigFile {
        path: "fuzz.toml".into(),
        text: text.to_owned(),
    };
    let loaded = file.parse();
    assert!(loaded.value.is_some() || !loaded.problems.is_empty());
    let _ = file.describe(&loaded.problems);
});
