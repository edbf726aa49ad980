//! Between the client's bytes and messages.

pub(crate) mod client;
pub(crate) mod framing;
