//! What there is, as text: frames, variables and lines, filters, rules. Knows no session.

pub(crate) mod breakpoints;
pub(crate) mod filters;
pub(crate) mod frames;
pub(crate) mod rules;
mod words;

pub(crate) use words::count;
