//! `thornwall upgrade`: a new process takes the place of the running one.

use std::{
    path::{self, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;

use super::{EXIT_UNUSABLE, fail, print};
use crate::{
    generation::Cold,
    handover::{Reply, Request, ask, socket_path},
};
use thornwall_settings::file::ConfigFile;

/// Arguments of `upgrade`.
#[derive(Debug, Args)]
pub(super) struct UpgradeArgs {
    /// Configuration file of the new process, with the server.data_dir of the running one
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Longest time until the new process serves; then it is ended, and the running one goes on
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout_secs: u64,
}

/// The running process answers for the time that it gives the new one; and another command may be
/// before this one.
const SLACK: Duration = Duration::from_secs(30);

/// The running process refused, or the new one could not.
const EXIT_REFUSED: u8 = 1;

pub(super) fn upgrade(args: &UpgradeArgs) -> ExitCode {
    match request(args) {
        Ok(Reply::Upgraded { from, to }) => {
            print(&format!("upgraded: pid {from} -> pid {to}\n"));
            ExitCode::SUCCESS
        }
        Ok(Reply::Refused { why }) => fail(
            &format!("not upgraded, the running process goes on: {why}"),
            EXIT_REFUSED,
        ),
        Err(message) => fail(&message, EXIT_UNUSABLE),
    }
}

fn request(args: &UpgradeArgs) -> Result<Reply, String> {
    let file = ConfigFile::read(&args.config).map_err(|problem| problem.to_string())?;
    let cold = Cold::read(&file)?;
    let config = path::absolute(&args.config).map_err(|error| error.to_string())?;
    let request = Request::Upgrade {
        config,
        timeout_secs: args.timeout_secs,
    };
    let patience = Duration::from_secs(args.timeout_secs) + SLACK;
    ask(&cold.data_dir, &request, patience).map_err(|error| {
        format!(
            "{}: {error}; is the gateway running, with this server.data_dir, as this user?",
            socket_path(&cold.data_dir).display()
        )
    })
}
