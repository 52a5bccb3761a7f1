//! Text of strangers as a terminal may have it: user agents, paths, notes, names that other gateways
//! gave. What would be obeyed instead of shown (C0 and C1 controls), would turn the line around
//! (bidirectional marks), break it, or be invisible is escaped as Rust writes it: `\u{202e}`.

use std::{borrow::Cow, fmt::Write};

/// One line of text.
pub fn printable(text: &str) -> Cow<'_, str> {
    escape(text, is_shown, |escaped, character| {
        escaped.extend(character.escape_default());
    })
}

/// Text whose line ends are its own.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    let shown = |character| character == '\n' || is_shown(character);
    escape(text, shown, |escaped, character| {
        escaped.extend(character.escape_default());
    })
}

/// A JSON text that means the same. Between its strings there is nothing to escape.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let shown = |character: char| character.is_ascii_whitespace() || is_shown(character);
    escape(json, shown, |escaped, character| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a text does not fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    })
}

fn escape<'a>(
    text: &'a str,
    is_shown: impl Fn(char) -> bool,
    write: impl Fn(&mut String, char),
) -> Cow<'a, str> {
    if text.chars().all(&is_shown) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_shown(character) {
            escaped.push(character);
        } else {
            write(&mut escaped, character);
        }
    }
    Cow::Owned(escaped)
}

/// Whether a character is seen as itself. The standard library knows which characters Unicode has
/// given a form, and escapes all others: controls, formats, separators but the space, surrogates,
/// private and unassigned ones.
fn is_shown(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_ascii_control();
    }
    // Marks that belong to the letter before them are shown with it: they are letters of many scripts.
    let mut behind_a_letter = [0; 5];
    behind_a_letter[0] = b'a';
    let length = 1 + character.encode_utf8(&mut behind_a_letter[1..]).len();
    let text = str::from_utf8(&behind_a_letter[..length]).unwrap_or_default();
    text.escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What no terminal may get: U+0000-001F, U+007F-009F, and what Unicode calls a format, a
    /// separator of lines and paragraphs, private or nothing yet.
    const OBEYED: &[char] = &[
        '\0',
        '\u{7}',
        '\u{8}',
        '\t',
        '\r',
        '\u{1b}',
        '\u{7f}',
        '\u{80}',
        '\u{85}',
        '\u{9b}',
        '\u{9d}',
        '\u{a0}',
        '\u{ad}',
        '\u{61c}',
        '\u{180e}',
        '\u{200b}',
        '\u{200e}',
        '\u{200f}',
        '\u{2028}',
        '\u{2029}',
        '\u{202a}',
        '\u{202b}',
        '\u{202c}',
        '\u{202d}',
        '\u{202e}',
        '\u{2060}',
        '\u{2066}',
        '\u{2067}',
        '\u{2068}',
        '\u{2069}',
        '\u{206f}',
        '\u{e000}',
        '\u{feff}',
        '\u{fff9}',
        '\u{e0001}',
        '\u{e0041}',
        '\u{10ffff}',
        '\u{378}',
    ];

    #[test]
    fn what_is_obeyed_is_escaped_and_what_is_read_is_not() {
        for &character in OBEYED {
            for text in [character.to_string(), format!("x{character}y")] {
                for escaped in [printable(&text), printable_lines(&text)] {
                    assert!(escaped.contains('\\'), "{:x}", u32::from(character));
                    assert!(!escaped.contains(character), "{:x}", u32::from(character));
                }
            }
        }
        assert_eq!(
            printable("a\u{1b}[2J\u{202e}\nb"),
            "a\\u{1b}[2J\\u{202e}\\nb"
        );
        assert_eq!(printable_lines("a\nb\u{9b}"), "a\nb\\u{9b}");
        for text in [
            "Mozilla/5.0 (\"x\"; 'y') \\",
            "München ∑ 中文 हिन्दी ไทย עברית 🦀",
            "",
        ] {
            assert!(
                matches!(printable(text), Cow::Borrowed(same) if same == text),
                "{text}"
            );
        }
    }

    #[test]
    fn json_says_the_same() {
        for text in OBEYED
            .iter()
            .map(|character| format!("a\"{character}\n"))
            .chain(["é".to_owned()])
        {
            let json = serde_json::to_string_pretty(&[&text]).unwrap();
            let shown = printable_json(&json);
            assert_eq!(serde_json::from_str::<[String; 1]>(&shown).unwrap(), [text]);
            assert!(shown.chars().all(|c| c == '\n' || is_shown(c)), "{shown:?}");
        }
    }
}
