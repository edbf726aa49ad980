//! From a proxy as a user names it to an attached connection, and the commands that other threads may
//! send over it meanwhile.

mod attach;
mod interrupter;
pub mod proxy;

pub use attach::AttachOptions;
pub(crate) use attach::{AT_ONCE, attach};
pub use interrupter::Interrupter;
