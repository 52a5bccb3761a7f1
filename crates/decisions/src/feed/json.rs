//! Feeds of JSON, read as a stream: only the addresses are kept, however large the text around them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{
    Entries, FeedError,
    pointer::{Pointer, Step},
};

/// Takes every string that the pointer leads to, in each of the JSON texts that follow each other.
pub(super) fn read(
    bytes: &[u8],
    pointer: &Pointer,
    entries: &mut Entries,
) -> Result<(), FeedError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let mut walk = Walk {
        entries,
        too_many: false,
    };
    while reader.end().is_err() {
        let below = Below {
            steps: pointer.steps(),
            walk: &mut walk,
        };
        let read = below.deserialize(&mut reader);
        if walk.too_many {
            return Err(FeedError::TooMany);
        }
        read.map_err(|error| FeedError::Json(error.to_string()))?;
    }
    Ok(())
}

struct Walk<'a> {
    entries: &'a mut Entries,
    too_many: bool,
}

/// What is left of the way down.
struct Below<'a, 'w> {
    steps: &'a [Step],
    walk: &'a mut Walk<'w>,
}

impl<'de> DeserializeSeed<'de> for Below<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Below<'_, '_> {
    fn other(self, what: &str) {
        // Other values beside the path are no mistake: feeds have lines about themselves.
        if self.steps.is_empty() {
            self.walk.entries.strange(what);
        }
    }
}

impl<'de> Visitor<'de> for Below<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if !self.steps.is_empty() {
            return Ok(());
        }
        let number = self.walk.entries.seen + 1;
        let taken = self
            .walk
            .entries
            .take(text.trim(), || format!("entry {number}"));
        taken.map_err(|error| {
            self.walk.too_many = true;
            E::custom(error)
        })
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.other("true or false");
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.other("a number");
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.other("a number");
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.other("a number");
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.other("null");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.steps.split_first() else {
            self.other("an array");
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        for number in 0u64.. {
            let wanted = match step {
                Step::Each => true,
                Step::Into(name) => *name == number.to_string(),
            };
            let more = if wanted {
                let below = Below {
                    steps: rest,
                    walk: &mut *self.walk,
                };
                elements.next_element_seed(below)?.is_some()
            } else {
                elements.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.steps.split_first() else {
            self.other("an object");
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        while let Some(key) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            let wanted = match step {
                Step::Each => true,
                Step::Into(name) => *name == key,
            };
            if wanted {
                members.next_value_seed(Below {
                    steps: rest,
                    walk: &mut *self.walk,
                })?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}
