//! `thornwall block`, `unblock` and `decisions`.

use std::{fmt::Write, net::IpAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use thornwall_decisions::decision::Action;
use thornwall_settings::printable::printable;

use super::{
    bold,
    client::{Client, Failure},
    fail, print, print_json,
};
use crate::admin::{Done, Order, Release, Shown, ShownDecision, Wanted};

/// Arguments of `block`.
#[derive(Debug, Args)]
pub(super) struct BlockArgs {
    /// Address or network, such as 192.0.2.7 or 2001:db8::/32
    subject: String,
    /// How long, such as 30m, 12h, "7 days"; at most 366 days
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = lifetime)]
    lifetime: Duration,
    /// What the decision is about, for its later readers
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Site that the decision is for; without it, every site
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// deny, tarpit or throttle. For every site, deny means no connection at all
    #[arg(long, default_value = "deny")]
    action: Action,
    /// Take a large part of all addresses too: wider than a /8, or a /16 of IPv6
    #[arg(long)]
    broad: bool,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `unblock`.
#[derive(Debug, Args)]
pub(super) struct UnblockArgs {
    /// Address or network, exactly as it was blocked
    subject: String,
    /// Site that the decision was for
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Why, for the gateway's log
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `decisions`.
#[derive(Debug, Args)]
pub(super) struct DecisionsArgs {
    /// Only decisions that cover this address
    covering: Option<IpAddr>,
    /// Only decisions for this site
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Only decisions from this source: operator, filter, feed, sidecar or predecessor
    #[arg(long, value_name = "KIND")]
    source: Option<String>,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Skip this many entries
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// Configuration file of the running gateway
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A time as people write it: `90s`, `12h`, `7 days`.
fn lifetime(text: &str) -> Result<Duration, String> {
    let expected = "expected a time such as 30m, 12h or \"7 days\"";
    let span: Span = text.parse().map_err(|_| expected.to_owned())?;
    // A day is 24 hours here: decisions know no time zones.
    let whole = span.to_duration(SpanRelativeTo::days_are_24_hours());
    let whole: SignedDuration = whole.map_err(|_| expected.to_owned())?;
    match Duration::try_from(whole) {
        Ok(whole) if whole >= Duration::from_secs(1) => Ok(whole),
        _ => Err(expected.to_owned()),
    }
}

pub(super) fn block(args: &BlockArgs) -> ExitCode {
    let order = Order {
        subject: args.subject.clone(),
        site: args.site.clone(),
        action: args.action,
        for_secs: args.lifetime.as_secs(),
        note: args.reason.clone(),
        broad: args.broad,
    };
    let done = Client::of(&args.common.config).and_then(|client| client.post("/decisions", &order));
    report(done, args.common.json, |done: &Done| {
        let what = args.action.name();
        format!("{}: {what} for {} s", done.subject, order.for_secs)
    })
}

pub(super) fn unblock(args: &UnblockArgs) -> ExitCode {
    let release = Release {
        subject: args.subject.clone(),
        site: args.site.clone(),
        note: args.reason.clone(),
    };
    let done =
        Client::of(&args.common.config).and_then(|client| client.delete("/decisions", &release));
    report(done, args.common.json, |done: &Done| {
        format!("{}: let off", done.subject)
    })
}

fn report(done: Result<Done, Failure>, json: bool, text: impl FnOnce(&Done) -> String) -> ExitCode {
    match done {
        Ok(done) if json => {
            print_json(&serde_json::json!(done).to_string());
            ExitCode::SUCCESS
        }
        Ok(done) => {
            let mut output = printable(&text(&done)).into_owned() + "\n";
            for warning in &done.warnings {
                let _ = writeln!(output, "warning: {}", printable(warning));
            }
            print(&output);
            ExitCode::SUCCESS
        }
        Err((message, code)) => fail(&message, code),
    }
}

pub(super) fn decisions(args: &DecisionsArgs) -> ExitCode {
    let wanted = Wanted {
        covering: args.covering,
        site: args.site.clone(),
        source: args.source.clone(),
        after: Some(args.after as usize),
        limit: Some(args.limit as usize),
    };
    let page: Result<Shown, Failure> =
        Client::of(&args.common.config).and_then(|client| client.get(&path(&wanted)));
    match page {
        Ok(page) if args.common.json => {
            print_json(&serde_json::json!(page).to_string());
            ExitCode::SUCCESS
        }
        Ok(page) => {
            print(&table(&page));
            ExitCode::SUCCESS
        }
        Err((message, code)) => fail(&message, code),
    }
}

/// The path and query of a question.
fn path(wanted: &Wanted) -> String {
    let mut query = form_urlencoded::Serializer::new("/decisions?".to_owned());
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    };
    add(
        "covering",
        wanted.covering.map(|address| address.to_string()),
    );
    add("site", wanted.site.clone());
    add("source", wanted.source.clone());
    add("after", wanted.after.map(|number| number.to_string()));
    add("limit", wanted.limit.map(|number| number.to_string()));
    query.finish()
}

fn table(page: &Shown) -> String {
    let mut text = String::new();
    let heading = format!(
        "{:<22} {:<9} {:<14} {:<26} {:<24} {}\n",
        "subject", "action", "for", "by", "until", "why"
    );
    text.push_str(&bold(heading.trim_end()));
    text.push('\n');
    for decision in &page.decisions {
        let _ = writeln!(text, "{}", line(decision));
    }
    if let Some(next) = page.next {
        let _ = writeln!(text, "more: --after {next}");
    }
    text
}

fn line(decision: &ShownDecision) -> String {
    let until = i64::try_from(decision.until_ms).unwrap_or(i64::MAX);
    let until = Timestamp::from_millisecond(until).map_or_else(
        |_| "-".to_owned(),
        |time| time.round(jiff::Unit::Second).unwrap_or(time).to_string(),
    );
    let why = [
        decision.reason.to_string(),
        decision.evidence.clone(),
        decision.note.clone(),
    ];
    let why: Vec<String> = why.into_iter().filter(|text| !text.is_empty()).collect();
    // Names of sites and feeds are other gateways' words too, where the store is shared.
    let line = format!(
        "{:<22} {:<9} {:<14} {:<26} {:<24} {}",
        decision.subject,
        decision.action.name(),
        decision.scope.to_string(),
        decision.source.to_string(),
        until,
        why.join("; ")
    );
    printable(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use thornwall_decisions::decision::{ReasonCode, Scope, Source};

    use super::*;

    #[test]
    fn nothing_in_a_line_is_obeyed_by_a_terminal() {
        let decision = ShownDecision {
            subject: "192.0.2.7/32".to_owned(),
            scope: Scope::Site("shop\u{1b}[2J".into()),
            action: Action::Deny,
            reason: ReasonCode::Foreign("of.another".into()),
            source: Source::Feed("bad\u{1b}]0;\u{7}".into()),
            evidence: "\n".to_owned(),
            note: String::new(),
            requests: Vec::new(),
            made_ms: 0,
            until_ms: 0,
        };
        let line = line(&decision);
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let check = |text: &str, secs: Option<u64>| {
            let read = lifetime(text).ok().map(|time| time.as_secs());
            assert_eq!(read, secs, "{text}");
        };
        check("90s", Some(90));
        check("30m", Some(1800));
        check("12h", Some(43_200));
        check("7 days", Some(604_800));
        check("1h 30m", Some(5400));
        check("1 month", None);
        check("0s", None);
        check("-5m", None);
        check("soon", None);
        check("99999999999999h", None);
    }
}
