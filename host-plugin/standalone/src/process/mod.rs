//! What the process has once: its agent and the host's side of the ABI; and once a thread: a worker.

pub(crate) mod agent;
pub(crate) mod embedder;
mod symbolise;
pub(crate) mod worker;
