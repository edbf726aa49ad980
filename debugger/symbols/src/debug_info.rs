//! Owns the list of units and what was read of each: lines, files, functions and entries, each at the first question
//! that needs it. Gives out opened units; broken ones are error values. Units that were read from something else
//! than DWARF (`without_dwarf`) are here too, and cannot be opened.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::dwarf::entries::UnitEntries;
use crate::dwarf::line_program;
use crate::dwarf::sections::{Extent, Sections, Text};
use crate::dwarf::unit::{Abbreviations, OpenUnit, UnitHead};
use crate::error::DebugInfoError;
use crate::functions::tree::FunctionTree;
use crate::language::Language;
use crate::lines::paths::Paths;
use crate::lines::table::LineTable;
use crate::module::Module;
use wasmdbg_code_address::{CodeSection, ModulePc, PcRange};

/// The debug info of a module.
#[derive(Debug)]
pub(crate) struct DebugInfo {
    pub(crate) sections: Sections,
    pub(crate) units: Vec<UnitSlot>,
    ranges: OnceLock<Vec<UnitRange>>,
    paths: Paths,
    /// Types of DWARF 5 type units, by signature.
    signatures: OnceLock<HashMap<u64, u32>>,
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
    pub(crate) extent: Extent,
    pub(crate) version: u16,
    abbreviations: OnceLock<Result<Abbreviations, DebugInfoError>>,
    head: OnceLock<Result<UnitHead, DebugInfoError>>,
    files: OnceLock<Vec<Arc<str>>>,
    lines: OnceLock<Result<LineTable, DebugInfoError>>,
    entries: OnceLock<Result<UnitEntries, DebugInfoError>>,
}

impl DebugInfo {
    /// The debug info in `module`'s custom sections; `None` without `.debug_info`.
    pub(crate) fn load(module: &Module) -> Option<DebugInfo> {
        if !module.has_dwarf() {
            return None;
        }
        let sections = Sections::of(module);
        let unit = |(extent, version)| match version {
            Ok(version) => UnitSlot::new(extent, version),
            Err(error) => UnitSlot { extent, ..UnitSlot::broken(error) },
        };
        let units = sections.headers().into_iter().map(unit).collect();
        Some(DebugInfo::new(sections, units))
    }

    /// Debug info that is one unit without DWARF.
    pub(crate) fn of_unit(module: &Module, unit: UnitSlot) -> DebugInfo {
        DebugInfo::new(Sections::none(module), vec![unit])
    }

    fn new(sections: Sections, units: Vec<UnitSlot>) -> DebugInfo {
        DebugInfo {
            sections,
            units,
            ranges: OnceLock::new(),
            paths: Paths::default(),
            signatures: OnceLock::new(),
            texts: HashMap::new(),
        }
    }

    /// Whether there is DWARF, and so entries of variables and types, and not lines and functions alone.
    pub(crate) fn has_entries(&self) -> bool {
        !self.sections.is_empty()
    }

    /// The same debug info for a copy of the module in which the code section lies elsewhere.
    pub(crate) fn for_code(mut self, code: CodeSection) -> DebugInfo {
        self.sections.code = code;
        self
    }

    pub(crate) fn slot(&self, index: u32) -> Result<&UnitSlot, DebugInfoError> {
        let fault = || DebugInfoError::dwarf(0, "no such unit: the id is of another module");
        self.units.get(index as usize).ok_or_else(fault)
    }

    pub(crate) fn open(&self, index: u32) -> Result<OpenUnit<'_>, DebugInfoError> {
        let slot = self.slot(index)?;
        OpenUnit::open(&self.sections, slot.extent, index, &slot.abbreviations)
    }

    pub(crate) fn lines(&self, unit: u32) -> Result<&LineTable, DebugInfoError> {
        let read = || line_program::rows(self.sections.code, &self.open(unit)?);
        self.slot(unit)?.lines.get_or_init(read).as_ref().map_err(Clone::clone)
    }

    /// The unit's file names; empty when they cannot be read.
    pub(crate) fn files(&self, unit: u32) -> &[Arc<str>] {
        let Ok(slot) = self.slot(unit) else { return &[] };
        let names = || self.open(unit).map_or_else(|_| Vec::new(), |open| line_program::file_names(&open));
        slot.files.get_or_init(|| names().into_iter().map(|path| self.paths.intern(path)).collect())
    }

    pub(crate) fn file(&self, unit: u32, file: u32) -> Option<&Arc<str>> {
        self.files(unit).get(file as usize).filter(|path| !path.is_empty())
    }

    pub(crate) fn entries(&self, unit: u32) -> Result<&UnitEntries, DebugInfoError> {
        let read = || UnitEntries::read(&self.sections, &self.open(unit)?);
        self.slot(unit)?.entries.get_or_init(read).as_ref().map_err(Clone::clone)
    }

    /// The unit's functions and what is inlined into them.
    pub(crate) fn functions(&self, unit: u32) -> Result<&FunctionTree, DebugInfoError> {
        self.entries(unit).map(|entries| &entries.functions)
    }

    /// The string at a position.
    pub(crate) fn str(&self, text: Text) -> &str {
        self.sections.str(text)
    }

    /// The type (`.debug_info` offset) that a type unit with this signature defines.
    pub(crate) fn type_of_signature(&self, signature: u64) -> Option<u32> {
        self.signatures.get_or_init(|| self.type_units()).get(&signature).copied()
    }

    fn type_units(&self) -> HashMap<u64, u32> {
        let dwarf = self.sections.dwarf();
        let header = |slot: &UnitSlot| {
            let offset = gimli::DebugInfoOffset(slot.extent.start as usize);
            match dwarf.debug_info.header_from_offset(offset).ok()?.type_() {
                gimli::UnitType::Type { type_signature, type_offset } => {
                    Some((type_signature.0, slot.extent.start + type_offset.0 as u32))
                }
                _ => None,
            }
        };
        self.units.iter().filter_map(header).collect()
    }

    /// The unit whose entries include `.debug_info` offset `offset`.
    pub(crate) fn unit_of(&self, offset: u32) -> Option<u32> {
        let after = self.units.partition_point(|unit| unit.extent.start <= offset);
        let index = after.checked_sub(1)?;
        (offset < self.units[index].extent.end).then_some(index as u32)
    }

    pub(crate) fn head(&self, index: u32) -> Result<&UnitHead, DebugInfoError> {
        self.slot(index)?
            .head
            .get_or_init(|| self.open(index)?.head(self.sections.code))
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
                    if let Ok(functions) = self.functions(unit) {
                        functions.function_ranges().for_each(&mut add);
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
}

impl UnitSlot {
    fn new(extent: Extent, version: u16) -> UnitSlot {
        UnitSlot {
            extent,
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
        functions: FunctionTree,
    ) -> UnitSlot {
        UnitSlot {
            head: OnceLock::from(Ok(head)),
            files: OnceLock::from(files),
            lines: OnceLock::from(Ok(lines)),
            entries: OnceLock::from(Ok(UnitEntries { functions, ..UnitEntries::default() })),
            ..UnitSlot::new(Extent::default(), 0)
        }
    }

    /// A unit that cannot be read.
    pub(crate) fn broken(error: DebugInfoError) -> UnitSlot {
        UnitSlot { head: OnceLock::from(Err(error)), ..UnitSlot::new(Extent::default(), 0) }
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
