//! Lines: from a pc to the source, and from a source line to the pcs where a breakpoint belongs.

pub(crate) mod binding;
pub(crate) mod paths;
pub(crate) mod position;
pub(crate) mod statement;
pub(crate) mod table;
