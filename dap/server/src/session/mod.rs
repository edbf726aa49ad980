//! How a session comes to be, ends and comes back.

pub(crate) mod attach;
pub(crate) mod launch;
pub(crate) mod link;
pub(crate) mod reconnect;
