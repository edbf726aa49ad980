//! Owns the DWARF sections of a module, and what lies where in `.debug_info`.
//!
//! What is kept between questions is owned and small (offsets, ranges, interned paths); gimli's
//! readers borrow the module's bytes for the length of one question, so no reference count is touched
//! per attribute.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use gimli::{DebugInfoOffset, EndianSlice, LittleEndian, Reader as _, SectionId};

use crate::error::DebugInfoError;
use crate::module::Module;
use wasmdbg_code_address::CodeSection;

pub(crate) type Slice<'a> = EndianSlice<'a, LittleEndian>;
pub(crate) type Entry<'a> = gimli::DebuggingInformationEntry<Slice<'a>>;

/// A string inside the file, by position; costs 8 bytes where a copy would cost its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    start: u32,
    len: u32,
}

/// The sections.
#[derive(Debug)]
pub(crate) struct Sections {
    bytes: Arc<[u8]>,
    ranges: HashMap<SectionId, Range<usize>>,
    /// Where the code lies that they speak of.
    pub(crate) code: CodeSection,
}

/// Where a unit lies in `.debug_info`, from its start to its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// A unit's place with its DWARF version, or why its header cannot be read.
pub(crate) type Header = (Extent, Result<u16, DebugInfoError>);

pub(crate) fn dwarf_error(offset: u32) -> impl Fn(gimli::Error) -> DebugInfoError {
    move |e| DebugInfoError::dwarf(offset, e.to_string())
}

impl Sections {
    /// A module's own.
    pub(crate) fn of(module: &Module) -> Sections {
        let range = |id: &SectionId| Some((*id, module.custom_range(id.name())?));
        Sections { ranges: SECTIONS.iter().filter_map(range).collect(), ..Sections::none(module) }
    }

    /// None of a module's.
    pub(crate) fn none(module: &Module) -> Sections {
        Sections { bytes: module.bytes().clone(), ranges: HashMap::new(), code: module.code() }
    }

    /// Whether there is no DWARF.
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    fn section(&self, id: SectionId) -> Slice<'_> {
        // An absent section is an empty slice of the file: `Text` measures positions from its start.
        EndianSlice::new(&self.bytes[self.ranges.get(&id).cloned().unwrap_or(0..0)], LittleEndian)
    }

    /// gimli's view of the sections. Cheap: a handful of slices.
    pub(crate) fn dwarf(&self) -> gimli::Dwarf<Slice<'_>> {
        let load = |id: SectionId| Ok::<_, std::convert::Infallible>(self.section(id));
        match gimli::Dwarf::load(load) {
            Ok(dwarf) => dwarf,
            Err(never) => match never {},
        }
    }

    /// Walks the headers by their lengths, so that a broken unit does not hide those behind it.
    pub(crate) fn headers(&self) -> Vec<Header> {
        let dwarf = self.dwarf();
        let mut headers = Vec::new();
        let mut rest = self.section(SectionId::DebugInfo);
        let section = rest;
        while !rest.is_empty() {
            let start = rest.offset_from(section) as u32;
            let Ok((length, _)) = rest.read_initial_length() else { break };
            let broken = rest.skip(length).is_err();
            let end = if broken { section.len() } else { rest.offset_from(section) } as u32;
            let header = dwarf.debug_info.header_from_offset(DebugInfoOffset(start as usize));
            let version = header.map(|header| header.version()).map_err(dwarf_error(start));
            headers.push((Extent { start, end }, version));
            if broken {
                break;
            }
        }
        headers
    }

    /// The position of a string that gimli read from one of the sections.
    pub(crate) fn text(&self, string: Slice<'_>) -> Text {
        let start = string.offset_from(EndianSlice::new(&self.bytes, LittleEndian));
        Text { start: start as u32, len: string.len() as u32 }
    }

    /// The string at a position; empty when it is not UTF-8 (DWARF says it is).
    pub(crate) fn str(&self, text: Text) -> &str {
        let start = text.start as usize;
        std::str::from_utf8(&self.bytes[start..start + text.len as usize]).unwrap_or("")
    }
}

const SECTIONS: [SectionId; 14] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugLoc,
    SectionId::DebugLocLists,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
    SectionId::DebugTypes,
    SectionId::DebugMacro,
];
