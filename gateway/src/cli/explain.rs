//! `thornwall explain`: what was decided about a request, and why.

use std::{fmt::Write, path::PathBuf, process::ExitCode};

use clap::Args;
use thornwall_settings::printable::printable;

use super::{
    bold,
    client::{Client, Failure},
    fail, print, print_json,
};
use crate::record::{AssessmentRecord, Record, SignalRecord};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The value of the answer's `x-gateway-request-id`, or where it has none of its `x-request-id`;
    /// or the id that a trusted proxy gave the request
    request_id: String,
    /// Configuration file of the running gateway
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Print the record as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn explain(args: &ExplainArgs) -> ExitCode {
    match ask(args) {
        Ok(record) if args.json => {
            print_json(&serde_json::to_string_pretty(&record).unwrap_or_default());
            ExitCode::SUCCESS
        }
        Ok(record) => {
            print(&describe(&record));
            ExitCode::SUCCESS
        }
        Err((message, code)) => fail(&message, code),
    }
}

fn ask(args: &ExplainArgs) -> Result<Record, Failure> {
    // An id of a proxy may have slashes.
    let id: String = form_urlencoded::byte_serialize(args.request_id.as_bytes()).collect();
    Client::of(&args.config)?.get(&format!("/explain/{id}"))
}

/// What was ruled, what was done where that is not the same, and why.
fn describe_ruling(record: &Record) -> String {
    let done = match record.held {
        Some(true) => ", held",
        Some(false) => ", refused in its place",
        None => "",
    };
    let reason = record.reason.as_deref();
    let reason = reason.map(|reason| format!(", {}", printable(reason)));
    // The mark for bold is ours.
    let ruling = bold(&printable(&record.ruling));
    format!("{ruling}{done}{}", reason.unwrap_or_default())
}

fn describe(record: &Record) -> String {
    let mut text = String::new();
    let text = &mut text;
    let client = record
        .client
        .clone()
        .unwrap_or_else(|| "unknown".to_owned());
    line(text, "request", record.id.clone());
    if let Some(id) = &record.proxy_id {
        line(text, "proxy's id", id);
    }
    line(text, "time", record.time.to_string());
    line(text, "client", client);
    line(
        text,
        "asked",
        format!("{} {}{}", record.method, record.host, record.path),
    );
    line(
        text,
        "user agent",
        record
            .user_agent
            .clone()
            .unwrap_or_else(|| "none".to_owned()),
    );
    line(
        text,
        "site",
        record.site.clone().unwrap_or_else(|| "none".to_owned()),
    );
    let _ = writeln!(text, "{:<11}{}", "ruling", describe_ruling(record));
    line(
        text,
        "status",
        format!("{}, {} bytes", record.status, record.bytes),
    );
    line(text, "score", format!("{:.3}", record.score));
    for signal in &record.signals {
        line(text, "  signal", describe_signal(signal));
    }
    if let Some(assessment) = &record.sidecar {
        line(text, "sidecar", format_assessment(assessment));
    }
    for (filter, took) in &record.filters_us {
        line(text, "  filter", format!("{filter:<16} {took:.1} us"));
    }
    line(text, "took", format!("{:.2} ms", record.took_ms));
    std::mem::take(text)
}

fn line(text: &mut String, name: &str, value: impl AsRef<str>) {
    let _ = writeln!(text, "{name:<11}{}", printable(value.as_ref()));
}

fn format_assessment(assessment: &AssessmentRecord) -> String {
    let AssessmentRecord {
        score,
        action,
        reason,
        pending,
        ..
    } = assessment;
    let asks = if *pending { "; others are asked" } else { "" };
    format!("score {score:.2}, {}, {reason}{asks}", action.name(),)
}

fn describe_signal(signal: &SignalRecord) -> String {
    let observed = if signal.observed {
        "  (observed, not counted)"
    } else {
        ""
    };
    let SignalRecord {
        reason,
        weight,
        evidence,
        ..
    } = signal;
    format!("{reason:<34} {weight:.2}  {evidence}{observed}")
}
