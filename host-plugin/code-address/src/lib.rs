//! How the code of a Wasm module is named: which module ([`ModuleHash`]), where in it ([`ModulePc`], [`PcRange`]),
//! and what its DWARF calls the same place ([`CodeOffset`]).
//!
//! The ground of all crates that speak of code: the host reports and plants pcs, the control protocol carries them
//! (all types but [`CodeOffset`] go over the wire, in a form that does not change), debuggers and the profiler look
//! them up. A native address, the third space, is a plain `u64` and stays where native code is read.
#![forbid(unsafe_code)]

mod module_hash;
mod pc;
mod section;

pub use module_hash::ModuleHash;
pub use pc::{ModulePc, PcRange};
pub use section::{CodeOffset, CodeSection};
