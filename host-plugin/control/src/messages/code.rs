//! Compiled code in the proxy's memory, for profilers: what lies where, and files that `perf` reads.
//! Addresses are those of the proxy's process.

use serde::{Deserialize, Serialize};
use wasmdbg_code_address::ModuleHash;

use super::ids::FilterId;

/// Asks for the compiled code of all filters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListCode {}

/// The compiled code of the fast lane. Code of the debug lane is copied for each virtual machine and not
/// listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeList {
    /// See [`CodeImage`].
    pub images: Vec<CodeImage>,
}

/// The code of one filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeImage {
    /// Whose.
    pub filter: FilterId,
    /// The filter's name.
    pub name: String,
    /// The module it was compiled from.
    pub module: ModuleHash,
    /// Where it is executed.
    pub lane: Lane,
    /// Rises when the filter is loaded anew; from 0.
    pub generation: u32,
    /// Address of its first byte.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// Functions of the module in it.
    pub functions: u32,
}

/// Which engine compiled it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// For everybody's transactions.
    Fast,
    /// For transactions that are debugged.
    Debug,
}

/// Reads a range of a filter's compiled image: the ELF file that wasmtime makes of a module, with its
/// machine code, names of functions and the way back to the module. For a profiler that may not read the
/// proxy's memory; only if the proxy's capabilities have `read_code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadCode {
    /// Whose, see [`CodeImage::filter`].
    pub filter: FilterId,
    /// First byte.
    pub offset: u64,
    /// At most this many bytes; the reply can be shorter (at most 512 KiB, and at the end of the image).
    pub length: u32,
}

/// A range of a compiled image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeBytes {
    /// Size of the whole image in bytes.
    pub size: u64,
    /// The bytes.
    #[serde(with = "crate::messages::state::base64_bytes")]
    pub data: Vec<u8>,
}

/// Asks for a file that names the compiled code of all filters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteCodeMap {
    /// Which.
    pub format: CodeMapFormat,
}

/// The forms that `perf` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeMapFormat {
    /// `perf-PID.map`: names alone.
    PerfMap,
    /// `jit-PID.dump`: names, code and lines, for `perf inject --jit`.
    Jitdump,
}

/// The file is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeMapWritten {
    /// Where, in the proxy's file system.
    pub path: String,
    /// Pieces of code that it names.
    pub entries: u64,
    /// Bytes.
    pub size: u64,
    /// CPU time that it took, in µs.
    pub cpu_us: u64,
}
