//! Variables: which there are at a pc, and where each of them is.

pub(crate) mod frame_setup;
pub(crate) mod location;
pub(crate) mod machine;
pub(crate) mod stack_pointers;
pub(crate) mod variable;

mod described;
mod evaluate;
mod locate;
mod scopes;
mod stale_local;
