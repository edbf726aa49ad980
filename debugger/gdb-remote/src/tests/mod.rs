//! Conversations with LLDB as transcripts: LLDB by hand at one end, a proxy in memory at the other.

mod breakpoints;
mod ends;
mod handshake;
mod packets;
mod port;
mod proxy;
mod running;
mod stage;
mod state;
mod stops;
