//! Scoring a request's features with a trained model in ONNX Runtime.
//!
//! A model is two files: `name.onnx`, which takes `[n, COUNT]` floats and gives one probability a
//! row, and `name.json`, the [`Card`] that says which features it was trained on and from which
//! score on it means something. A model whose card speaks of other features than ours is refused,
//! since it would score noise with confidence.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use ort::{
    session::{Session, builder::GraphOptimizationLevel},
    value::TensorRef,
};
use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;

use crate::features::COUNT;

mod card;
mod runtime;

pub use card::{Card, sha256_hex};
pub use runtime::{init_runtime, settle_environment};

/// Largest model file that is read. Ours are below 100 KiB; this bounds a mistake.
const MOST_MODEL_BYTES: u64 = 64 << 20;

/// Largest card that is read.
const MOST_CARD_BYTES: u64 = 1 << 20;

/// A model that is ready to score.
///
/// ONNX Runtime's `Run` on one session is not for several threads at once, so there is a session
/// for each worker, built up front: nothing is created on the request path.
#[derive(Debug)]
pub struct Model {
    card: Card,
    sessions: Box<[Mutex<Session>]>,
}

impl Model {
    /// Loads a model and its card, which lies next to it with the ending `.json`, and scores once
    /// to see that it runs. [`init_runtime`] must have gone well before.
    pub fn load(path: &Path, workers: usize) -> Result<Self, ModelError> {
        let card = Card::parse(&read_bounded(
            &path.with_extension("json"),
            MOST_CARD_BYTES,
        )?)?;
        let bytes = read_bounded(path, MOST_MODEL_BYTES)?;
        if sha256_hex(&bytes) != card.onnx_sha256 {
            return Err(ModelError::WrongFile(path.to_path_buf()));
        }
        let sessions = (0..workers.max(1))
            .map(|_| session(&bytes).map(Mutex::new))
            .collect::<Result<_, _>>()?;
        let model = Self { card, sessions };
        model.score(&[0.0; COUNT])?;
        Ok(model)
    }

    /// What the model says of itself.
    pub const fn card(&self) -> &Card {
        &self.card
    }

    /// How likely these features are an unwelcome client's, 0..1.
    pub fn score(&self, features: &[f32; COUNT]) -> Result<f32, ModelError> {
        let mut session = self.own_session();
        let input = TensorRef::from_array_view(([1, COUNT], features.as_slice()))?;
        let outputs = session.run(ort::inputs![input])?;
        let output = outputs.values().next().ok_or(ModelError::WrongOutput)?;
        let (_, scores) = output.try_extract_tensor::<f32>()?;
        match scores {
            [score] if (0.0..=1.0).contains(score) => Ok(*score),
            _ => Err(ModelError::WrongOutput),
        }
    }

    /// The calling thread's session or, where another thread has the same one, any that is free.
    fn own_session(&self) -> MutexGuard<'_, Session> {
        let own = worker() % self.sessions.len();
        let (before, from_own) = self.sessions.split_at(own);
        from_own
            .iter()
            .chain(before)
            .find_map(Mutex::try_lock)
            .unwrap_or_else(|| self.sessions[own].lock())
    }
}

/// The calling thread's number, counted up as threads first ask.
fn worker() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static WORKER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // Fails only while the thread ends; then any session does.
    WORKER.try_with(|worker| *worker).unwrap_or(0)
}

/// A session on the calling thread alone: a tree ensemble takes microseconds, and handing a part
/// of it to another thread takes longer.
fn session(bytes: &[u8]) -> Result<Session, ModelError> {
    let environment = runtime::environment().ok_or(ModelError::RuntimeNotLoaded)?;
    Ok(Session::builder(&environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .commit_from_memory(bytes)?)
}

fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, ModelError> {
    let unreadable = |source| ModelError::Unreadable {
        path: path.to_path_buf(),
        source,
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > most {
        return Err(ModelError::TooLarge(path.to_path_buf(), most));
    }
    Ok(bytes)
}

/// Error: there is no model, or no score.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The card is not what it should be.
    #[error("the model's card {0}")]
    Card(String),
    /// A name that could lead out of the models' folder.
    #[error("its name must be letters, digits, `_` and `-`")]
    Name,
    /// ONNX Runtime refused the model or failed to run it.
    #[error("onnx runtime: {0}")]
    Runtime(String),
    /// There is a library, but it cannot be used.
    #[error(
        "{path} is not a usable ONNX Runtime: {reason}; `models/fetch-runtime` installs the right one"
    )]
    RuntimeBroken {
        /// The library.
        path: PathBuf,
        /// What the loader says.
        reason: String,
    },
    /// No library was found.
    #[error("ONNX Runtime's library is missing at {looked}; `models/fetch-runtime` installs it")]
    RuntimeMissing {
        /// Where it was looked for.
        looked: String,
    },
    /// A model was loaded before the library.
    #[error("ONNX Runtime is not loaded")]
    RuntimeNotLoaded,
    /// A file is larger than any model or card of ours.
    #[error("{0} is larger than {1} bytes")]
    TooLarge(PathBuf, u64),
    /// A file is absent or cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The model file is not the one that the card was written for.
    #[error("{0} is not the file that its card describes (`onnx_sha256` differs)")]
    WrongFile(PathBuf),
    /// The model gives something other than one number in 0..1 a request.
    #[error("the model does not give one score in 0..1")]
    WrongOutput,
}

impl<R> From<ort::Error<R>> for ModelError {
    fn from(error: ort::Error<R>) -> Self {
        Self::Runtime(error.message().to_owned())
    }
}
