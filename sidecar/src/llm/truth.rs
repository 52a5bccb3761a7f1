//! What models said of cases, to be compared with what later proves true.

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;
use prometheus::IntCounterVec;

use super::{prompt::Key, verdict::Word};
use crate::{
    assessment::{Label, Truth},
    case::CaseId,
};

/// Cases that are remembered; of more, whichever was judged first goes. 8 MiB.
const MOST: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
/// Providers that are remembered of one case: the one that was asked, and the second opinion.
const MOST_SAYINGS: usize = 2;

/// Who said what of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saying {
    /// The provider.
    pub(super) provider: String,
    /// Its model.
    pub(super) model: String,
    /// What it said.
    pub(super) word: Word,
}

/// What was said of a case; nothing any more once it was compared.
struct Said {
    key: Key,
    sayings: Vec<Saying>,
}

/// Who said what.
pub(super) struct Truths {
    said: Mutex<LruCache<CaseId, Said>>,
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

    /// Notes what was said of a case, under this key. What is proved already is not compared again.
    pub(super) fn note(&self, case: CaseId, key: Key, sayings: &[Saying]) {
        let mut held = self.said.lock();
        if held.get(&case).is_none_or(|said| !said.sayings.is_empty()) {
            let sayings = sayings.iter().take(MOST_SAYINGS).cloned().collect();
            held.put(case, Said { key, sayings });
        }
    }

    /// A case proved to be something: each model that judged it is compared, once. The key of what was
    /// said comes back where that was wrong about whoever is to be let be.
    fn prove(&self, case: CaseId, truth: &str, spares: bool) -> Option<Key> {
        let mut held = self.said.lock();
        let said = held.get_mut(&case)?;
        let sayings = std::mem::take(&mut said.sayings);
        let is_wrong = spares && sayings.iter().any(|saying| saying.word.condemns());
        let key = said.key;
        drop(held);
        for saying in sayings {
            let labels = [
                saying.provider.as_str(),
                saying.model.as_str(),
                saying.word.name(),
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

    /// A person said what a client is.
    pub(super) fn labelled(&self, case: CaseId, label: Label) -> Option<Key> {
        match label {
            Label::Person => self.prove(case, "person", true),
            Label::WelcomeBot => self.prove(case, "welcome_bot", true),
            Label::Scraper => self.prove(case, "scraper", false),
            Label::Malicious => self.prove(case, "malicious", false),
        }
    }
}
