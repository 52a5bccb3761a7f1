//! Decisions as bytes: how the store keeps them on disk.
//!
//! A key is the family (4 or 6), the first address, the prefix length, and the site's name behind a
//! 1, or a 0 for every site: in this order, entries lie on disk as they lie in memory. A value is a
//! checksum, a version, and what requests need in places of its own, so that a start reads a million
//! of them without parsing text; the whole decision follows as JSON.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use thiserror::Error;

use crate::{
    decision::{Action, Decision, DecisionKey, MOST_TEXT, Scope},
    decisions::Origin,
    prefix_set::Prefix,
};

/// The form of values.
const VERSION: u8 = 1;
/// Bytes before the JSON: checksum, version, action, origin, end.
const HEAD: usize = 4 + 1 + 1 + 1 + 8;

/// Bytes that are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The checksum is another one.
    #[error("the checksum does not fit")]
    Checksum,
    /// Cut off, or with something in it that this version does not write.
    #[error("not a record of this version")]
    Form,
}

/// What requests need of a stored decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Essence {
    pub(super) action: Action,
    pub(super) origin: Origin,
    /// Milliseconds of Unix time.
    pub(super) until_ms: u64,
}

/// The key of a decision.
pub fn encode_key(key: &DecisionKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    match key.subject.first() {
        IpAddr::V4(v4) => {
            bytes.push(4);
            bytes.extend(v4.octets());
        }
        IpAddr::V6(v6) => {
            bytes.push(6);
            bytes.extend(v6.octets());
        }
    }
    bytes.push(key.subject.length());
    match &key.scope {
        Scope::Deployment => bytes.push(0),
        Scope::Site(name) => {
            bytes.push(1);
            bytes.extend(name.as_bytes());
        }
    }
    bytes
}

/// What a key is about.
pub fn decode_key(bytes: &[u8]) -> Result<DecisionKey, RecordError> {
    let (family, rest) = bytes.split_first().ok_or(RecordError::Form)?;
    let (first, rest): (IpAddr, &[u8]) = match family {
        4 => {
            let (octets, rest) = rest.split_first_chunk::<4>().ok_or(RecordError::Form)?;
            (Ipv4Addr::from(*octets).into(), rest)
        }
        6 => {
            let (octets, rest) = rest.split_first_chunk::<16>().ok_or(RecordError::Form)?;
            (Ipv6Addr::from(*octets).into(), rest)
        }
        _ => return Err(RecordError::Form),
    };
    let (length, rest) = rest.split_first().ok_or(RecordError::Form)?;
    let subject = Prefix::new(first, *length).map_err(|_| RecordError::Form)?;
    let scope = match rest.split_first() {
        Some((0, [])) => Scope::Deployment,
        Some((1, name)) if (1..=MOST_TEXT).contains(&name.len()) => {
            let name = str::from_utf8(name).map_err(|_| RecordError::Form)?;
            Scope::Site(Arc::from(name))
        }
        _ => return Err(RecordError::Form),
    };
    Ok(DecisionKey { subject, scope })
}

/// The value of a decision.
pub fn encode(decision: &Decision) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.push(VERSION);
    bytes.push(decision.action.number());
    bytes.push(Origin::from(&decision.source).number());
    bytes.extend(decision.until_ms.to_le_bytes());
    // A struct of texts and numbers always becomes JSON.
    let _ = serde_json::to_writer(&mut bytes, decision);
    let checksum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// What requests need of a value.
pub(super) fn essence(bytes: &[u8]) -> Result<Essence, RecordError> {
    let (checksum, rest) = bytes.split_first_chunk::<4>().ok_or(RecordError::Form)?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*checksum) {
        return Err(RecordError::Checksum);
    }
    let [VERSION, action, origin, rest @ ..] = rest else {
        return Err(RecordError::Form);
    };
    let until = rest.first_chunk::<8>().ok_or(RecordError::Form)?;
    Ok(Essence {
        action: Action::from_number(*action).ok_or(RecordError::Form)?,
        origin: Origin::from_number(*origin).ok_or(RecordError::Form)?,
        until_ms: u64::from_le_bytes(*until),
    })
}

