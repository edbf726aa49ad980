//! The client's requests, a file per topic.

pub(crate) mod console;
pub(crate) mod evaluate;
pub(crate) mod memory;
pub(crate) mod running;
pub(crate) mod variables;
