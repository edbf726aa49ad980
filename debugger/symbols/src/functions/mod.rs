//! Functions: their names and instances, the frames at a pc, and their code in words.

pub(crate) mod binding;
pub(crate) mod disassemble;
pub(crate) mod frames;
pub(crate) mod name;
pub(crate) mod tree;

mod names;
mod prologue;
