//! What is counted about exports.

use prometheus::{IntCounterVec, IntGauge};

use crate::families::Families;

/// Counters and the gauge of both exports.
#[derive(Debug, Clone)]
pub(crate) struct ExportMetrics {
    /// Ranges in the file for nftables.
    pub(super) ranges: IntGauge,
    writes: IntCounterVec,
}

impl ExportMetrics {
    pub(crate) fn register(make: &Families<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            ranges: make.gauge(
                "thornwall_export_nftables_ranges",
                "Ranges of addresses in the file for nftables.",
            )?,
            writes: make.counters(
                "thornwall_export_writes_total",
                "Files and lines for other programs, by whether they were written, failed, or were \
                 left out for want of room or for the sake of the never-block list.",
                &["export", "result"],
            )?,
        })
    }

    /// Counts files or lines of one export.
    pub(crate) fn count(&self, export: &str, result: &str, count: u64) {
        self.writes
            .with_label_values(&[export, result])
            .inc_by(count);
    }
}
