//! The commands, and what they print.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, Parser, Subcommand};
use thornwall_detectors::model::settle_environment;
use thornwall_settings::printable::{printable_json, printable_lines};

use crate::{generation::Generation, serve};
use thornwall_settings::file::ConfigFile;

mod check;
mod client;
mod decisions;
mod explain;
mod export;
mod status;
mod upgrade;

/// A programmable edge gateway that lets people through and turns scrapers away.
#[derive(Debug, Parser)]
#[command(name = "thornwall", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  thornwall check -c etc/thornwall.toml
  thornwall run -c etc/thornwall.toml
  thornwall explain 0198c0de7f3a7cc0a1b2c3d4e5f60718 -c etc/thornwall.toml
  thornwall block 192.0.2.7 --for 1h --reason 'asks for every page' -c etc/thornwall.toml
  thornwall decisions 192.0.2.7 -c etc/thornwall.toml
  thornwall unblock 192.0.2.7 -c etc/thornwall.toml
  thornwall export nftables -c etc/thornwall.toml | nft -f -
  thornwall upgrade -c etc/thornwall.toml
  kill -HUP PID        reload the configuration, reopen logs; the running configuration stays if the
                       new one is wrong
  kill -USR1 PID       reopen logs alone
  kill -TERM PID       let running requests end, then stop; a second time: stop at once (or -QUIT)

Exit codes: 0 done, 1 not found or refused, 2 wrong usage or configuration, or a start that failed.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM, SIGINT or SIGQUIT; SIGHUP reloads
    Run(RunArgs),
    /// Parse and build a configuration, and print the pipelines as they will run
    Check(ConfigArgs),
    /// Show what was decided about a recent request, and why
    Explain(explain::ExplainArgs),
    /// Deny, hold or slow down an address or a network for a time
    Block(decisions::BlockArgs),
    /// Withdraw the decision about an address or a network
    Unblock(decisions::UnblockArgs),
    /// List the decisions that hold now
    Decisions(decisions::DecisionsArgs),
    /// Print what the running gateway denies, for other programs
    Export(export::ExportArgs),
    /// Show the state of the running gateway
    Status(status::StatusArgs),
    /// Replace the running process by a new one, without a refused connection
    Upgrade(upgrade::UpgradeArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Take over from the process that started this one
    #[arg(long, hide = true)]
    take_over: bool,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

/// What went wrong with the configuration or the start, for scripts.
const EXIT_UNUSABLE: u8 = 2;

/// What the allocator goes by: freed memory goes back to the system within a millisecond of the next work and
/// not ten, and 4 KiB of use hold no 2 MiB.
const ALLOCATOR: [(&str, &str); 2] = [("MIMALLOC_PURGE_DELAY", "1"), ("MIMALLOC_ALLOW_THP", "0")];

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> ExitCode {
        start_log();
        // Both load models. The other commands load nothing that could send telemetry.
        if matches!(self.command, Command::Run(_) | Command::Check(_))
            && let Err(error) = settle_environment(&ALLOCATOR)
        {
            log::warn!(
                "the environment is left as it is, with telemetry of ONNX Runtime; error={error}"
            );
        }
        let done = match self.command {
            Command::Run(args) => {
                serve::run(&args.config.config, args.take_over).map_err(|error| error.to_string())
            }
            Command::Check(args) => check::check(&args.config),
            Command::Explain(args) => return explain::explain(&args),
            Command::Block(args) => return decisions::block(&args),
            Command::Unblock(args) => return decisions::unblock(&args),
            Command::Decisions(args) => return decisions::decisions(&args),
            Command::Export(args) => return export::export(&args),
            Command::Status(args) => return status::status(&args),
            Command::Upgrade(args) => return upgrade::upgrade(&args),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => fail(&message, EXIT_UNUSABLE),
        }
    }
}

/// What the operator must know goes to standard error. Pingora logs each failed handshake and each
/// broken client as an error, which scanners would fill a disk with.
fn start_log() {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Info)
        .filter_module("pingora_core", log::LevelFilter::Off)
        // Connections that cannot be accepted are the operator's business.
        .filter_module("pingora_core::services::listening", log::LevelFilter::Error)
        .filter_module("pingora_proxy", log::LevelFilter::Off)
        .filter_module("ort", log::LevelFilter::Error)
        .filter_module("rustls", log::LevelFilter::Error)
        .parse_env("THORNWALL_LOG")
        .init();
}

fn fail(message: &str, code: u8) -> ExitCode {
    // With standard error closed, there is nowhere to write to.
    let _ = writeln!(io::stderr(), "{}", printable_lines(message));
    ExitCode::from(code)
}

/// Prints lines to standard output; a reader that went away is no error.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Prints JSON as a terminal may have it.
fn print_json(json: &str) {
    print(&format!("{}\n", printable_json(json)));
}

/// Bold on a terminal, plain elsewhere.
fn bold(text: &str) -> String {
    if io::stdout().is_terminal() {
        format!("\u{1b}[1m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// Reads and builds a configuration as `run` would, without touching anything.
fn build(path: &Path) -> Result<Generation, String> {
    let metrics = crate::metrics::Metrics::new().map_err(|error| error.to_string())?;
    let file = ConfigFile::read(path).map_err(|problem| problem.to_string())?;
    let inputs = crate::generation::Inputs {
        metrics: &metrics.filters,
        secret: &[0; 32],
        decisions: &Arc::default(),
        previous: None,
    };
    Generation::build(&file, &inputs).map_err(|problems| file.describe(&problems))
}
