//! Linear memory and code.

use serde::{Deserialize, Serialize};

use super::Source;

/// `readMemory`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadMemoryArguments {
    /// As a variable named it, or an address.
    pub memory_reference: String,
    /// Bytes behind it.
    pub offset: i64,
    /// How many.
    pub count: i64,
}

/// The response to `readMemory`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadMemoryBody {
    /// Of the first byte.
    pub address: String,
    /// How many at the end are outside the memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable_bytes: Option<i64>,
    /// Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// `writeMemory`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WriteMemoryArguments {
    /// As a variable named it, or an address.
    pub memory_reference: String,
    /// Bytes behind it.
    pub offset: i64,
    /// Base64.
    pub data: String,
}

/// The response to `writeMemory`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteMemoryBody {
    /// How many.
    pub bytes_written: i64,
}

/// `disassemble`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DisassembleArguments {
    /// As a frame named it.
    pub memory_reference: String,
    /// Bytes behind it.
    pub offset: i64,
    /// Opcodes behind that; can be negative.
    pub instruction_offset: i64,
    /// Exactly so many rows.
    pub instruction_count: i64,
}

/// The response to `disassemble`.
#[derive(Debug, Clone, Serialize)]
pub struct DisassembleBody {
    /// Exactly as many as asked for.
    pub instructions: Vec<DisassembledInstruction>,
}

/// `DisassembledInstruction`.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DisassembledInstruction {
    /// Of the opcode.
    pub address: String,
    /// Its encoding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction_bytes: Option<String>,
    /// In words.
    pub instruction: String,
    /// The function that begins here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// Its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Source>,
    /// Its line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<i64>,
    /// Its column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<i64>,
    /// `invalid` where there is no code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presentation_hint: Option<&'static str>,
}
