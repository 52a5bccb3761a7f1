//! A line for each decision that denies, for fail2ban (`deploy/fail2ban/`) and other readers of
//! logs.
//!
//! The store's thread hands decisions over and never waits; a thread of its own writes. Text that
//! anybody but the operator chose is not in a line.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use jiff::Timestamp;
use thornwall_decisions::{
    decision::{Action, Decision, Scope},
    decisions::Decisions,
    store::Watcher,
};

use super::ExportMetrics;
use crate::access_log::sink::{Sink, Target};

/// Lines that may wait for the writer; beyond it they are left out and counted.
const MOST_WAITING: usize = 16_384;
/// Longest wait for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The log's own name in metrics.
const EXPORT: &str = "fail2ban";

/// Where a SIGHUP is passed on to.
#[derive(Debug, Default, Clone)]
pub(crate) struct BanLog {
    reopen: Arc<AtomicBool>,
}

/// The writer thread, which is waited for at the end.
pub(crate) struct BanLogWriter(Receiver<()>);

impl BanLog {
    /// Opens the log: the watcher of the store's decisions, and the thread that writes its lines.
    pub(crate) fn open(
        &self,
        path: &Path,
        decisions: Arc<Decisions>,
        metrics: ExportMetrics,
    ) -> io::Result<(Watcher, BanLogWriter)> {
        let sink = Sink::open(Target::File(path.to_path_buf()))?;
        let (lines, waiting) = sync_channel(MOST_WAITING);
        let (done, ended) = sync_channel(1);
        let (reopen, counted) = (Arc::clone(&self.reopen), metrics.clone());
        thread::Builder::new()
            .name("fail2ban-log".to_owned())
            .spawn(move || {
                write_all(&waiting, sink, &reopen, &counted);
                // The waiting side may be gone.
                let _ = done.send(());
            })?;
        let watcher =
            move |decision: &Decision| write_denial(decision, &decisions, &lines, &metrics);
        Ok((Box::new(watcher), BanLogWriter(ended)))
    }

    /// Has the file opened anew before the next line.
    pub(crate) fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
    }
}

impl BanLogWriter {
    /// Waits for the last line. The store must have ended before.
    pub(crate) fn finish(self) {
        if self.0.recv_timeout(LAST_LINES).is_err() {
            log::error!("the last lines for fail2ban could not be written");
        }
    }
}

fn write_denial(
    decision: &Decision,
    decisions: &Decisions,
    lines: &SyncSender<String>,
    metrics: &ExportMetrics,
) {
    if decision.action != Action::Deny {
        return;
    }
    // A ban of the network would cover them too.
    let touches = decisions.touches_spared(decision.subject);
    if touches || lines.try_send(line(decision)).is_err() {
        metrics.count(EXPORT, "left_out", 1);
    }
}

fn line(decision: &Decision) -> String {
    let scope = match &decision.scope {
        Scope::Deployment => "deployment".to_owned(),
        Scope::Site(name) => format!("site:{}", one_word(name)),
    };
    format!(
        "{} thornwall: deny {} scope={scope} reason={} by={} until={}\n",
        time(decision.made_ms),
        decision.subject,
        decision.reason,
        one_word(&decision.source.to_string()),
        time(decision.until_ms)
    )
}

fn time(unix_ms: u64) -> Timestamp {
    let secs = i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX);
    Timestamp::from_second(secs).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A name without what would end a word, or a line.
fn one_word(name: &str) -> String {
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' | ':' => c,
        _ => '_',
    };
    name.chars().map(plain).collect()
}

fn write_all(
    waiting: &Receiver<String>,
    mut sink: Sink,
    reopen: &AtomicBool,
    metrics: &ExportMetrics,
) {
    let mut failing = false;
    while let Ok(line) = waiting.recv() {
        if reopen.swap(false, Ordering::AcqRel) {
            sink.reopen();
        }
        match sink.write(line.as_bytes()) {
            Ok(()) => {
                metrics.count(EXPORT, "written", 1);
                failing = false;
            }
            Err(lost) => {
                metrics.count(EXPORT, "failed", 1);
                if !std::mem::replace(&mut failing, true) {
                    log::error!("lines for fail2ban cannot be written; error={}", lost.why);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use thornwall_decisions::decision::{ReasonCode, Source};
    use thornwall_detectors::signal::Reason;

    use super::*;

    #[test]
    fn a_line_is_one_line_of_words() {
        let decision = Decision {
            subject: "192.0.2.0/24".parse().unwrap(),
            scope: Scope::Site("a shop\nof".into()),
            action: Action::Deny,
            reason: ReasonCode::Known(Reason::DecisionOperator),
            source: Source::Filter("p q.limit".into()),
            evidence: "evidence".to_owned(),
            note: "a note".to_owned(),
            requests: Vec::new(),
            made_ms: 1_700_000_000_123,
            until_ms: 1_700_000_060_123,
        };
        assert_eq!(
            line(&decision),
            "2023-11-14T22:13:20Z thornwall: deny 192.0.2.0/24 scope=site:a_shop_of \
             reason=decision.operator by=filter:p_q.limit until=2023-11-14T22:14:20Z\n"
        );
    }
}
