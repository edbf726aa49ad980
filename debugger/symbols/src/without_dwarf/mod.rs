//! Modules without DWARF: what source maps, Go's own table and the name section say in its place.

pub(crate) mod go_table;
pub(crate) mod line_info;
pub(crate) mod named_locals;
pub(crate) mod source_map;
