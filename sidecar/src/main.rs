//! The command `thornwall-sidecar`.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use thornwall_settings::printable::{printable, printable_lines};
use thornwall_sidecar::{alerts::trial, export, serve};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The slow second opinion beside Thornwall's gateways.
#[derive(Debug, Parser)]
#[command(name = "thornwall-sidecar", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  thornwall-sidecar check -c etc/sidecar.toml
  thornwall-sidecar run -c etc/sidecar.toml
  thornwall-sidecar alert-test -c etc/sidecar.toml on-call
  thornwall-sidecar export -c etc/sidecar.toml --format training --out cases.jsonl
  kill -HUP PID        take a changed configuration over
  kill -TERM PID       let calls under way end, then stop

Exit codes: 0 done, 1 an alert did not arrive, 2 wrong usage or configuration, or a start that failed.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM, SIGINT or SIGQUIT
    Run(ConfigArgs),
    /// Write cases with what is known of their clients, as lines of JSON
    Export(export::Arguments),
    /// Read a configuration and the secrets it names, and report what is wrong
    Check(ConfigArgs),
    /// Send a test message through every alert, or the one that is named
    AlertTest(AlertTestArgs),
}

#[derive(Debug, Args)]
struct AlertTestArgs {
    #[command(flatten)]
    file: ConfigArgs,
    /// The alert's name
    name: Option<String>,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

/// What went wrong with the configuration or the start, for scripts.
const EXIT_UNUSABLE: u8 = 2;
/// An alert did not arrive.
const EXIT_NOT_SENT: u8 = 1;

fn main() -> ExitCode {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Info)
        .parse_env("THORNWALL_LOG")
        .init();
    // Two libraries bring one each, and rustls takes none by itself then.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    if provider.install_default().is_err() {
        log::debug!("a crypto provider was installed before");
    }
    let done = match Cli::parse().command {
        Command::Run(args) => serve::run(&args.config)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
        Command::Export(args) => export::run(&args)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
        Command::Check(args) => serve::check(&args.config)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
        Command::AlertTest(args) => trial::run(&args.file.config, args.name.as_deref())
            .map(|trials| print(&trials))
            .map_err(|error| error.to_string()),
    };
    match done {
        Ok(code) => code,
        Err(message) => {
            log::error!("{}", printable_lines(&message));
            ExitCode::from(EXIT_UNUSABLE)
        }
    }
}

/// Prints the outcome of each message.
fn print(trials: &[trial::Trial]) -> ExitCode {
    let mut out = io::stdout().lock();
    let mut code = ExitCode::SUCCESS;
    for trial in trials {
        let outcome = match &trial.sent {
            Ok(()) => "sent".to_owned(),
            Err(why) => {
                code = ExitCode::from(EXIT_NOT_SENT);
                format!("failed: {}", printable(why))
            }
        };
        // Standard output may be closed.
        let _ = writeln!(out, "{}: {outcome}", trial.alert);
    }
    code
}
