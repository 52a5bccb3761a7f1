//! Any message is a case or is refused; one that is a case makes a prompt whose record nothing ends.

use prost::Message;
use thornwall_proto::v1;
use thornwall_sidecar::{case::Case, llm::Prompt};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(sent) = v1::Case::decode(bytes) else {
        return;
    };
    let Ok(case) = Case::try_from(sent) else {
        return;
    };
    let again = Case::try_from(v1::Case::from(case.clone()));
    assert_eq!(again.as_ref(), Ok(&case));
    let prompt = Prompt::about(&case);
    let lines: Vec<&str> = prompt.text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[1].is_ascii());
    assert!(serde_json::from_str::<serde_json::Value>(lines[1]).is_ok());
}
