//! `thornwall-train`: makes a model of a recording.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use thornwall_detectors::model::settle_environment;
use thornwall_models::{
    date,
    training::{self, Order},
};

/// Trains the model that the filter `anomaly` scores requests with.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  thornwall-train --recording tests/lab/recording.jsonl.gz --out models --name bot_score
  SOURCE_DATE_EPOCH=1767225600 thornwall-train --out /tmp/try

Writes NAME.onnx, its card NAME.json and the card for people NAME.md, and prints the latter.

Exit codes:
  0  the model is in place
  1  nothing was changed; the message says why
  2  the command line is wrong"
)]
struct Arguments {
    /// What real clients sent: JSON lines, gzip.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "tests/lab/recording.jsonl.gz"
    )]
    recording: PathBuf,

    /// Cases with labels, as `thornwall-sidecar export --format training` writes them.
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,

    /// Learn from weak labels too, which are this system's own decisions.
    #[arg(long, requires = "cases")]
    weak: bool,

    /// Folder that the model goes to.
    #[arg(long, value_name = "FOLDER", default_value = "models")]
    out: PathBuf,

    /// Name of the model: letters, digits, `_` and `-`.
    #[arg(long, default_value = "bot_score", value_parser = bare_name)]
    name: String,

    /// Day that the card tells, YYYY-MM-DD [default: SOURCE_DATE_EPOCH, else today].
    #[arg(long, value_parser = day)]
    date: Option<String>,

    /// ONNX Runtime's library [default: runtime/ in the output folder, else ORT_DYLIB_PATH].
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
}

fn main() -> ExitCode {
    if let Err(error) = settle_environment(&[]) {
        let _ = writeln!(
            std::io::stderr(),
            "telemetry of ONNX Runtime stays on: {error}"
        );
    }
    match train(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "thornwall-train: {message}");
            ExitCode::FAILURE
        }
    }
}

fn train(arguments: Arguments) -> Result<(), String> {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok();
    let created = match arguments.date {
        Some(date) => date,
        None => date::of_build(epoch.as_deref())?,
    };
    let order = Order {
        recording: arguments.recording,
        cases: arguments.cases,
        weak: arguments.weak,
        out: arguments.out,
        name: arguments.name,
        created,
        onnxruntime: arguments.onnxruntime,
    };
    let card = training::run(&order, show).map_err(|error| error.to_string())?;
    // A closed pipe is no reason to call a model that is in place a failure.
    let _ = write!(std::io::stdout(), "{}", card.to_markdown());
    Ok(())
}

/// Shows somebody who waits what is being done.
fn show(step: &str) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        let _ = writeln!(terminal, "{step} ...");
    }
}

fn bare_name(text: &str) -> Result<String, String> {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if text.is_empty() || !text.bytes().all(bare) {
        return Err("expected letters, digits, `_` and `-`".to_owned());
    }
    Ok(text.to_owned())
}

fn day(text: &str) -> Result<String, String> {
    if date::is_date(text) {
        Ok(text.to_owned())
    } else {
        Err("expected YYYY-MM-DD".to_owned())
    }
}
