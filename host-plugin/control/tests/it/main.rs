//! The control transport between real sockets.

mod ask;
mod client;
mod codec;
mod discover;
mod documented;
mod server;
mod socket;
mod support;
mod version;
