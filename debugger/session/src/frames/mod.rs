//! Frames of a stop as a programmer counts them, and what each of them knows by name.

mod frame;
pub(crate) mod scope;

pub use frame::Frame;
pub(crate) use frame::{Expansion, Scoped, source_frames};
pub use scope::{Scope, ScopeKind};
