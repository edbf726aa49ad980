//! Offsets in the `.wasm` file, and ranges of them.

use std::fmt;
use std::ops::{Add, Range};

use serde::{Deserialize, Serialize};

/// A byte offset from the start of the `.wasm` file. Engines report positions in this form; on the wire a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModulePc(pub u32);

impl ModulePc {
    /// The pc of byte `offset`; the last one for an offset that no file has, as modules are smaller than 4 GiB.
    #[must_use]
    pub fn at(offset: usize) -> ModulePc {
        ModulePc(u32::try_from(offset).unwrap_or(u32::MAX))
    }

    /// The pc to look a caller's frame up with. An outer frame's pc is a return address, which may
    /// already belong to the next line or even the next function.
    #[must_use]
    pub fn before_return(self) -> ModulePc {
        ModulePc(self.0.saturating_sub(1))
    }
}

impl Add<u32> for ModulePc {
    type Output = ModulePc;

    /// So many bytes on; no file is longer than 4 GiB.
    fn add(self, bytes: u32) -> ModulePc {
        ModulePc(self.0.saturating_add(bytes))
    }
}

impl fmt::LowerHex for ModulePc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

impl fmt::Display for ModulePc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A half-open range of pcs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PcRange {
    /// First pc.
    pub start: ModulePc,
    /// The pc behind the last.
    pub end: ModulePc,
}

impl PcRange {
    /// The range of one pc.
    #[must_use]
    pub fn only(pc: ModulePc) -> PcRange {
        PcRange { start: pc, end: pc + 1 }
    }

    /// The pcs of a file's bytes.
    #[must_use]
    pub fn of_bytes(bytes: Range<usize>) -> PcRange {
        PcRange { start: ModulePc::at(bytes.start), end: ModulePc::at(bytes.end) }
    }

    /// Whether `pc` lies in the range.
    #[must_use]
    pub fn contains(self, pc: ModulePc) -> bool {
        self.start <= pc && pc < self.end
    }

    /// Whether no pc lies in the range.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(self) -> u32 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// The bytes of the file, for a slice of it.
    #[must_use]
    pub fn bytes(self) -> Range<usize> {
        self.start.0 as usize..self.end.0 as usize
    }
}

impl From<Range<ModulePc>> for PcRange {
    fn from(range: Range<ModulePc>) -> PcRange {
        PcRange { start: range.start, end: range.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pcs_go_over_the_wire_as_numbers() {
        let range = PcRange::only(ModulePc(16));
        let json = r#"{"start":16,"end":17}"#;
        assert_eq!(serde_json::to_string(&range).unwrap(), json);
        assert_eq!(serde_json::from_str::<PcRange>(json).unwrap(), range);
    }

    #[test]
    fn a_range_ends_before_its_end() {
        let range = PcRange::from(ModulePc(4)..ModulePc(6));
        assert!(range.contains(ModulePc(4)) && range.contains(ModulePc(5)));
        assert!(!range.contains(ModulePc(3)) && !range.contains(ModulePc(6)));
        assert_eq!((range.len(), range.bytes(), range.is_empty()), (2, 4..6, false));
        assert!(PcRange::from(ModulePc(6)..ModulePc(4)).is_empty());
        assert!(PcRange::only(ModulePc(u32::MAX)).is_empty(), "no file is so long");
    }
}
