//! Names of things that are asked about again: small, and of one [`crate::Symbols`] only.

/// One instance of a function in the code: a function body, or a copy inlined into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    pub(crate) unit: u32,
    pub(crate) node: u32,
}

/// A type: the `.debug_info` offset of its entry; without DWARF a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub(crate) u32);
