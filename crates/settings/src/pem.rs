//! Files of PEM (RFC 7468) as editors and shells leave them, and as parsers take them.

/// A byte order mark.
const MARK: &str = "\u{feff}";

/// The text of a file of PEM without byte order marks, in UTF-8.
///
/// Editors and shells of Windows begin a file with a mark, which parsers take for a part of the first
/// line: that is passed over then, and with it the certificate. Files that were put together have more
/// of them inside. PowerShell writes UTF-16. Line ends and text around the sections are no trouble.
pub fn plain(bytes: Vec<u8>) -> Vec<u8> {
    let units = |of: fn([u8; 2]) -> u16| {
        let pairs = bytes[2..].chunks_exact(2);
        let units: Vec<u16> = pairs.map(|pair| of([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    let text = match bytes.get(..2) {
        Some([0xff, 0xfe]) => units(u16::from_le_bytes),
        Some([0xfe, 0xff]) => units(u16::from_be_bytes),
        _ if !bytes.windows(MARK.len()).any(|at| at == MARK.as_bytes()) => return bytes,
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    };
    text.replace(MARK, "").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn marks_are_taken_out_and_utf_16_is_read() {
        let text = "x\r\n-----BEGIN A-----\r\n";
        let marked = format!("\u{feff}{text}\u{feff}{text}");
        let wide =
            |of: fn(u16) -> [u8; 2]| -> Vec<u8> { marked.encode_utf16().flat_map(of).collect() };
        let expected = [text, text].concat();
        assert_eq!(plain(marked.clone().into_bytes()), expected.as_bytes());
        assert_eq!(plain(wide(u16::to_le_bytes)), expected.as_bytes());
        assert_eq!(plain(wide(u16::to_be_bytes)), expected.as_bytes());
        for untouched in [b"".as_slice(), b"\xff", b"\xffPEM", text.as_bytes()] {
            assert_eq!(plain(untouched.to_vec()), untouched);
        }
    }
}
