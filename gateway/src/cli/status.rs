//! `thornwall status`: how the running gateway does.

use std::{fmt::Write, path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::Value;
use thornwall_settings::printable::printable;

use super::{client::Client, fail, print, print_json};

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Configuration file of the running gateway
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn status(args: &StatusArgs) -> ExitCode {
    match Client::of(&args.config).and_then(|client| client.get::<Value>("/status")) {
        Ok(status) if args.json => {
            print_json(&format!("{status:#}"));
            ExitCode::SUCCESS
        }
        Ok(status) => {
            let mut text = String::new();
            describe(&status, "", &mut text);
            print(&text);
            ExitCode::SUCCESS
        }
        Err((message, code)) => fail(&message, code),
    }
}

/// A line per value; tables of values are indented below their name.
fn describe(value: &Value, indent: &str, text: &mut String) {
    let Value::Object(fields) = value else {
        return;
    };
    for (name, value) in fields {
        // What has a colon is an address, and no text.
        let name = match name.contains(':') {
            true => name.clone(),
            false => name.replace('_', " "),
        };
        let name = printable(&name);
        match value {
            Value::Object(_) => {
                let _ = writeln!(text, "{indent}{name}");
                describe(value, &format!("{indent}  "), text);
            }
            Value::Array(values) => {
                let values: Vec<String> = values.iter().map(plain).collect();
                let _ = writeln!(text, "{indent}{name:<20} {}", values.join(", "));
            }
            _ => {
                let _ = writeln!(text, "{indent}{name:<20} {}", plain(value));
            }
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text).into_owned(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}
