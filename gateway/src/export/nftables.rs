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
};

use jiff::Timestamp;
use thornwall_decisions::{
    clock::{Clock, Moment, ProcessTime},
    decisions::{Decisions, Denied},
};

use super::metrics::ExportMetrics;

/// Ranges of one file: some seconds of work and some tens of MiB for the kernel.
const MOST_RANGES: usize = 1 << 17;

/// The script of what is denied now.
pub(crate) fn script(source: &Source<'_>) -> String {
    render(source.time.now(), denied(source))
}

/// What the script is made of.
pub(crate) struct Source<'a> {
    pub(crate) decisions: &'a Decisions,
    /// Where ranges and files are counted.
    pub(crate) metrics: &'a ExportMetrics,
    /// When it is made.
    pub(crate) time: ProcessTime,
}

fn denied(source: &Source<'_>) -> Vec<Denied> {
    let mut denied = source.decisions.denied(source.time.since_start());
    if let Some(excess) = denied.len().checked_sub(MOST_RANGES)
        && excess > 0
    {
        // Those that would end first can do without the kernel's help.
        denied.select_nth_unstable_by_key(excess, |denied| denied.until);
        denied.drain(..excess);
        denied.sort_unstable_by_key(|denied| denied.first);
        source.metrics.count("nftables", "left_out", excess as u64);
    }
    denied
}

fn render(moment: Moment, denied: Vec<Denied>) -> String {
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

/// Writes the file, unless it says the same already; what it says.
pub(crate) fn update(source: &Source<'_>, path: &Path, written: Option<u64>) -> io::Result<u64> {
    let denied = denied(source);
    let mut hasher = DefaultHasher::new();
    denied.hash(&mut hasher);
    let fingerprint = hasher.finish();
    if written == Some(fingerprint) {
        return Ok(fingerprint);
    }
    source
        .metrics
        .ranges
        .set(i64::try_from(denied.len()).unwrap_or(i64::MAX));
    let text = render(source.time.now(), denied);
    // An upgrade has two processes writing for a moment.
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let mut file = File::create(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(part, path)?;
    source.metrics.count("nftables", "written", 1);
    Ok(fingerprint)
}
