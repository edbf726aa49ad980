//! Owns the DWARF sections and the list of units. Gives out opened units; broken ones are error values.
//! Units that were read from something else than DWARF (`without_dwarf`) are here too, and cannot be opened.
//! Never interprets entries: lines, functions, scopes and types do that.
//!
//! What is kept between questions is owned and small (offsets, ranges, interned paths); gimli's
//! readers borrow the module's bytes for the length of one question, so no reference count is touched
//! per attribute.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

use gimli::{DebugInfoOffset, EndianSlice, LittleEndian, Reader as _, SectionId};

use crate::cache::lock;
use crate::dwarf::entries::UnitEntries;
use crate::error::DebugInfoError;
use crate::language::Language;
use crate::lines::table::LineTable;
use crate::module::Module;
use wasmdbg_code_address::{CodeSection, ModulePc, PcRange};

pub(crate) type Slice<'a> = EndianSlice<'a, LittleEndian>;
pub(crate) type Entry<'a> = gimli::DebuggingInformationEntry<Slice<'a>>;
pub(crate) type Abbreviations = Arc<gimli::Abbreviations>;

/// A string inside the file, by position; costs 8 bytes where a copy would cost its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    start: u32,
    len: u32,
}

/// The debug info of a module.
#[derive(Debug)]
pub(crate) struct DebugInfo {
    bytes: Arc<[u8]>,
    sections: HashMap<SectionId, Range<usize>>,
    pub(crate) code: CodeSection,
    pub(crate) units: Vec<UnitSlot>,
    ranges: OnceLock<Vec<UnitRange>>,
    paths: Mutex<HashSet<Arc<str>>>,
    pub(crate) signatures: OnceLock<HashMap<u64, u32>>,
    /// Source texts that came with the debug info, by path.
    pub(crate) texts: HashMap<Arc<str>, Arc<str>>,
}

/// A piece of a unit's code.
#[derive(Debug)]
struct UnitRange {
    range: PcRange,
    /// The highest end of this and all earlier ranges.
    reach: ModulePc,
    unit: u32,
}

/// One unit and what was found out about it.
#[derive(Debug)]
pub(crate) struct UnitSlot {
    /// Start in `.debug_info`.
    pub(crate) offset: u32,
    /// End in `.debug_info`.
    pub(crate) end: u32,
    pub(crate) version: u16,
    abbreviations: OnceLock<Result<Abbreviations, DebugInfoError>>,
    head: OnceLock<Result<UnitHead, DebugInfoError>>,
    pub(crate) files: OnceLock<Vec<Arc<str>>>,
    pub(crate) lines: OnceLock<Result<LineTable, DebugInfoError>>,
    pub(crate) entries: OnceLock<Result<UnitEntries, DebugInfoError>>,
}

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
    pub(crate) slot: &'a UnitSlot,
    pub(crate) index: u32,
}

pub(crate) fn dwarf_error(offset: u32) -> impl Fn(gimli::Error) -> DebugInfoError {
    move |e| DebugInfoError::dwarf(offset, e.to_string())
}

impl DebugInfo {
    /// The debug info in `module`'s custom sections; `None` without `.debug_info`.
    pub(crate) fn load(module: &Module) -> Option<DebugInfo> {
        if !module.has_dwarf() {
            return None;
        }
        let sections: HashMap<_, _> =
            SECTIONS.iter().filter_map(|id| Some((*id, module.custom_range(id.name())?))).collect();
        let mut info = DebugInfo { sections, ..DebugInfo::of_units(module, Vec::new()) };
        info.units = info.unit_headers();
        Some(info)
    }

    /// Debug info without sections.
    pub(crate) fn of_units(module: &Module, units: Vec<UnitSlot>) -> DebugInfo {
        DebugInfo {
            bytes: module.bytes().clone(),
            sections: HashMap::new(),
            code: module.code(),
            units,
            ranges: OnceLock::new(),
            paths: Mutex::default(),
            signatures: OnceLock::new(),
            texts: HashMap::new(),
        }
    }

    /// Whether there is DWARF, and so entries of variables and types, and not lines and functions alone.
    pub(crate) fn has_entries(&self) -> bool {
        !self.sections.is_empty()
    }

    /// The same debug info for a copy of the module in which the code section lies elsewhere.
    pub(crate) fn for_code(self, code: CodeSection) -> DebugInfo {
        DebugInfo { code, ..self }
    }

    fn section(&self, id: SectionId) -> Slice<'_> {
        // An absent section is an empty slice of the file: `Text` measures positions from its start.
        EndianSlice::new(&self.bytes[self.sections.get(&id).cloned().unwrap_or(0..0)], LittleEndian)
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
    fn unit_headers(&self) -> Vec<UnitSlot> {
        let dwarf = self.dwarf();
        let mut units = Vec::new();
        let mut rest = self.section(SectionId::DebugInfo);
        let section = rest;
        while !rest.is_empty() {
            let offset = rest.offset_from(section) as u32;
            let Ok((length, _)) = rest.read_initial_length() else { break };
            let broken = rest.skip(length).is_err();
            let end = if broken { section.len() } else { rest.offset_from(section) } as u32;
            let slot = match dwarf.debug_info.header_from_offset(DebugInfoOffset(offset as usize)) {
                Ok(header) => UnitSlot::new(offset, end, header.version()),
                Err(e) => UnitSlot::broken(offset, end, dwarf_error(offset)(e)),
            };
            units.push(slot);
            if broken {
                break;
            }
        }
        units
    }

