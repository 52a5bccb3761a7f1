//! `thornwall-sidecar export`: cases with what is known of their clients, as lines of JSON.
//!
//! A line names the source of its label, since labels differ in worth: a person's label; a link that
//! only the tarpit has, or a crawler's verified address; and, marked `weak`, a decision by the steps or
//! by a language model, which are this system's own opinions and no truth to learn from. Cases of which
//! nothing is known are left out.
//!
//! The file has one owner at a time. While a sidecar runs its cases are read by calls to it, as any
//! caller with the role `watch` may make them, the newest first; else from the file, the oldest first.
//! Clients' addresses are cut to their network unless whole ones are asked for.

mod label;
mod line;
mod running;

#[cfg(test)]
mod tests;

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use thiserror::Error;
use thornwall_decisions::clock::{Clock, ProcessTime};
use thornwall_settings::printable::printable_json;

use self::{
    label::{By, Judged},
    running::RunningError,
};
use crate::{
    assessment::Explanation,
    config::{ConfigError, ConfigFile},
    history::{ReadError, each_kept},
};

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// What the lines are for
    #[arg(long)]
    pub format: Format,
    /// Only labels that people gave
    #[arg(long)]
    pub reviewed: bool,
    /// Labels that people gave, and what traps and verified addresses proved
    #[arg(long, conflicts_with = "reviewed")]
    pub proved: bool,
    /// Only cases that were assessed within this time, such as 12h or 30d
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub since: Option<u64>,
    /// Whole addresses, in place of their /24 or /48
    #[arg(long)]
    pub addresses: bool,
    /// A new file, readable by its owner alone [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Purpose of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// `thornwall-train --cases`: every label, the weak ones marked
    Training,
    /// Chats to fine-tune a language model with, whose answer is the label: a person's, or what is
    /// proved; never a weak one
    FineTuning,
}

/// Milliseconds of a time as it is written.
fn span(text: &str) -> Result<u64, String> {
    let wrong = || "expected a number and `h` or `d`, such as 30d".to_owned();
    let hours = match text.char_indices().next_back() {
        Some((at, 'h')) => text[..at].parse().ok(),
        Some((at, 'd')) => text[..at]
            .parse::<u64>()
            .ok()
            .and_then(|days| days.checked_mul(24)),
        _ => None,
    };
    let millis = hours.and_then(|hours: u64| hours.checked_mul(3_600_000));
    millis.ok_or_else(wrong)
}

/// Error: there is no export, or not a whole one.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The output file cannot be made.
    #[error("{path}: {cause}", path = .0.display(), cause = .1)]
    Out(PathBuf, io::Error),
    /// The history cannot be read.
    #[error("{path}: {cause}", path = .0.display(), cause = .1)]
    History(PathBuf, ReadError),
    /// The running sidecar that holds the history does not answer as wanted.
    #[error(transparent)]
    Running(#[from] RunningError),
    /// Writing failed on the way.
    #[error("the export is not whole: {0}")]
    NotWhole(io::Error),
}

/// Writes what the arguments want.
pub fn run(arguments: &Arguments) -> Result<(), ExportError> {
    let file = ConfigFile::read(&arguments.config)?;
    let path = file
        .resolve(&file.config.server.data_dir)
        .join("history.redb");
    let now_ms = ProcessTime::start().now().unix_ms;
    let since_ms = arguments
        .since
        .map_or(0, |span| now_ms.saturating_sub(span));
    let mut export = Export::begin(arguments)?;
    match each_kept(&path, since_ms, |case| export.show(case)) {
        Ok(()) => {}
        Err(ReadError::InUse) => running::each(&file, since_ms, |case| export.show(case))?,
        Err(error) => return Err(ExportError::History(path, error)),
    }
    export.finish()
}

/// An export on its way.
struct Export<'a> {
    arguments: &'a Arguments,
    out: Box<dyn Write>,
    written: u64,
    left_out: u64,
    failed: Option<io::Error>,
}

impl<'a> Export<'a> {
    fn begin(arguments: &'a Arguments) -> Result<Self, ExportError> {
        let out: Box<dyn Write> = match &arguments.out {
            None => Box::new(io::stdout().lock()),
            Some(path) => {
                let mut options = OpenOptions::new();
                let made = options.write(true).create_new(true).mode(0o600).open(path);
                Box::new(made.map_err(|error| ExportError::Out(path.clone(), error))?)
            }
        };
        Ok(Self {
            arguments,
            out: Box::new(BufWriter::new(out)),
            written: 0,
            left_out: 0,
            failed: None,
        })
    }

    /// Writes a case if it is wanted; breaks where nothing more can be written.
    fn show(&mut self, kept: Explanation) -> ControlFlow<()> {
        let judged = Judged::of(&kept).filter(|judged| self.wants(judged.by));
        let made_ms = kept.assessment.as_ref().map_or(0, |made| made.made_ms);
        let (Some(judged), Some(case)) = (judged, kept.case) else {
            self.left_out += 1;
            return ControlFlow::Continue(());
        };
        let subject = line::exported(case.subject, self.arguments.addresses);
        let line = match self.arguments.format {
            Format::Training => line::training(&case, subject, judged, made_ms),
            Format::FineTuning => line::fine_tuning(&case, judged),
        };
        let written = line.map_err(io::Error::from);
        match written.and_then(|line| writeln!(self.out, "{}", printable_json(&line))) {
            Ok(()) => {
                self.written += 1;
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    const fn wants(&self, by: By) -> bool {
        let Arguments {
            format,
            reviewed,
            proved,
            ..
        } = self.arguments;
        match by {
            By::Person => true,
            By::Trap | By::Verified => {
                !*reviewed && (*proved || matches!(format, Format::Training))
            }
            By::Operator | By::Llm | By::Ladder => {
                !*reviewed && !*proved && matches!(format, Format::Training)
            }
        }
    }

    fn finish(mut self) -> Result<(), ExportError> {
        let ended = self.failed.take().map_or_else(|| self.out.flush(), Err);
        match ended {
            // The reader may have seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(ExportError::NotWhole(error)),
            Ok(()) => {
                let (written, left_out) = (self.written, self.left_out);
                log::info!("exported; lines={written} left_out={left_out}");
                Ok(())
            }
        }
    }
}
