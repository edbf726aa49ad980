//! How messages travel: frames, connections, the addresses of sockets, the version.

pub(crate) mod address;
pub mod codec;
pub mod connection;
pub(crate) mod version;
