//! Listeners and limits, from what is written to what the edge goes by.

use std::time::Duration;

use thornwall_settings::report::Report;
use toml::Spanned;

use crate::{
    config,
    limits::{ADMIN_CONNECTIONS, HELD, Limits, ListenerFacts},
};

pub(super) fn listener(spec: &config::Listener) -> (String, ListenerFacts) {
    let facts = ListenerFacts {
        tls: spec.tls,
        proxy_protocol: spec.proxy_protocol,
    };
    (spec.address.get_ref().clone(), facts)
}

/// Less than a browser's own head, or more than Pingora's parser takes (1 MiB, 256 fields), would
/// be refused elsewhere, and without a message.
const HEADER_BYTES: std::ops::RangeInclusive<u32> = 1024..=1 << 20;
const HEADERS: std::ops::RangeInclusive<u32> = 8..=256;

/// A day: ticks are 32 bits of milliseconds.
const LONGEST_SECS: u32 = 86_400;

/// Bounds on clients, beside a tarpit that may hold `held` of them.
pub(super) fn limits(spec: &config::Limits, held: usize, report: &mut Report) -> Option<Limits> {
    let before = report.problems.len();
    check(&spec.max_header_bytes, HEADER_BYTES, report);
    check(&spec.max_headers, HEADERS, report);
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let millis = |secs: std::num::NonZeroU32| secs.get().min(LONGEST_SECS) * 1000;
    let files = open_files();
    let wanted = match size(spec.max_connections) {
        0 => files.saturating_sub(held) / 2,
        wanted => wanted,
    };
    let most = files / 2;
    if wanted > most {
        report.warnings.push(format!(
            "limits.max_connections = {wanted} is lowered to {most}, half of the limit on open \
             files: each may need another one towards the origin"
        ));
    }
    let (all, of_client) = (
        unread(&spec.max_unread_bytes, report),
        unread(&spec.max_unread_bytes_per_client, report),
    );
    (report.problems.len() == before).then_some(())?;
    Some(Limits {
        max_connections: wanted.min(most),
        max_per_client: spec.max_connections_per_client.get(),
        max_requests_per_client: spec.max_requests_per_client.get(),
        request_wait: Duration::from_secs(spec.request_wait_secs.min(LONGEST_SECS).into()),
        unread: all?,
        unread_of_client: of_client?,
        header_timeout: millis(spec.header_timeout_secs),
        max_header_bytes: size(*spec.max_header_bytes.get_ref()),
        max_headers: size(*spec.max_headers.get_ref()),
        idle_timeout: millis(spec.idle_timeout_secs),
        body_timeout: millis(spec.body_timeout_secs),
        min_receive_rate: spec.min_receive_bytes_per_sec,
        min_send_rate: spec.min_send_bytes_per_sec,
        websocket_idle: millis(spec.websocket_idle_secs),
        max_age: millis(spec.max_connection_secs),
        max_requests: spec.max_requests_per_connection.get(),
        max_streams: spec.h2_max_streams.get(),
    })
}

/// Bytes for at least one answer; 0 for any number.
fn unread(bytes: &Spanned<u64>, report: &mut Report) -> Option<u64> {
    match *bytes.get_ref() {
        0 => Some(u64::MAX),
        enough @ HELD.. => Some(enough),
        _ => {
            let what =
                format!("less than one answer holds; expected at least {HELD}, or 0 for any");
            report.problem(bytes.span(), what);
            None
        }
    }
}

fn check(number: &Spanned<u32>, bounds: std::ops::RangeInclusive<u32>, report: &mut Report) {
    if !bounds.contains(number.get_ref()) {
        let (least, most) = (bounds.start(), bounds.end());
        let what = format!("out of bounds; expected {least} to {most}");
        report.problem(number.span(), what);
    }
}

/// Files that clients have no part in: the operator's connections, and what is read, written and asked
/// beside requests.
const OWN_FILES: usize = ADMIN_CONNECTIONS + 64;

/// How many files this process may open for clients and their origins. Where there are few, the
/// operator's part is a quarter.
pub(super) fn open_files() -> usize {
    let (_, hard) = rlimit::Resource::NOFILE.get().unwrap_or((1024, 1024));
    let files = usize::try_from(hard).unwrap_or(usize::MAX);
    files - OWN_FILES.min(files / 4)
}
