//! Variables: which there are at a pc, and where each of them is.

pub(crate) mod evaluate;
pub(crate) mod frame_setup;
pub(crate) mod location;
pub(crate) mod scopes;
pub(crate) mod stale_local;
