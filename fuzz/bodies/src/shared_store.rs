//! What others wrote into the shared store is refused, or becomes a change within all bounds.

use thornwall_decisions::{
    decision::{Change, MOST_REQUESTS, MOST_TEXT},
    store::shared::{Names, decode_entry, decode_value},
};

pub(crate) fn run(bytes: &[u8]) {
    let names = Names::new("default").expect("it is a tenant");
    if let Ok(Change::Decide(decision)) = decode_entry(bytes) {
        assert!(decision.evidence.len() <= MOST_TEXT && decision.note.len() <= MOST_TEXT);
        assert!(decision.requests.len() <= MOST_REQUESTS);
        assert!(decision.requests.iter().all(|id| id.len() <= MOST_TEXT));
        let value = serde_json::to_vec(&decision).expect("a decision is JSON");
        let key = names.decision(&decision.key());
        let read = decode_value(&names, key.as_bytes(), &value).expect("it was written so");
        assert_eq!(read, decision);
    }
    let _ = decode_value(&names, b"default:decision:*:192.0.2.7", bytes);
}
