//! Verdicts of models about cases, to be compared with what later proves true.

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;
use prometheus::IntCounterVec;

use super::{prompt::Key, verdict::Verdict};
use crate::{
    assessment::{Label, Truth},
    case::CaseId,
};

/// Cases that are remembered; of more, whichever was judged first goes. 8 MiB.
const MOST: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
/// Providers that are remembered of one case: the one that was asked, and the second opinion.
const MOST_GIVEN: usize = 2;

/// The verdict of one model about a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GivenVerdict {
    pub(super) provider: String,
    pub(super) model: String,
    pub(super) verdict: Verdict,
}

/// Verdicts about a case; none any more once they were compared.
struct Judged {
    key: Key,
    given: Vec<GivenVerdict>,
}

/// Verdicts by case.
pub(super) struct Truths {
    said: Mutex<LruCache<CaseId, Judged>>,
    proved: IntCounterVec,
}

impl Truths {
    /// Nothing is known; `proved` has the labels provider, model, verdict and truth.
    pub(super) fn new(proved: IntCounterVec) -> Self {
        Self {
            said: Mutex::new(LruCache::new(MOST)),
            proved,
        }
    }

    /// Notes the verdicts about a case, under this key. What is proved already is not compared again.
    pub(super) fn note(&self, case: CaseId, key: Key, given: &[GivenVerdict]) {
        let mut held = self.said.lock();
        if held.get(&case).is_none_or(|said| !said.given.is_empty()) {
            let given = given.iter().take(MOST_GIVEN).cloned().collect();
            held.put(case, Judged { key, given });
        }
    }

    /// A case proved to be something: each model that judged it is compared, once. The key of the
    /// verdicts comes back where one was wrong about a client that is to be let through.
    fn prove(&self, case: CaseId, truth: &str, spares: bool) -> Option<Key> {
        let mut held = self.said.lock();
        let said = held.get_mut(&case)?;
        let given = std::mem::take(&mut said.given);
        let is_wrong = spares && given.iter().any(|one| one.verdict.condemns());
        let key = said.key;
        drop(held);
        for one in given {
            let labels = [
                one.provider.as_str(),
                one.model.as_str(),
                one.verdict.name(),
                truth,
            ];
            self.proved.with_label_values(&labels).inc();
        }
        is_wrong.then_some(key)
    }

    /// A gateway saw what a client is.
    pub(super) fn proved(&self, case: CaseId, truth: Truth) -> Option<Key> {
        match truth {
            Truth::Trap => self.prove(case, "trap", false),
            Truth::Verified => self.prove(case, "verified_bot", true),
        }
    }

    /// A person labelled the client.
    pub(super) fn labelled(&self, case: CaseId, label: Label) -> Option<Key> {
        match label {
            Label::Person => self.prove(case, "person", true),
            Label::WelcomeBot => self.prove(case, "welcome_bot", true),
            Label::Scraper => self.prove(case, "scraper", false),
            Label::Malicious => self.prove(case, "malicious", false),
        }
    }
}
