//! Where in a JSON text the addresses stand: a JSON Pointer (RFC 6901), in which a step `*` means
//! every element of an array, and every value of an object.

use std::str::FromStr;

use thiserror::Error;

/// Deepest place that can be pointed at: more than any feed nests, less than JSON readers refuse.
const MOST_STEPS: usize = 32;

/// A pointer with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    steps: Vec<Step>,
}

/// One step of a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Into everything that is there.
    Each,
    /// Into the member of this name, or the element of this number.
    Into(String),
}

/// Error: the text is not a valid pointer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PointerError {
    /// Too many steps.
    #[error("has more than {MOST_STEPS} steps")]
    Deep,
    /// It neither is empty nor begins with a slash.
    #[error("does not begin with `/`")]
    NoSlash,
    /// `~` with something else behind it than 0 or 1.
    #[error("has a `~` that is neither `~0` (for ~) nor `~1` (for /)")]
    Tilde,
}

impl Pointer {
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }
}

impl FromStr for Pointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        if text.is_empty() {
            return Ok(Self { steps: Vec::new() });
        }
        let rest = text.strip_prefix('/').ok_or(PointerError::NoSlash)?;
        let steps: Vec<Step> = rest.split('/').map(step).collect::<Result<_, _>>()?;
        match steps.len() {
            ..=MOST_STEPS => Ok(Self { steps }),
            _ => Err(PointerError::Deep),
        }
    }
}

fn step(text: &str) -> Result<Step, PointerError> {
    if text == "*" {
        return Ok(Step::Each);
    }
    let escapes = text.split('~').skip(1);
    if escapes
        .into_iter()
        .any(|rest| !rest.starts_with(['0', '1']))
    {
        return Err(PointerError::Tilde);
    }
    // In this order, so that `~01` is `~1` (RFC 6901 section 4).
    Ok(Step::Into(text.replace("~1", "/").replace("~0", "~")))
}
