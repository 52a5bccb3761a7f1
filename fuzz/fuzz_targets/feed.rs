//! Any bytes are a feed or an error, in every form; what is taken is small enough, and of the internet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thornwall_detectors::address::is_global;
use thornwall_filters::feed::{Column, Form, MOST_NOTES, parse};

fuzz_target!(|input: (u8, &str, &[u8])| {
    let (kind, place, bytes) = input;
    let form = match (kind % 4, place.parse()) {
        (0, _) => Form::Text,
        (1, _) => Form::Csv(Column::Name(place.to_owned())),
        (2, _) => Form::Csv(Column::Number(usize::from(kind / 4))),
        (_, Ok(pointer)) => Form::Json(pointer),
        _ => return,
    };
    if let Ok(feed) = parse(bytes, &form) {
        assert!(feed.subjects.len() <= bytes.len() && feed.notes.len() <= MOST_NOTES);
        assert!(feed.subjects.is_sorted_by_key(|subject| (subject.first(), subject.length())));
        assert!(feed.subjects.iter().all(|subject| is_global(subject.first(), subject.last())));
    }
});
