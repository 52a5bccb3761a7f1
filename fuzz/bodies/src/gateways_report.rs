//! What another gateway tells is a report or an error, and is counted without harm.

use std::time::Duration;

use thornwall_decisions::limit_report::Report;
use thornwall_filters::counters::SharedCounters;

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(report) = Report::decode(bytes) {
        let groups = report.groups.len();
        let (again, left) = report.encode();
        let read = Report::decode(&again).map(|read| read.groups.len());
        assert_eq!(read.map(|read| read + left.len()), Ok(groups));
    }
    let counters = SharedCounters::default();
    let now = Duration::from_secs(1);
    let _ = counters.absorb(bytes, |gateway| gateway != 1, now, |_| Some(1));
}
