//! DWARF, read into the forms that questions are answered from.

pub(crate) mod entries;
pub(crate) mod line_program;
pub(crate) mod sections;
pub(crate) mod unit;
