//! The stream of changes, read a page at a time.

use std::time::Duration;

use super::{
    entry::Names,
    link::{Command, Link, LinkError},
    wire::Value,
};

/// Entries of one read.
const PAGE: usize = 256;
/// Before the first entry of any stream.
pub(super) const BEGINNING: &str = "0-0";
/// The field of an entry with the change.
pub(super) const FIELD: &str = "change";
/// Longest id: two numbers of 64 bits.
const LONGEST_ID: usize = 41;

/// A part of the stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Its entries, in their order.
    pub(super) entries: Vec<Entry>,
    /// The last of them is larger than anything that is read.
    pub(super) oversized: bool,
    /// There may be more at once.
    pub(super) more: bool,
}

/// An entry of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    /// The change, where it has one.
    pub(super) change: Option<Vec<u8>>,
}

/// What came after `last`, waiting so many milliseconds for something to come.
pub(super) async fn read(
    link: &mut Link,
    names: &Names,
    last: &str,
    wait_ms: Option<u64>,
) -> Result<Page, LinkError> {
    let mut command = Command::new("XREAD").word("COUNT").word(PAGE.to_string());
    if let Some(wait_ms) = wait_ms {
        command = command.word("BLOCK").word(wait_ms.to_string());
    }
    let command = command.word("STREAMS").key(names.stream()).word(last);
    let wait = Duration::from_millis(wait_ms.unwrap_or_default());
    match link.ask_for(command, wait).await? {
        Value::Null => Ok(Page::default()),
        // One stream was asked for: its name, and its entries.
        value => {
            let of_stream = first(value).and_then(Value::list);
            let entries = of_stream.and_then(|parts| parts.into_iter().nth(1));
            page(entries.ok_or(LinkError::Bounds)?)
        }
    }
}

/// The id of the first entry from `from` to `to`.
pub(super) async fn first_of(
    link: &mut Link,
    names: &Names,
    (from, to): (&str, &str),
) -> Result<Option<String>, LinkError> {
    one(
        link,
        Command::new("XRANGE")
            .key(names.stream())
            .word(from)
            .word(to),
    )
    .await
}

/// The id of the last entry.
pub(super) async fn last_of(link: &mut Link, names: &Names) -> Result<Option<String>, LinkError> {
    let command = Command::new("XREVRANGE").key(names.stream());
    one(link, command.word("+").word("-")).await
}

async fn one(link: &mut Link, command: Command) -> Result<Option<String>, LinkError> {
    let entries = link.ask(command.word("COUNT").word("1")).await?;
    let found = page(entries)?.entries.into_iter().next();
    Ok(found.map(|entry| entry.id))
}

/// Entries as they are answered. One that is cut because those before it took up the room is left for
/// the next time; one that is cut although it came first is larger than anything that is read.
fn page(value: Value) -> Result<Page, LinkError> {
    const STRANGE: LinkError = LinkError::Form("no entries of a stream");
    let is_cut = value.is_cut();
    let mut parts = value.list().ok_or(LinkError::Bounds)?;
    let cut = parts.pop_if(|_| is_cut);
    let entries: Option<Vec<Entry>> = parts.into_iter().map(entry).collect();
    let mut entries = entries.ok_or(STRANGE)?;
    let more = is_cut || entries.len() >= PAGE;
    let oversized = entries.is_empty() && is_cut;
    if oversized {
        entries.push(cut.and_then(entry).ok_or(LinkError::Bounds)?);
    }
    Ok(Page {
        entries,
        oversized,
        more,
    })
}

fn entry(value: Value) -> Option<Entry> {
    let mut parts = value.list()?.into_iter();
    let id = String::from_utf8(parts.next()?.text()?).ok()?;
    let plain = |byte: u8| byte.is_ascii_digit() || byte == b'-';
    if id.len() > LONGEST_ID || !id.bytes().all(plain) {
        return None;
    }
    let mut fields = parts.next()?.list().unwrap_or_default().into_iter();
    let mut change = None;
    while let Some((name, value)) = fields.next().zip(fields.next()) {
        if name.text().as_deref() == Some(FIELD.as_bytes()) {
            change = value.text();
        }
    }
    Some(Entry { id, change })
}

fn first(value: Value) -> Option<Value> {
    value.list()?.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }

    fn written(id: &str, change: Value) -> Value {
        Value::List(vec![
            text(id),
            Value::List(vec![text("other"), text("x"), text(FIELD), change]),
        ])
    }

    fn read(id: &str, change: Option<&str>) -> Entry {
        Entry {
            id: id.to_owned(),
            change: change.map(|change| change.as_bytes().to_vec()),
        }
    }

    #[test]
    fn what_is_cut_is_passed_over_only_where_it_came_first() {
        let whole = page(Value::List(vec![
            written("1-0", text("a")),
            written("2-0", text("b")),
        ]));
        let entries = vec![read("1-0", Some("a")), read("2-0", Some("b"))];
        let expected = Page {
            entries,
            ..Page::default()
        };
        assert_eq!(whole.unwrap(), expected);
        let later = page(Value::List(vec![
            written("1-0", text("a")),
            Value::List(vec![text("2-0"), Value::List(vec![Value::Cut])]),
        ]));
        let expected = Page {
            entries: vec![read("1-0", Some("a"))],
            more: true,
            oversized: false,
        };
        assert_eq!(later.unwrap(), expected);
        for fields in [Value::Cut, Value::List(vec![text(FIELD), Value::Cut])] {
            let first = page(Value::List(vec![Value::List(vec![text("2-0"), fields])]));
            let expected = Page {
                entries: vec![read("2-0", None)],
                more: true,
                oversized: true,
            };
            assert_eq!(first.unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_stream_is_an_error() {
        for strange in [
            Value::Cut,
            Value::Number(1),
            Value::List(vec![Value::Cut]),
            Value::List(vec![written("", Value::Null), Value::Null]),
            Value::List(vec![written("1-0\r\n", text("a"))]),
        ] {
            assert!(page(strange.clone()).is_err(), "{strange:?}");
        }
    }
}
