//! Owns one opened unit, its references, and what its root entry says.

use std::sync::{Arc, OnceLock};

use gimli::DebugInfoOffset;

use super::sections::{Extent, Sections, Slice, dwarf_error};
use crate::error::DebugInfoError;
use crate::language::Language;
use wasmdbg_code_address::{CodeSection, PcRange};

/// What a unit's entries are written with.
pub(crate) type Abbreviations = Arc<gimli::Abbreviations>;

/// What the root entry of a unit says.
#[derive(Clone, Debug)]
pub(crate) struct UnitHead {
    pub(crate) name: String,
    pub(crate) producer: String,
    pub(crate) language: Language,
    /// Its live code; `None` when it does not say.
    pub(crate) ranges: Option<Vec<PcRange>>,
    /// The file that split DWARF put the entries into.
    pub(crate) split: Option<String>,
}

/// A unit opened for the length of a question.
pub(crate) struct OpenUnit<'a> {
    pub(crate) dwarf: gimli::Dwarf<Slice<'a>>,
    pub(crate) unit: gimli::Unit<Slice<'a>>,
    pub(crate) extent: Extent,
    pub(crate) index: u32,
}

impl UnitHead {
    /// Stands for a head that cannot be read.
    pub(crate) fn unreadable() -> UnitHead {
        UnitHead {
            name: "?".into(),
            producer: String::new(),
            language: Language::Other,
            ranges: None,
            split: None,
        }
    }
}

impl<'a> OpenUnit<'a> {
    /// Opens the unit at `extent`, number `index`; `kept` keeps its abbreviations for the next time.
    pub(crate) fn open(
        sections: &'a Sections,
        extent: Extent,
        index: u32,
        kept: &OnceLock<Result<Abbreviations, DebugInfoError>>,
    ) -> Result<OpenUnit<'a>, DebugInfoError> {
        let dwarf = sections.dwarf();
        let fail = dwarf_error(extent.start);
        let header =
            dwarf.debug_info.header_from_offset(DebugInfoOffset(extent.start as usize)).map_err(&fail)?;
        let abbreviations = kept.get_or_init(|| dwarf.abbreviations(&header).map_err(&fail)).clone()?;
        let unit = gimli::Unit::new_with_abbreviations(&dwarf, header, abbreviations).map_err(&fail)?;
        Ok(OpenUnit { dwarf, unit, extent, index })
    }

    pub(crate) fn refs(&self) -> gimli::UnitRef<'_, Slice<'a>> {
        self.unit.unit_ref(&self.dwarf)
    }

    pub(crate) fn fail(&self, offset: u32) -> impl Fn(gimli::Error) -> DebugInfoError + use<> {
        dwarf_error(offset)
    }

    /// An offset within the unit as an offset in `.debug_info`.
    pub(crate) fn global(&self, offset: gimli::UnitOffset) -> u32 {
        self.extent.start.saturating_add(offset.0 as u32)
    }

    /// An offset in `.debug_info` as one within this unit, if it is in it.
    pub(crate) fn local(&self, offset: u32) -> Result<gimli::UnitOffset, DebugInfoError> {
        DebugInfoOffset(offset as usize)
            .to_unit_offset(&self.unit.header)
            .ok_or_else(|| DebugInfoError::dwarf(offset, "a reference leads out of its unit"))
    }

    /// The `.debug_info` offset that a reference attribute means; type signatures are not among them.
    pub(crate) fn reference(&self, value: gimli::AttributeValue<Slice<'a>>) -> Option<u32> {
        match value {
            gimli::AttributeValue::UnitRef(offset) => Some(self.global(offset)),
            gimli::AttributeValue::DebugInfoRef(offset) => u32::try_from(offset.0).ok(),
            _ => None,
        }
    }

    /// What the root entry says.
    pub(crate) fn head(&self, code: CodeSection) -> Result<UnitHead, DebugInfoError> {
        let fail = self.fail(self.extent.start);
        let refs = self.refs();
        let root = self.unit.entry(self.unit.header.root_offset()).map_err(&fail)?;
        let string = |name| {
            let value = root.attr_value(name)?;
            refs.attr_string(value).ok().map(|s| s.to_string_lossy().into_owned())
        };
        let claimed = match root.attr_value(gimli::DW_AT_language) {
            Some(gimli::AttributeValue::Language(language)) => Some(language),
            _ => None,
        };
        let producer = string(gimli::DW_AT_producer).unwrap_or_default();
        let says_ranges = root.has_attr(gimli::DW_AT_ranges) || root.has_attr(gimli::DW_AT_high_pc);
        let ranges = if says_ranges {
            let mut live = Vec::new();
            let mut ranges = refs.die_ranges(&root).map_err(&fail)?;
            while let Some(range) = ranges.next().map_err(&fail)? {
                live.extend(code.module_range(range.begin..range.end));
            }
            Some(live)
        } else {
            None
        };
        Ok(UnitHead {
            name: string(gimli::DW_AT_name).unwrap_or_default(),
            language: Language::detect(&producer, claimed),
            producer,
            ranges,
            split: string(gimli::DW_AT_dwo_name).or_else(|| string(gimli::DW_AT_GNU_dwo_name)),
        })
    }
}
