//! The secret text that a caller shows to be let in.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use uuid::Uuid;

use crate::{regular_file, secret_file};

/// A secret text, from a file that only its owner can read.
pub struct Token(String);

impl fmt::Debug for Token {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The token file cannot be used.
#[derive(Debug, Error)]
pub enum TokenError {
    /// It holds nothing that could be a token.
    #[error("{}: no token in it; expected one word of 32 to 512 printable characters", .0.display())]
    Empty(PathBuf),
    /// It cannot be read or made.
    #[error("{path}: {cause}", path = .0.display(), cause = .1)]
    Io(PathBuf, io::Error),
}

/// Shortest token that is accepted: the 122 random bits of the ones that are made here, in hex.
const SHORTEST: usize = 32;
/// Longest token: whatever is longer is another file.
const LONGEST: usize = 512;

impl Token {
    /// Reads the token, and makes one, readable by its owner alone, where there is none.
    pub fn read_or_make(path: &Path) -> Result<Self, TokenError> {
        let made = secret_file::read_or_make(path, || {
            let token = Uuid::new_v4().as_simple().to_string();
            Ok((token + "\n").into_bytes())
        });
        Self::parse(path, made)
    }

    /// Checks what [`Self::read_or_make`] would refuse, and makes nothing.
    pub fn check(path: &Path) -> Result<(), TokenError> {
        match Self::read(path) {
            Err(TokenError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            read => read.map(|_| ()),
        }
    }

    /// Reads the token.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        Self::parse(path, regular_file::read(path))
    }

    fn parse(path: &Path, read: io::Result<Vec<u8>>) -> Result<Self, TokenError> {
        let failed = |error| TokenError::Io(path.to_path_buf(), error);
        let text = String::from_utf8(read.map_err(failed)?);
        let text =
            text.map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        let token = text.trim();
        let is_word = token.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_word || !(SHORTEST..=LONGEST).contains(&token.len()) {
            return Err(TokenError::Empty(path.to_path_buf()));
        }
        secret_file::warn_if_public(path);
        Ok(Self(token.to_owned()))
    }

    /// Whether `claim` is the token; takes as long whatever the claim is.
    pub fn is(&self, claim: &str) -> bool {
        let (token, claim) = (self.0.as_bytes(), claim.as_bytes());
        let differing = token
            .iter()
            .zip(claim)
            .fold(0, |bits, (a, b)| bits | (a ^ b));
        token.len() == claim.len() && differing == 0
    }

    /// The value of an `Authorization` field that shows the token.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }
}
