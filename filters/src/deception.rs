//! What a held client reads: endless, plausible, worthless documents, as plain data.
//!
//! [`links`] marks paths so that a client that follows one is known again. [`plan`] decides what a path
//! is answered with, and [`drip`] is the answer itself: an iterator of small chunks, each with the
//! wait before it. Nothing here reads a clock, sleeps or writes to a socket; the gateway does.
//!
//! The text of a path is the same on every visit and differs between installations. Nothing that
//! a client sent is ever part of it.

mod binary;
mod code;
pub mod drip;
pub mod links;
mod markup;
pub mod pace;
mod page;
pub mod plan;
mod random;
mod records;
#[cfg(test)]
mod tests;
mod text;
// A word a line would hide the tables.
#[rustfmt::skip]
mod words;
