//! Bytes from the disk are a decision or an error; what is read can be written and read again.

use thornwall_decisions::{
    decision::Decision,
    store::record::{decode, decode_key, encode, encode_key},
};

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(key) = decode_key(bytes) {
        assert_eq!(decode_key(&encode_key(&key)).as_ref(), Ok(&key));
    }
    let _ = decode(bytes);
    // What a checksum would keep the fuzzer from.
    if let Ok(decision) = serde_json::from_slice::<Decision>(bytes) {
        let decision = decision.bounded();
        assert_eq!(decode(&encode(&decision)).as_ref(), Ok(&decision));
    }
}
