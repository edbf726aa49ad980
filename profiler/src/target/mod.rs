//! The process that is looked at: what /proc says of it, the code that is mapped, its control socket, and what the
//! kernel allows.

pub mod host;
pub mod permission;
pub mod space;

pub(crate) mod proxy;

mod process;

pub use process::{Region, Target, TargetError};
