//! The command `thornwall-sidecar`.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use thornwall_sidecar::{config::ConfigFile, export, serve};

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
  thornwall-sidecar export -c etc/sidecar.toml --format training --out cases.jsonl
  kill -TERM PID       let calls under way end, then stop

Exit codes: 0 done, 2 wrong usage or configuration, or a start that failed.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT
    Run(ConfigArgs),
    /// Write cases with what is known of their clients, as lines of JSON
    Export(export::Arguments),
    /// Read a configuration, and say what is wrong with it
    Check(ConfigArgs),
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

/// What went wrong with the configuration or the start, for scripts.
const EXIT_UNUSABLE: u8 = 2;

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
        Command::Run(args) => serve::run(&args.config).map_err(|error| error.to_string()),
        Command::Export(args) => export::run(&args),
        Command::Check(args) => ConfigFile::read(&args.config).map(|_| ()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            log::error!("{message}");
            ExitCode::from(EXIT_UNUSABLE)
        }
    }
}
