//! Any bytes are a feed or an error, in every form; what is taken is small enough, and of the internet.

use thornwall_decisions::feed::{Column, Form, MOST_NOTES, parse};
use thornwall_detectors::address::is_global;

use crate::text;

/// The first byte is the form, the rest of its line the column or the pointer.
pub(crate) fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (place, bytes) = bytes.split_at(end.unwrap_or_default());
    let (kind, place) = (*kind, text(place));
    let form = match (kind % 4, place.parse()) {
        (0, _) => Form::Text,
        (1, _) => Form::Csv(Column::Name(place.to_owned())),
        (2, _) => Form::Csv(Column::Number(usize::from(kind / 4))),
        (_, Ok(pointer)) => Form::Json(pointer),
        _ => return,
    };
    if let Ok(feed) = parse(bytes, &form) {
        assert!(feed.subjects.len() <= bytes.len() && feed.notes.len() <= MOST_NOTES);
        assert!(
            feed.subjects
                .is_sorted_by_key(|subject| (subject.first(), subject.length()))
        );
        assert!(
            feed.subjects
                .iter()
                .all(|subject| is_global(subject.first(), subject.last()))
        );
    }
}
