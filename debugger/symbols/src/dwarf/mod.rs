//! What DWARF says, read into the forms that questions are answered from.

pub(crate) mod entries;
