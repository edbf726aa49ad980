//! How messages travel: frames, connections, and the addresses of sockets.

pub(crate) mod address;
pub mod codec;
pub mod connection;
