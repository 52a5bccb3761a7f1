//! The command `thornwall`.

use std::process::ExitCode;

use clap::Parser;
use thornwall_gateway::cli::Cli;

/// Many threads that free each other's buffers fragment the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