/// The whole decision of a value.
pub fn decode(bytes: &[u8]) -> Result<Decision, RecordError> {
    essence(bytes)?;
    let json = bytes.get(HEAD..).ok_or(RecordError::Form)?;
    let decision: Decision = serde_json::from_slice(json).map_err(|_| RecordError::Form)?;
    Ok(decision.bounded())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{ReasonCode, Source};

    fn decision(subject: &str, scope: Scope) -> Decision {
        Decision {
            subject: subject.parse().unwrap(),
            scope,
            action: Action::Tarpit,
            reason: ReasonCode::Foreign("of_another.version".into()),
            source: Source::Feed("list".into()),
            evidence: "é".to_owned(),
            note: String::new(),
            requests: Vec::new(),
            made_ms: 1,
            until_ms: 2,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for subject in ["192.0.2.7", "0.0.0.0/0", "2001:db8::/32", "::1"] {
            for scope in [Scope::Deployment, Scope::Site("shop".into())] {
                let written = decision(subject, scope);
                assert_eq!(decode_key(&encode_key(&written.key())), Ok(written.key()));
                let bytes = encode(&written);
                assert_eq!(decode(&bytes).as_ref(), Ok(&written));
                let expected = Essence {
                    action: Action::Tarpit,
                    origin: Origin::Feed,
                    until_ms: 2,
                };
                assert_eq!(essence(&bytes), Ok(expected));
            }
        }
    }

    /// Records as this form of values has them on disks. Whoever changes one of these lines has changed what
    /// an upgrade makes of the decisions that it finds.
    #[test]
    fn records_on_disks_are_read_as_they_were_meant() {
        let record = |action, source: &str| {
            let source = Source::try_from(source.to_owned()).unwrap();
            Decision {
                action,
                source,
                ..decision("192.0.2.0/24", Scope::Site("shop".into()))
            }
        };
        let check = |written: Decision, head: &str, action: &str, source: &str| {
            let json = format!(
                r#"{{"subject":"192.0.2.0/24","scope":"shop","action":"{action}","reason":"of_another.version","source":"{source}","evidence":"é","made_ms":1,"until_ms":2}}"#
            );
            let head: Vec<u8> = (0..head.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&head[at..at + 2], 16).unwrap())
                .collect();
            let mut stored = crc32fast::hash(&[&head, json.as_bytes()].concat())
                .to_le_bytes()
                .to_vec();
            stored.extend([&head, json.as_bytes()].concat());
            assert_eq!(encode(&written), stored, "{action} {source}");
            assert_eq!(decode(&stored), Ok(written), "{action} {source}");
        };
        let deny = |source| record(Action::Deny, source);
        check(
            deny("feed:list"),
            "0100000200000000000000",
            "deny",
            "feed:list",
        );
        check(
            deny("filter:a.b"),
            "0100010200000000000000",
            "deny",
            "filter:a.b",
        );
        check(
            deny("operator"),
            "0100020200000000000000",
            "deny",
            "operator",
        );
        check(
            deny("predecessor"),
            "0100030200000000000000",
            "deny",
            "predecessor",
        );
        check(deny("sidecar"), "0100040200000000000000", "deny", "sidecar");
        check(
            record(Action::Tarpit, "operator"),
            "0101020200000000000000",
            "tarpit",
            "operator",
        );
        check(
            record(Action::Throttle, "operator"),
            "0102020200000000000000",
            "throttle",
            "operator",
        );
        let key = encode_key(&deny("operator").key());
        assert_eq!(key, [4, 192, 0, 2, 0, 24, 1, b's', b'h', b'o', b'p']);
    }

    #[test]
    fn numbers_that_another_version_gave_are_no_record() {
        let mut bytes = encode(&decision("192.0.2.7", Scope::Deployment));
        for (at, number) in [(5, 3), (6, 5), (4, 2)] {
            let before = std::mem::replace(&mut bytes[at], number);
            let checksum = crc32fast::hash(&bytes[4..]);
            bytes[..4].copy_from_slice(&checksum.to_le_bytes());
            assert_eq!(decode(&bytes), Err(RecordError::Form), "{at}");
            bytes[at] = before;
        }
    }

    #[test]
    fn damage_is_noticed() {
        let bytes = encode(&decision("192.0.2.7", Scope::Deployment));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(decode(&damaged).is_err(), "{at}");
            assert!(decode(&bytes[..at]).is_err(), "{at}");
        }
        let key = encode_key(&decision("192.0.2.7", Scope::Site("s".into())).key());
        for end in 0..key.len() {
            assert_eq!(decode_key(&key[..end]), Err(RecordError::Form));
        }
        assert!(decode_key(&[4, 192, 0, 2, 7, 24, 0]).is_err());
        assert!(decode_key(&[4, 192, 0, 2, 7, 33, 0]).is_err());
        assert!(decode_key(&[5, 192, 0, 2, 7, 32, 0]).is_err());
    }
}
