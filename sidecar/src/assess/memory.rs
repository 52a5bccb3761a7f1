//! What is remembered of subjects, their neighbours and their shapes.

use std::{collections::VecDeque, net::IpAddr, num::NonZeroUsize};

use lru::LruCache;
use parking_lot::Mutex;
use thornwall_decisions::prefix_set::Prefix;
use thornwall_detectors::address::neighbourhood;

use super::step::Finding;
use crate::{
    assessment::Label,
    case::{Case, CaseId},
};

/// Subjects, neighbourhoods and shapes that are remembered; of more, the one that was quiet for longest
/// goes. 20 MiB where all are taken.
const MOST: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
/// For how long a condemned case counts against its subject: a week, as the predecessor remembered.
const SUBJECT_MS: u64 = 7 * 24 * 3_600_000;
/// For how long it counts against neighbours and its shape: addresses and fashions change.
const OTHERS_MS: u64 = 3_600_000;
/// Times that are kept of one subject.
const MOST_TIMES: usize = 16;

/// What is known of earlier cases.
pub struct Memory(Mutex<Remembered>);

struct Remembered {
    subjects: LruCache<(String, Prefix), Times>,
    neighbourhoods: LruCache<(String, IpAddr), Others>,
    shapes: LruCache<(String, u64), Others>,
    labels: LruCache<(String, Prefix), Label>,
}

/// When a subject was condemned.
type Times = VecDeque<Condemned>;

/// One time that a subject was condemned.
#[derive(Debug, Clone, Copy)]
struct Condemned {
    case: CaseId,
    when_ms: u64,
    until_ms: u64,
}
/// Other subjects that were condemned, and when.
type Others = VecDeque<(Prefix, u64)>;

/// A case that was condemned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Condemnation<'a> {
    pub id: CaseId,
    pub site: &'a str,
    pub subject: Prefix,
    /// How its requests look.
    pub shape: u64,
    /// When it was condemned.
    pub when_ms: u64,
    /// Until when that holds.
    pub until_ms: u64,
}

/// The past of a case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// Times that its subject was condemned within a week.
    pub condemned: u32,
    /// Neighbours that were condemned within an hour.
    pub neighbours: u32,
    /// Others with the same shape that were condemned within an hour.
    pub alike: u32,
    /// The label that a person gave to the subject, where that spares it.
    pub label: Option<Label>,
}

impl Default for Memory {
    fn default() -> Self {
        Self(Mutex::new(Remembered {
            subjects: LruCache::new(MOST),
            neighbourhoods: LruCache::new(MOST),
            shapes: LruCache::new(MOST),
            labels: LruCache::new(MOST),
        }))
    }
}

impl Memory {
    /// What is known of a case's subject, its neighbours and its shape.
    pub(super) fn past(&self, case: &Case, now_ms: u64) -> Past {
        let mut held = self.0.lock();
        let subject = (case.site.clone(), case.subject);
        let label = held.labels.get(&subject).copied();
        let times = held.subjects.get(&subject);
        // A case is no evidence against itself; a client that comes back after its time is.
        let earlier = |past: &&Condemned| past.case != case.id || past.until_ms <= now_ms;
        let condemned = times.map_or(0, |times| {
            let times = times.iter().filter(earlier);
            recent(times.map(|past| &past.when_ms), now_ms, SUBJECT_MS)
        });
        let near = (case.site.clone(), neighbourhood(case.subject.first()));
        let neighbours = held.neighbourhoods.get(&near);
        let shape = (case.site.clone(), case.shape);
        let others = |others: Option<&Others>| {
            others.map_or(0, |others| {
                let times = others.iter().filter(|(who, _)| *who != case.subject);
                recent(times.map(|(_, when)| when), now_ms, OTHERS_MS)
            })
        };
        let neighbours = others(neighbours);
        Past {
            condemned,
            neighbours,
            alike: others(held.shapes.get(&shape)),
            label: label.filter(|label| label.spares()),
        }
    }

    /// Notes that a case was condemned.
    pub(crate) fn condemn(&self, case: &Condemnation<'_>) {
        let mut held = self.0.lock();
        let Condemnation { site, subject, .. } = *case;
        let times = held
            .subjects
            .get_or_insert_mut((site.to_owned(), subject), Times::new);
        push(times, case);
        let near = (site.to_owned(), neighbourhood(subject.first()));
        let others = held.neighbourhoods.get_or_insert_mut(near, Others::new);
        note(others, subject, case.when_ms);
        let others = held
            .shapes
            .get_or_insert_mut((site.to_owned(), case.shape), Others::new);
        note(others, subject, case.when_ms);
    }

    /// A person labelled a subject.
    pub(crate) fn label(&self, site: &str, subject: Prefix, label: Label) {
        self.0.lock().labels.put((site.to_owned(), subject), label);
    }
}

/// A case that is condemned anew while that holds is condemned once.
fn push(times: &mut Times, case: &Condemnation<'_>) {
    times.retain(|past| past.case != case.id || past.until_ms <= case.when_ms);
    times.push_back(Condemned {
        case: case.id,
        when_ms: case.when_ms,
        until_ms: case.until_ms,
    });
    if times.len() > MOST_TIMES {
        times.pop_front();
    }
}

/// One time of each other: a client that is condemned ten times is still one neighbour.
fn note(others: &mut Others, who: Prefix, when_ms: u64) {
    others.retain(|(known, _)| *known != who);
    others.push_back((who, when_ms));
    if others.len() > MOST_TIMES {
        others.pop_front();
    }
}

fn recent<'a>(times: impl Iterator<Item = &'a u64>, now_ms: u64, within_ms: u64) -> u32 {
    let recent = times.filter(|when| now_ms.saturating_sub(**when) < within_ms);
    u32::try_from(recent.count()).unwrap_or(u32::MAX)
}

/// Judges a case by its past. Neighbours and shapes weigh little each: a whole office shares a
/// network, and a whole country a browser.
pub(super) fn judge(past: &Past) -> Finding {
    let own = match past.condemned {
        0 => 0.0,
        1 => 0.2,
        2 => 0.4,
        _ => 0.6,
    };
    let near = (past.neighbours as f32 * 0.03).min(0.3);
    let alike = (past.alike as f32 * 0.05).min(0.4);
    Finding::new(
        1.0 - (1.0 - own) * (1.0 - near) * (1.0 - alike),
        format!(
            "condemned {} times in a week; within an hour {} neighbours and {} of the same shape",
            past.condemned, past.neighbours, past.alike
        ),
    )
}
