//! What the gateway and one sidecar have with each other.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use thornwall_filters::escalation::CaseId;

use super::{Assessment, Assessments, Cases, Tally};

/// What the gateway and one sidecar have with each other.
#[derive(Debug)]
pub(crate) struct Sidecar {
    /// Where it is, as it is written.
    pub address: String,
    /// What clients did, as far as filters found it dubious.
    pub cases: Cases,
    /// What cases came to.
    pub assessments: Assessments,
    /// What the sidecar said so far.
    pub tally: Tally,
    connected: AtomicBool,
    /// What it calls its numbering.
    name: Mutex<Option<String>>,
    trouble: Mutex<Option<String>>,
}

impl Sidecar {
    /// Nothing known yet, and not connected.
    pub(crate) fn new(address: &str, max_cases: usize, max_assessments: usize) -> Self {
        Self {
            address: address.to_owned(),
            cases: Cases::new(max_cases),
            assessments: Assessments::new(max_assessments),
            tally: Tally::default(),
            connected: AtomicBool::new(false),
            name: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// Whether the sidecar is there.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// What it calls its numbering, where it was ever there.
    pub(crate) fn name(&self) -> Option<String> {
        self.name.lock().clone()
    }

    /// Why it is not there, as far as that is known.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    pub(super) fn came(&self, name: &str) {
        *self.name.lock() = Some(name.to_owned());
        *self.trouble.lock() = None;
        self.connected.store(true, Relaxed);
    }

    /// Lets go of everybody who waits. Whether it had been there.
    pub(super) fn went(&self, why: String) -> bool {
        *self.trouble.lock() = Some(why);
        let was_there = self.connected.swap(false, Relaxed);
        self.assessments.dismiss();
        self.cases.send_again();
        was_there
    }

    /// What a case comes to within `wait`. Nothing where that is known already, since then the store
    /// has what was decided, and nothing where the sidecar is away.
    pub(crate) async fn await_assessment(
        &self,
        case: CaseId,
        wait: Duration,
    ) -> Option<Assessment> {
        if !self.is_connected() || !self.cases.is_open(case) {
            return None;
        }
        let waiting = self.assessments.wait(case)?;
        tokio::time::timeout(wait, waiting).await.ok()?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_waits_where_there_is_nobody_to_wait_for() {
        let sidecar = Sidecar::new("unix:/s", 10, 10);
        let long = Duration::from_secs(60);
        assert!(sidecar.await_assessment(CaseId(1), long).await.is_none());
        sidecar.came("one");
        assert!(sidecar.is_connected());
        // No case of this id is on its way.
        assert!(sidecar.await_assessment(CaseId(1), long).await.is_none());
        assert!(sidecar.went("gone".to_owned()));
        assert!(!sidecar.went("still gone".to_owned()));
        assert_eq!(sidecar.trouble().as_deref(), Some("still gone"));
    }
}
