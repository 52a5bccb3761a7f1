//! `thornwall explain`: what was decided about a request, and why.

use std::{fmt::Write, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;

use super::{bold, fail, print};
use crate::{
    admin::Token,
    config::ConfigFile,
    generation::Cold,
    record::{Record, SignalRecord},
};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The value of the answer's `x-request-id`
    request_id: String,
    /// Configuration file of the running gateway
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Print the record as JSON
    #[arg(long)]
    json: bool,
}

/// Longest wait for the gateway.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn explain(args: &ExplainArgs) -> ExitCode {
    match ask(args) {
        Ok(record) if args.json => {
            print(&format!(
                "{}\n",
                serde_json::to_string_pretty(&record).unwrap_or_default()
            ));
            ExitCode::SUCCESS
        }
        Ok(record) => {
            print(&describe(&record));
            ExitCode::SUCCESS
        }
        Err((message, code)) => fail(&message, code),
    }
}

fn ask(args: &ExplainArgs) -> Result<Record, (String, u8)> {
    let unusable = |message: String| (message, 2);
    let file = ConfigFile::read(&args.config).map_err(|problem| unusable(problem.to_string()))?;
    let Cold {
        admin: address,
        token_file,
        ..
    } = Cold::read(&file).map_err(unusable)?;
    let token = Token::read(&token_file).map_err(|error| unusable(error.to_string()))?;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let url = format!("http://{address}/explain/{}", args.request_id);
    let answer = agent
        .get(url)
        .header("authorization", token.bearer())
        .call();
    let mut answer = answer.map_err(|error| {
        unusable(format!(
            "the gateway at {address} does not answer: {error}; is it running?"
        ))
    })?;
    let body = answer
        .body_mut()
        .read_to_string()
        .map_err(|error| unusable(error.to_string()))?;
    if answer.status().as_u16() != 200 {
        return Err((refusal(&body), 1));
    }
    serde_json::from_str(&body)
        .map_err(|error| unusable(format!("the gateway's answer cannot be read: {error}")))
}

fn refusal(body: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(body).ok();
    parsed
        .as_ref()
        .and_then(|value| value.get("error")?.as_str())
        .unwrap_or("the gateway refused")
        .to_owned()
}

fn describe(record: &Record) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<11}{value}");
    };
    let client = record
        .client
        .map_or_else(|| "unknown".to_owned(), |client| client.to_string());
    line("request", record.id.clone());
    line("time", record.time.to_string());
    line("client", client);
    line(
        "asked",
        format!(
            "{} {}{}",
            record.method,
            record.host,
            printable(&record.path)
        ),
    );
    line(
        "user agent",
        record
            .user_agent
            .as_deref()
            .map_or_else(|| "none".to_owned(), printable),
    );
    line(
        "site",
        record.site.clone().unwrap_or_else(|| "none".to_owned()),
    );
    let reason = record
        .reason
        .as_ref()
        .map(|reason| format!(", {reason}"))
        .unwrap_or_default();
    line("ruling", format!("{}{reason}", bold(&record.ruling)));
    line(
        "status",
        format!("{}, {} bytes", record.status, record.bytes),
    );
    line("score", format!("{:.3}", record.score));
    for signal in &record.signals {
        line("  signal", describe_signal(signal));
    }
    for (filter, took) in &record.filters_us {
        line("  filter", format!("{filter:<16} {took:.1} us"));
    }
    line("took", format!("{:.2} ms", record.took_ms));
    text
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

/// A client's text without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
