//! The client's requests, a file per topic: functions over the parts of the adapter that they need.

pub(crate) mod breakpoints;
pub(crate) mod completions;
mod console;
pub(crate) mod evaluate;
pub(crate) mod exception;
pub(crate) mod memory;
pub(crate) mod running;
pub(crate) mod sources;
pub(crate) mod stack;
pub(crate) mod threads;
pub(crate) mod variables;
