//! What the process has once: its agent and the host's side of the ABI; and once a thread: a worker.

pub(crate) mod agent;
pub(crate) mod context;
pub(crate) mod embedder;
pub(crate) mod error;
mod letters;
pub(crate) mod shared;
mod symbolise;
pub(crate) mod worker;
