//! Owns the form of a function's name.

use std::sync::Arc;

use crate::demangle::{path_parts, without_generics};

/// A function's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionName {
    /// Demangled, with its path: `rust_token::is_prime`, `<rust_token::Http as Context>::on_done`.
    pub full: Arc<str>,
    /// The last part: `is_prime`.
    pub short: Arc<str>,
}

impl FunctionName {
    pub(crate) fn new(full: &str) -> FunctionName {
        let plain = without_generics(full);
        let short = path_parts(&plain).last().map_or_else(|| full.into(), |part| Arc::from(*part));
        FunctionName { full: full.into(), short }
    }
}
