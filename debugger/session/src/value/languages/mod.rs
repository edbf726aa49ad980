//! What languages know of their own values, better than the debug info says it.

pub(crate) mod cpp;
mod cpp_containers;
pub(crate) mod rust;
mod rust_containers;
