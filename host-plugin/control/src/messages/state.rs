//! State of a stopped slot: Wasm values, linear memory, globals.

use serde::{Deserialize, Serialize};

use super::ids::StopId;

/// A Wasm value. Floats travel as their bits, so that no NaN is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// An `i32`.
    I32(i32),
    /// An `i64`.
    I64(i64),
    /// The bits of an `f32`.
    F32(u32),
    /// The bits of an `f64`.
    F64(u64),
    /// The bits of a `v128` as 32 hex digits.
    V128(String),
    /// A reference, in words: `null`, `func 17`.
    Ref(String),
    /// The engine does not know it.
    Unknown,
}

impl Value {
    /// Bytes of the longest JSON form of its kind, with a comma: what bounds lists of values.
    pub fn wire_size(&self) -> usize {
        match self {
            Self::I32(_) => r#"{"i32":-2147483648},"#.len(),
            Self::F32(_) => r#"{"f32":4294967295},"#.len(),
            Self::I64(_) => r#"{"i64":-9223372036854775808},"#.len(),
            Self::F64(_) => r#"{"f64":18446744073709551615},"#.len(),
            // Hex digits and words, nothing that JSON escapes.
            Self::V128(text) | Self::Ref(text) => r#"{"v128":""},"#.len() + text.len(),
            Self::Unknown => r#""unknown","#.len(),
        }
    }
}

/// Reads linear memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadMemory {
    /// Which stop.
    pub stop: StopId,
    /// Which memory, usually 0.
    pub memory: u32,
    /// First byte.
    pub address: u64,
    /// At most this many bytes (at most 512 KiB).
    pub length: u32,
}

/// Bytes of linear memory; shorter than asked at the end of the memory, empty beyond it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryBytes {
    /// Size of the whole memory in bytes.
    pub size: u64,
    /// The bytes.
    #[serde(with = "base64_bytes")]
    pub data: Vec<u8>,
}

/// Writes linear memory: all bytes or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteMemory {
    /// Which stop.
    pub stop: StopId,
    /// Which memory, usually 0.
    pub memory: u32,
    /// First byte.
    pub address: u64,
    /// The bytes.
    #[serde(with = "base64_bytes")]
    pub data: Vec<u8>,
}

/// The memory is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryWritten {}

/// The most globals that a client reads: no module has more, and a proxy may say that there are any number.
pub const MAX_GLOBALS: u32 = 1_000_000;

/// Reads the globals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadGlobals {
    /// Which stop.
    pub stop: StopId,
    /// Index of the first.
    #[serde(default)]
    pub first: u32,
}

/// The globals by index, from the first that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalValues {
    /// Index space of the module (imports first); as many as fit a frame.
    pub globals: Vec<Value>,
    /// How many the module has.
    #[serde(default)]
    pub count: u32,
}

/// Writes one global.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteGlobal {
    /// Which stop.
    pub stop: StopId,
    /// Its index.
    pub index: u32,
    /// The new value, of the global's type.
    pub value: Value,
}

/// The global is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalWritten {}

/// Bytes as base64 text.
pub(crate) mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(<String>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
