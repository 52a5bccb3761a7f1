//! Reports about limits between gateways, as bytes.
//!
//! Numbers are big-endian. A report is the version (1 byte), the sender (8), and groups: the limit (8),
//! the length of the site's name (1) and the name, the number of keys (4), and for each key its
//! digest (14) and what it was let through (4).

use std::sync::Arc;

use thiserror::Error;

/// The form of reports.
const VERSION: u8 = 1;
/// Largest report that is read: what is sent stays well below.
pub const MOST_BYTES: usize = 4 << 20;
/// Largest report that is written; more is left for the next one.
const FULL_AT: usize = 1 << 20;

/// What one gateway let through since its last report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// A number that the gateway gave itself.
    pub gateway: u64,
    /// Groups of keys, by limit and site.
    pub groups: Vec<Group>,
}

/// What was let through at one limit of one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Which limit: a digest of its name and quota.
    pub limit: u64,
    /// The site's name.
    pub site: Arc<str>,
    /// Keys, and what they were let through.
    pub keys: Vec<(Digest, u32)>,
}

/// Bytes of a [`Digest`].
pub const DIGEST: usize = 14;

/// The digest of what is limited, without its site.
pub type Digest = [u8; DIGEST];

/// Error: the bytes are not a valid report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a report of this version")]
pub struct ReportError;

impl Report {
    /// The report as bytes; groups that find no room are given back.
    pub fn encode(mut self) -> (Vec<u8>, Vec<Group>) {
        let mut bytes = vec![VERSION];
        bytes.extend(self.gateway.to_be_bytes());
        while bytes.len() < FULL_AT
            && let Some(group) = self.groups.pop()
        {
            group.encode(&mut bytes);
        }
        (bytes, self.groups)
    }

    /// The sender of a report, read before the rest of it.
    pub fn sender(bytes: &[u8]) -> Result<u64, ReportError> {
        let mut rest = bytes;
        if take::<1>(&mut rest)? != [VERSION] {
            return Err(ReportError);
        }
        Ok(u64::from_be_bytes(take(&mut rest)?))
    }

    /// Reads a report.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReportError> {
        if bytes.len() > MOST_BYTES {
            return Err(ReportError);
        }
        let mut rest = bytes;
        if take::<1>(&mut rest)? != [VERSION] {
            return Err(ReportError);
        }
        let gateway = u64::from_be_bytes(take(&mut rest)?);
        let mut groups = Vec::new();
        while !rest.is_empty() {
            groups.push(Group::decode(&mut rest)?);
        }
        Ok(Self { gateway, groups })
    }
}

impl Group {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let Ok(length) = u8::try_from(self.site.len()) else {
            // No site's name is that long.
            return;
        };
        bytes.extend(self.limit.to_be_bytes());
        bytes.push(length);
        bytes.extend(self.site.as_bytes());
        let count = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        bytes.extend(count.to_be_bytes());
        for (digest, cost) in self.keys.iter().take(count as usize) {
            bytes.extend(digest);
            bytes.extend(cost.to_be_bytes());
        }
    }

    fn decode(rest: &mut &[u8]) -> Result<Self, ReportError> {
        let limit = u64::from_be_bytes(take(rest)?);
        let [length] = take(rest)?;
        let (name, after) = rest.split_at_checked(length.into()).ok_or(ReportError)?;
        *rest = after;
        let site = str::from_utf8(name).map_err(|_| ReportError)?.into();
        let count = u32::from_be_bytes(take(rest)?);
        // Only as many as there are bytes for: the number is a claim.
        let mut keys = Vec::new();
        for _ in 0..count {
            keys.push((take(rest)?, u32::from_be_bytes(take(rest)?)));
        }
        Ok(Self { limit, site, keys })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ReportError> {
    let (first, after) = rest.split_first_chunk::<N>().ok_or(ReportError)?;
    *rest = after;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(limit: u64, site: &str, keys: u8) -> Group {
        Group {
            limit,
            site: site.into(),
            keys: (0..keys)
                .map(|key| ([key; DIGEST], u32::from(key)))
                .collect(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let report = Report {
            gateway: 7,
            groups: vec![group(1, "shop", 3), group(u64::MAX, "", 0)],
        };
        let (bytes, left) = report.clone().encode();
        assert_eq!(left, []);
        let mut read = Report::decode(&bytes).unwrap();
        read.groups.reverse();
        assert_eq!(read, report);
        for end in 1..bytes.len() {
            // Whole groups may be missing; a piece of one is a mistake.
            if let Ok(part) = Report::decode(&bytes[..end]) {
                assert!(part.groups.len() < 2, "{end}");
            }
        }
        assert_eq!(Report::decode(&[]), Err(ReportError));
        assert_eq!(Report::decode(&[2; 9]), Err(ReportError));
    }

    /// What gateways of other versions send and read.
    #[test]
    fn reports_keep_their_form() {
        let report = Report {
            gateway: 7,
            groups: vec![group(258, "shop", 2)],
        };
        let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, 0, 7];
        bytes.extend([0, 0, 0, 0, 0, 0, 1, 2, 4]);
        bytes.extend(b"shop\0\0\0\x02");
        bytes.extend(
            [[0; DIGEST], [1; DIGEST]]
                .iter()
                .zip([0, 1])
                .flat_map(|(digest, cost)| digest.iter().copied().chain([0, 0, 0, cost])),
        );
        assert_eq!(report.clone().encode().0, bytes);
        assert_eq!(Report::decode(&bytes), Ok(report));
    }

    #[test]
    fn a_number_of_keys_is_a_claim() {
        let mut bytes = vec![VERSION];
        bytes.extend([0; 8]);
        bytes.extend([0; 8]);
        bytes.push(0);
        bytes.extend([0xff; 4]);
        assert_eq!(Report::decode(&bytes), Err(ReportError));
    }

    #[test]
    fn a_report_does_not_grow_without_bounds() {
        let keys = vec![([1; DIGEST], 1); 100_000];
        let group = || Group {
            limit: 1,
            site: "shop".into(),
            keys: keys.clone(),
        };
        let report = Report {
            gateway: 7,
            groups: vec![group(), group(), group()],
        };
        let (bytes, left) = report.encode();
        assert_eq!(left.len(), 2);
        assert!(bytes.len() < MOST_BYTES);
        assert!(Report::decode(&bytes).is_ok());
    }
}
