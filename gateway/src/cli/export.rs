//! `thornwall export`: what the running gateway denies, for other programs.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use super::{client::Client, fail, print};

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(subcommand)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Format {
    /// Print two sets of nftables with everybody who gets no connection; `nft -f -` takes it
    Nftables {
        /// Configuration file of the running gateway
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
}

pub(super) fn export(args: &ExportArgs) -> ExitCode {
    let Format::Nftables { config } = &args.format;
    match Client::of(config).and_then(|client| client.get::<String>("/export/nftables")) {
        Ok(script) => {
            print(&script);
            ExitCode::SUCCESS
        }
        Err((message, code)) => fail(&message, code),
    }
}