    pub(crate) fn slot(&self, index: u32) -> Result<&UnitSlot, DebugInfoError> {
        let fault = || DebugInfoError::dwarf(0, "no such unit: the id is of another module");
        self.units.get(index as usize).ok_or_else(fault)
    }

    pub(crate) fn open(&self, index: u32) -> Result<OpenUnit<'_>, DebugInfoError> {
        let slot = self.slot(index)?;
        let dwarf = self.dwarf();
        let fail = dwarf_error(slot.offset);
        let header =
            dwarf.debug_info.header_from_offset(DebugInfoOffset(slot.offset as usize)).map_err(&fail)?;
        let abbreviations =
            slot.abbreviations.get_or_init(|| dwarf.abbreviations(&header).map_err(&fail)).clone()?;
        let unit = gimli::Unit::new_with_abbreviations(&dwarf, header, abbreviations).map_err(&fail)?;
        Ok(OpenUnit { dwarf, unit, slot, index })
    }

    /// The unit whose entries include `.debug_info` offset `offset`.
    pub(crate) fn unit_of(&self, offset: u32) -> Option<u32> {
        let after = self.units.partition_point(|u| u.offset <= offset);
        let index = after.checked_sub(1)?;
        (offset < self.units[index].end).then_some(index as u32)
    }

    pub(crate) fn head(&self, index: u32) -> Result<&UnitHead, DebugInfoError> {
        self.slot(index)?
            .head
            .get_or_init(|| self.open(index)?.head(self.code))
            .as_ref()
            .map_err(Clone::clone)
    }

    pub(crate) fn language(&self, index: u32) -> Language {
        self.head(index).map_or(Language::Other, |h| h.language)
    }

    /// The unit that compiled the code at `pc`.
    pub(crate) fn unit_at(&self, pc: ModulePc) -> Option<u32> {
        let ranges = self.ranges.get_or_init(|| self.unit_ranges());
        let after = ranges.partition_point(|r| r.range.start <= pc);
        // Some producers give a unit one range around those of others: the latest start is the closest.
        let mut before = ranges[..after].iter().rev().take_while(|r| pc < r.reach);
        before.find(|r| r.range.contains(pc)).map(|r| r.unit)
    }

    fn unit_ranges(&self) -> Vec<UnitRange> {
        let mut all = Vec::new();
        for unit in 0..self.units.len() as u32 {
            let Ok(head) = self.head(unit) else { continue };
            let mut add = |range: PcRange| all.push(UnitRange { reach: range.end, range, unit });
            match &head.ranges {
                Some(ranges) => ranges.iter().copied().for_each(&mut add),
                None => {
                    if let Ok(entries) = self.entries(unit) {
                        entries.function_ranges().for_each(&mut add);
                    }
                }
            }
        }
        all.sort_by_key(|r| r.range.start);
        let mut reach = ModulePc(0);
        for range in &mut all {
            reach = reach.max(range.reach);
            range.reach = reach;
        }
        all
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

    /// One shared copy of a path that many units name.
    pub(crate) fn intern(&self, path: String) -> Arc<str> {
        let mut paths = lock(&self.paths);
        if let Some(known) = paths.get(path.as_str()) {
            return known.clone();
        }
        let path: Arc<str> = path.into();
        paths.insert(path.clone());
        path
    }
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

impl UnitSlot {
    fn new(offset: u32, end: u32, version: u16) -> UnitSlot {
        UnitSlot {
            offset,
            end,
            version,
            abbreviations: OnceLock::new(),
            head: OnceLock::new(),
            files: OnceLock::new(),
            lines: OnceLock::new(),
            entries: OnceLock::new(),
        }
    }

    /// A unit of which all that there is to know is known.
    pub(crate) fn known(
        head: UnitHead,
        files: Vec<Arc<str>>,
        lines: LineTable,
        functions: UnitEntries,
    ) -> UnitSlot {
        UnitSlot {
            head: OnceLock::from(Ok(head)),
            files: OnceLock::from(files),
            lines: OnceLock::from(Ok(lines)),
            entries: OnceLock::from(Ok(functions)),
            ..UnitSlot::new(0, 0, 0)
        }
    }

    pub(crate) fn broken(offset: u32, end: u32, error: DebugInfoError) -> UnitSlot {
        UnitSlot { head: OnceLock::from(Err(error)), ..UnitSlot::new(offset, end, 0) }
    }

    /// The first fault that a question met in this unit.
    pub(crate) fn problem(&self) -> Option<DebugInfoError> {
        let faults = [
            self.head.get().and_then(|r| r.as_ref().err()),
            self.lines.get().and_then(|r| r.as_ref().err()),
            self.entries.get().and_then(|r| r.as_ref().err()),
        ];
        faults.into_iter().flatten().next().cloned()
    }
}

impl<'a> OpenUnit<'a> {
    pub(crate) fn refs(&self) -> gimli::UnitRef<'_, Slice<'a>> {
        self.unit.unit_ref(&self.dwarf)
    }

    pub(crate) fn fail(&self, offset: u32) -> impl Fn(gimli::Error) -> DebugInfoError + use<> {
        dwarf_error(offset)
    }

    /// An offset within the unit as an offset in `.debug_info`.
    pub(crate) fn global(&self, offset: gimli::UnitOffset) -> u32 {
        self.slot.offset.saturating_add(offset.0 as u32)
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

    fn head(&self, code: CodeSection) -> Result<UnitHead, DebugInfoError> {
        let fail = self.fail(self.slot.offset);
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
