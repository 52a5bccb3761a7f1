//! A path is refused or takes one form, in which nothing climbs and nothing is encoded in vain.

use thornwall_detectors::request::{normalise_path, plain_path};

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let sent = text(bytes);
    let plain = plain_path(sent);
    let Ok(path) = normalise_path(sent) else {
        assert_eq!(plain, sent);
        return;
    };
    assert_eq!(normalise_path(&path).as_deref(), Ok(path.as_ref()));
    assert_eq!(plain_path(&plain), plain);
    if path == "*" {
        return;
    }
    for form in [&path, &plain] {
        assert!(form.starts_with('/') && !form.starts_with("//"), "{form}");
        assert!(
            form.bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'\\'),
            "{form}"
        );
        assert!(!form.to_ascii_lowercase().contains("%2e"), "{form}");
        let climbs = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
        assert!(!form.split('/').any(climbs), "{form}");
    }
    assert!(!plain.contains("//"), "{plain}");
}
