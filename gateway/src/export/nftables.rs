//! Deployment-wide denials as two sets of nftables, in a file that `nft -f` takes as a whole.
//!
//! The gateway has no right to change the packet filter and wants none: something else loads the
//! file (`deploy/nftables/`). Each file replaces everything that the one before said, in one
//! transaction, and every element ends by itself.

use std::{
    fmt::Write as _,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write as _},
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use thornwall_decisions::decisions::Denied;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::state::State;

/// Ranges of one file: some seconds of work and some tens of MiB for the kernel.
const MOST_RANGES: usize = 1 << 17;
/// Shortest time between two files.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause is at least this many times as long as the last file took to make.
const EASE: u32 = 20;

/// The script of what is denied now.
pub fn script(state: &State) -> String {
    render(state, denied(state))
}

fn denied(state: &State) -> Vec<Denied> {
    let mut denied = state.store.decisions().denied(state.now());
    if let Some(excess) = denied.len().checked_sub(MOST_RANGES)
        && excess > 0
    {
        // Those that would end first can do without the kernel's help.
        denied.select_nth_unstable_by_key(excess, |denied| denied.until);
        denied.drain(..excess);
        denied.sort_unstable_by_key(|denied| denied.first);
        state
            .metrics
            .export
            .count("nftables", "left_out", excess as u64);
    }
    denied
}

fn render(state: &State, denied: Vec<Denied>) -> String {
    let moment = state.moment();
    let made = i64::try_from(moment.unix_ms / 1000).unwrap_or(i64::MAX);
    let made = Timestamp::from_second(made).unwrap_or(Timestamp::UNIX_EPOCH);
    let split = denied.partition_point(|denied| denied.first.is_ipv4());
    let mut text = format!(
        "# Written by thornwall at {made}; `nft -f` takes it.\n\
         add table inet thornwall\n\
         add set inet thornwall deny4 {{ type ipv4_addr; flags interval, timeout; }}\n\
         add set inet thornwall deny6 {{ type ipv6_addr; flags interval, timeout; }}\n\
         flush set inet thornwall deny4\n\
         flush set inet thornwall deny6\n"
    );
    for (set, denied) in [("deny4", &denied[..split]), ("deny6", &denied[split..])] {
        if denied.is_empty() {
            continue;
        }
        // A String takes everything.
        let _ = writeln!(text, "add element inet thornwall {set} {{");
        for range in denied {
            let left = range
                .until
                .saturating_sub(moment.own_ms)
                .div_ceil(1000)
                .max(1);
            let _ = writeln!(
                text,
                "{} timeout {left}s,",
                addresses(range.first, range.last)
            );
        }
        text.push_str("}\n");
    }
    text
}

fn addresses(first: IpAddr, last: IpAddr) -> String {
    match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    }
}

/// Keeps the file true until the process ends. Task `nftables`.
pub async fn refresh(state: Arc<State>) {
    let Some(path) = state.generation.load().cold.nftables_file.clone() else {
        return;
    };
    let mut shutdown = state.shutdown.clone();
    let (mut seen, mut written) = (None, None);
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            () = sleep(pause) => {}
            _ = shutdown.changed() => return,
        }
        pause = PAUSE;
        let version = state.store.decisions().version();
        if seen == Some(version) {
            continue;
        }
        let began = Instant::now();
        let (shared, file) = (Arc::clone(&state), path.clone());
        let done = spawn_blocking(move || update(&shared, &file, written)).await;
        // One that panicked has said so, and is tried again.
        match done.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(fingerprint) => (seen, written) = (Some(version), Some(fingerprint)),
            Err(error) => {
                state.metrics.export.count("nftables", "failed", 1);
                log::error!(
                    "the file for nftables cannot be written; file={} error={error}",
                    path.display()
                );
                pause = PAUSE * 10;
            }
        }
        pause = pause.max(began.elapsed() * EASE);
    }
}

/// Writes the file, unless it says the same already; what it says.
fn update(state: &State, path: &Path, written: Option<u64>) -> io::Result<u64> {
    let denied = denied(state);
    let mut hasher = DefaultHasher::new();
    denied.hash(&mut hasher);
    let fingerprint = hasher.finish();
    if written == Some(fingerprint) {
        return Ok(fingerprint);
    }
    state
        .metrics
        .export
        .ranges
        .set(i64::try_from(denied.len()).unwrap_or(i64::MAX));
    let text = render(state, denied);
    // An upgrade has two processes writing for a moment.
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let mut file = File::create(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(part, path)?;
    state.metrics.export.count("nftables", "written", 1);
    Ok(fingerprint)
}
