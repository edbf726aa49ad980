//! Owns the two address spaces of a module and every conversion between them.
//! No other file adds or subtracts the start of the code section.

use std::fmt;
use std::ops::Range;

use crate::{ModulePc, PcRange};

/// A byte offset from the start of the code section's contents, behind its size field.
/// All code addresses in Wasm DWARF have this form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeOffset(pub u32);

impl fmt::Display for CodeOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code+{:#x}", self.0)
    }
}

/// Where the contents of the code section lie in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeSection {
    /// First byte behind the section's size field.
    pub start: ModulePc,
    /// Length of the contents in bytes.
    pub len: u32,
}

impl CodeSection {
    /// The module offset of a code offset; `None` when it lies outside the section, as the addresses
    /// of functions that the linker removed do.
    #[must_use]
    pub fn module_pc(self, offset: CodeOffset) -> Option<ModulePc> {
        if offset.0 > self.len {
            return None;
        }
        self.start.0.checked_add(offset.0).map(ModulePc)
    }

    /// The code offset of a module offset; `None` outside the section.
    #[must_use]
    pub fn code_offset(self, pc: ModulePc) -> Option<CodeOffset> {
        let offset = pc.0.checked_sub(self.start.0)?;
        (offset < self.len).then_some(CodeOffset(offset))
    }

    /// A DWARF range as module offsets; `None` for an empty one, one outside the section, and one
    /// that begins at 0, the mark of removed code: the contents begin with the function count, so no
    /// function begins there.
    #[must_use]
    pub fn module_range(self, range: Range<u64>) -> Option<PcRange> {
        let (begin, end) = (u32::try_from(range.start).ok()?, u32::try_from(range.end).ok()?);
        if begin == 0 || begin >= end {
            return None;
        }
        Some(PcRange { start: self.module_pc(CodeOffset(begin))?, end: self.module_pc(CodeOffset(end))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: CodeSection = CodeSection { start: ModulePc(0x100), len: 0x40 };

    #[test]
    fn both_ways() {
        assert_eq!(CODE.module_pc(CodeOffset(0x10)), Some(ModulePc(0x110)));
        assert_eq!(CODE.code_offset(ModulePc(0x110)), Some(CodeOffset(0x10)));
        assert_eq!(CODE.code_offset(ModulePc(0xff)), None);
        assert_eq!(CODE.code_offset(ModulePc(0x140)), None);
    }

    #[test]
    fn removed_code_has_no_range() {
        assert_eq!(CODE.module_range(0..0x10), None, "the old mark of removed code");
        assert_eq!(CODE.module_range(0xffff_ffff..0x1_0000_0010), None, "the new mark");
        assert_eq!(CODE.module_range(0x10..0x10), None);
        assert_eq!(CODE.module_range(0x10..0x41), None, "past the end");
        assert_eq!(CODE.module_range(0x10..0x40), Some((ModulePc(0x110)..ModulePc(0x140)).into()));
    }
}
