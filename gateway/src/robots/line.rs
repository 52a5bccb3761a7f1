//! Files that wait to be read: hosts that the configuration names before those that a wildcard lets
//! in, and one site after the other, so that made-up hosts of one site keep no other site waiting.

use std::collections::{BTreeMap, HashSet, VecDeque};

/// Most hosts without a name of their own in the configuration that wait for one site.
const MOST_OF_SITE: usize = 64;
/// Most that wait in all.
const MOST: usize = 4096;

/// A file that is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Want {
    /// Key of the file in the table.
    pub(crate) key: u64,
    /// The site's number.
    pub(crate) site: u16,
    /// Whether it is asked for by HTTPS.
    pub(crate) secure: bool,
    pub(crate) host: Box<str>,
    /// The port, where it makes another place than none.
    pub(crate) port: Option<u16>,
    /// Whether the configuration names the host.
    pub(crate) definite: bool,
}

/// Files that wait to be read, and files that are being read.
#[derive(Debug, Default)]
pub(super) struct Line {
    under_way: HashSet<u64>,
    waiting: usize,
    definite: BTreeMap<u16, VecDeque<Want>>,
    others: BTreeMap<u16, VecDeque<Want>>,
    /// Whose turn it was last.
    last: u16,
}

impl Line {
    /// Lets a file wait, unless it does already; whether it will be read.
    pub(super) fn push(&mut self, key: u64, make: impl FnOnce() -> Want) -> bool {
        if self.under_way.contains(&key) {
            return true;
        }
        let want = make();
        let lines = if want.definite {
            &mut self.definite
        } else {
            &mut self.others
        };
        let line = lines.entry(want.site).or_default();
        if self.waiting >= MOST || (!want.definite && line.len() >= MOST_OF_SITE) {
            return false;
        }
        line.push_back(want);
        self.waiting += 1;
        self.under_way.insert(key);
        true
    }

    /// The next one, which counts as under way until [`Self::done`].
    pub(super) fn next(&mut self) -> Option<Want> {
        let last = self.last;
        let want = turn(&mut self.definite, last).or_else(|| turn(&mut self.others, last))?;
        self.waiting -= 1;
        self.last = want.site;
        Some(want)
    }

    /// A file has been read, or could not be.
    pub(super) fn done(&mut self, key: u64) {
        self.under_way.remove(&key);
    }

    /// Whether nothing waits.
    pub(super) const fn is_empty(&self) -> bool {
        self.waiting == 0
    }
}

fn turn(lines: &mut BTreeMap<u16, VecDeque<Want>>, last: u16) -> Option<Want> {
    let after = lines.range(last.saturating_add(1)..).next();
    let site = *after.or_else(|| lines.iter().next())?.0;
    let line = lines.get_mut(&site)?;
    let want = line.pop_front();
    if line.is_empty() {
        lines.remove(&site);
    }
    want
}

#[cfg(test)]
mod tests {
    use super::{Line, MOST_OF_SITE, Want};

    fn want(site: u16, key: u64, definite: bool) -> Want {
        Want {
            key,
            site,
            secure: false,
            host: "h".into(),
            port: None,
            definite,
        }
    }

    #[test]
    fn named_hosts_come_first_and_no_site_keeps_another_waiting() {
        let mut line = Line::default();
        for key in 0..1000 {
            let taken = line.push(key, || want(1, key, false));
            assert_eq!(taken, key < MOST_OF_SITE as u64, "{key}");
        }
        assert!(line.push(2000, || want(2, 2000, false)));
        assert!(line.push(3000, || want(1, 3000, true)));
        assert!(line.push(3000, || panic!("it waits already")));
        let keys: Vec<u64> = std::iter::from_fn(|| line.next())
            .take(4)
            .map(|want| want.key)
            .collect();
        assert_eq!(keys, [3000, 2000, 0, 1]);
        assert!(line.push(0, || panic!("it is under way")));
        line.done(0);
        assert!(line.push(0, || want(1, 0, false)));
    }
}
