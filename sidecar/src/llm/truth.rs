//! What models said of cases, to be compared with what later proves true.

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;
use prometheus::IntCounterVec;
use thornwall_proto::v1::{Label, outcome::Truth};

use super::verdict::Word;
use crate::case::CaseId;

/// Cases that are remembered; of more, whichever was judged first goes. 8 MiB.
const MOST: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
/// Providers that are remembered of one case: the one that was asked, and the second opinion.
const MOST_SAYINGS: usize = 2;

/// Who said what of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// The provider.
    pub provider: String,
    /// Its model.
    pub model: String,
    /// What it said.
    pub word: Word,
}

/// Who said what.
pub struct Truths {
    said: Mutex<LruCache<CaseId, Vec<Saying>>>,
    proved: IntCounterVec,
}

impl Truths {
    /// Nothing is known; `proved` has the labels provider, model, verdict and truth.
    pub fn new(proved: IntCounterVec) -> Self {
        Self {
            said: Mutex::new(LruCache::new(MOST)),
            proved,
        }
    }

    /// Notes what was said of a case.
    pub fn note(&self, case: CaseId, sayings: &[Saying]) {
        let sayings = sayings.iter().take(MOST_SAYINGS).cloned();
        self.said.lock().put(case, sayings.collect());
    }

    /// A case proved to be something: each model that judged it is compared, once.
    fn prove(&self, case: CaseId, truth: &str) {
        for saying in self.said.lock().pop(&case).unwrap_or_default() {
            let labels = [
                saying.provider.as_str(),
                saying.model.as_str(),
                saying.word.name(),
                truth,
            ];
            self.proved.with_label_values(&labels).inc();
        }
    }

    /// A gateway saw what a client is.
    pub fn proved(&self, case: CaseId, truth: Truth) {
        match truth {
            Truth::Trap => self.prove(case, "trap"),
            Truth::Verified => self.prove(case, "verified_bot"),
            Truth::Unspecified => {}
        }
    }

    /// A person said what a client is.
    pub fn labelled(&self, case: CaseId, label: Label) {
        match label {
            Label::Person => self.prove(case, "person"),
            Label::WelcomeBot => self.prove(case, "welcome_bot"),
            Label::Scraper => self.prove(case, "scraper"),
            Label::Malicious => self.prove(case, "malicious"),
            Label::Unspecified => {}
        }
    }
}
