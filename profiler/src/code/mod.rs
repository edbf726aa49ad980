//! Code maps: which function, and which place of the module, an address of compiled code belongs to.
//! One file per source. Bytes in, maps out; broken input gives an error or less of a map.

pub mod address_map;
pub mod image;
pub mod jitdump;
pub mod name;
pub mod perf_map;
pub mod timeline;
