//! The control transport between real sockets.

mod codec;
mod discover;
mod documented;
mod server;
mod socket;
mod support;
mod version;
