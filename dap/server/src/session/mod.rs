//! A session from its start to its end: attached or launched, lost and found again, restarted. Threads that
//! may wait for a proxy make it; the adapter's own thread never does.

mod announce;
pub(crate) mod arguments;
mod attach;
pub(crate) mod connector;
mod launch;
mod launched;
pub(crate) mod lifecycle;
pub(crate) mod link;
pub(crate) mod notice;
mod reconnect;
