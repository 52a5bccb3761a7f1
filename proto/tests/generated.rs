//! The generated code is what the contract says.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use prost::Message;

const CONTRACT: &str = "thornwall/escalation/v1/escalation.proto";
const FILES: [&str; 2] = ["thornwall.escalation.v1.rs", "thornwall.escalation.v1.bin"];

#[test]
fn generated_code_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let descriptors = protox::compile([CONTRACT], [root]).unwrap();
    fs::write(fresh.join(FILES[1]), descriptors.encode_to_vec()).unwrap();
    tonic_prost_build::configure()
        .out_dir(fresh)
        .compile_fds(descriptors)
        .unwrap();
    let stale: Vec<&str> = FILES
        .into_iter()
        .filter(|file| renew(file, root, fresh))
        .collect();
    assert!(stale.is_empty(), "{stale:?} were made anew: commit them");
}

/// Whether a committed file was not what was made, and is now.
fn renew(file: &str, root: &Path, fresh: &Path) -> bool {
    let committed = root.join("src/generated").join(file);
    let made = fs::read(fresh.join(file)).unwrap();
    let stale = fs::read(&committed).ok().is_none_or(|known| known != made);
    if stale {
        fs::write(&committed, made).unwrap();
    }
    stale
}
