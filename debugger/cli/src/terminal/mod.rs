//! The user's end: what is read from the terminal or a pipe, and everything that is written to it.

pub(crate) mod console;
pub(crate) mod input;
