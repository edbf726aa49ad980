//! The client: bytes, messages, and the two directions in which they go. Knows nothing of sessions.

pub(crate) mod client;
pub(crate) mod framing;
pub(crate) mod reader;
