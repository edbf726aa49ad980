//! Owns the runtime's own table of a Go module (`runtime.pclntab`, Go 1.20 and later), which the linker
//! puts into a data segment and which stripping leaves: functions, files, lines, inlined calls. Go for Wasm
//! has no DWARF that knows Wasm pcs.
//!
//! The table knows blocks, not instructions. A Go pc is a function's number and the number of a block in it
//! (`PC_F << 16 | PC_B`), and a block has one line: that of its last instruction. What Wasm code belongs to
//! which block is read off the code itself:
//!
//! ```text
//! block block … block           one for each resume point, and one
//!   local.get $PC_B
//!   br_table 0 0 1 2 …          which resume point a PC_B leads to
//! end                           here PC_B = 0 begins
//!   …
//!   i64.const PC_F<<16|3        the call returns to PC_B 3: it is made in PC_B 2
//!   i64.store
//!   call
//! end                           here PC_B = 3 begins
//! ```
//!
//! So the line of a call is exact, and so are the lines of all callers. Other code has the line where
//! its block ends, and is marked as approximate.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use wasmparser::Operator;

use crate::error::DebugInfoError;
use crate::functions::name::FunctionName;
use crate::functions::tree::{FunctionTree, NONE};
use crate::language::Language;
use crate::lines::table::{LineTable, Row};
use crate::module::{Function, Module};
use crate::without_dwarf::line_info::LineInfo;
use wasmdbg_code_address::{ModulePc, PcRange};

const TABLE: &str = "runtime.pclntab";

/// The header's first bytes: Go 1.20's magic, two zeros, steps of 1, pointers of 8 bytes.
const MAGIC: [u8; 8] = [0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8];

/// PC_F of the first function that is not imported.
const FIRST_FUNCTION: u32 = 0x1000;

/// Index of the table that says which inlined call a pc is in, and of that calls' tree.
const INLINED_AT: u32 = 2;
const INLINED_CALLS: u32 = 3;

/// The table in a module's memory image.
#[derive(Clone, Copy)]
struct Table<'m> {
    memory: &'m [u8],
    /// Address of the header.
    start: u32,
    names: u32,
    units: u32,
    files: u32,
    values: u32,
    functions: u32,
    count: u32,
    /// Address of what functions' other data is relative to, if it is known.
    extra: Option<u32>,
}

/// Values by PC_B: each counts up to (and without) its end.
type Values = Vec<(u32, i32)>;

/// One function of the table.
struct Described {
    name: u32,
    first_line: u32,
    /// Index of its compilation unit's first file.
    unit: u32,
    files: Values,
    lines: Values,
    inlined_at: Values,
    /// Where its inlined calls are in the functions' further data.
    inlined: Option<u32>,
    /// One past its last PC_B.
    end: u32,
}

/// An inlined call.
struct InlinedCall {
    name: u32,
    /// PC_B in the function at which the caller calls.
    parent_pc: u32,
}

/// Code that belongs to one PC_B.
struct Unit {
    range: PcRange,
    block: u32,
    /// Where the block's call is.
    call: Option<ModulePc>,
}

/// Reads the table of a module; `None` when it has none.
pub(crate) fn read(module: &Module) -> Option<Result<LineInfo, DebugInfoError>> {
    let memory = module.initial_memory();
    let start = memory.chunks_exact(8).position(|chunk| chunk == MAGIC)? * 8;
    let table = Table::open(&memory, start as u32);
    Some(table.and_then(|table| table.line_info(module)).ok_or_else(|| DebugInfoError {
        section: TABLE,
        offset: 0,
        reason: "it is cut off or of a version that is not known".into(),
    }))
}

fn value_at(values: &Values, block: u32) -> Option<i32> {
    let at = values.partition_point(|(end, _)| *end <= block);
    values.get(at).map(|(_, value)| *value)
}

impl<'m> Table<'m> {
    fn open(memory: &'m [u8], start: u32) -> Option<Table<'m>> {
        let mut table = Table {
            memory,
            start,
            names: 0,
            units: 0,
            files: 0,
            values: 0,
            functions: 0,
            count: 0,
            extra: None,
        };
        table.count = table.u32(start.checked_add(8)?)?;
        let part = |at: u32| start.checked_add(table.u32(start.checked_add(at)?)?);
        let parts = [part(32)?, part(40)?, part(48)?, part(56)?, part(64)?];
        [table.names, table.units, table.files, table.values, table.functions] = parts;
        Some(table)
    }

    fn u32(&self, at: u32) -> Option<u32> {
        let bytes = self.memory.get(at as usize..at as usize + 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn text(&self, at: u32) -> Option<&'m str> {
        let bytes = self.memory.get(at as usize..)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&bytes[..end]).ok()
    }

    fn varint(&self, at: &mut u32) -> Option<u32> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = *self.memory.get(*at as usize)?;
            *at = at.checked_add(1)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A table of values by PC_B: pairs of differences, the value's first, up to a value's difference of 0.
    /// `left` counts how many values may still be read.
    fn read_values(&self, offset: u32, left: &mut usize) -> Option<Values> {
        let mut values = Values::new();
        if offset == 0 {
            return Some(values);
        }
        let mut at = self.values.checked_add(offset)?;
        let (mut value, mut block) = (-1_i32, 0_u32);
        loop {
            let difference = self.varint(&mut at)?;
            if difference == 0 && !values.is_empty() {
                return Some(values);
            }
            let signed = (difference >> 1).cast_signed() ^ -((difference & 1).cast_signed());
            value = value.checked_add(signed)?;
            block = block.checked_add(self.varint(&mut at)?)?;
            *left = left.checked_sub(1)?;
            values.push((block, value));
        }
    }

    /// The functions by their number among those that are not imported.
    fn described(&self) -> Option<BTreeMap<u32, Described>> {
        let entry = |at: u32| self.functions.checked_add(at.checked_mul(8)?);
        let mut numbers = Vec::new();
        for at in 0..self.count {
            let at = entry(at)?;
            numbers.push((self.u32(at)?, self.functions.checked_add(self.u32(at.checked_add(4)?)?)?));
        }
        // Older linkers count blocks here, later ones functions; from 0 or from the first function's PC_F.
        let by_block = numbers.iter().all(|(number, _)| number % 0x1_0000 == 0);
        let number = |number: u32| if by_block { number >> 16 } else { number };
        let first = number(numbers.iter().map(|(number, _)| *number).min()?);
        // Functions share values, but not so many that this is little: a broken table must end too.
        let mut left = self.memory.len();
        let mut described = |(at, entry)| Some((number(at) - first, self.function(entry, &mut left)?));
        numbers.into_iter().map(&mut described).collect()
    }

    fn function(&self, at: u32, left: &mut usize) -> Option<Described> {
        let field = |index: u32| self.u32(at.checked_add(4 * index)?);
        let further = field(7)?;
        let behind = |index: u32| field(11 + index);
        let funcdata = u32::from(*self.memory.get(at as usize + 43)?);
        let inlined_at = if further > INLINED_AT { behind(INLINED_AT)? } else { 0 };
        let tree = if funcdata > INLINED_CALLS { behind(further.checked_add(INLINED_CALLS)?)? } else { NONE };
        let lines = self.read_values(field(6)?, left)?;
        Some(Described {
            name: self.names.checked_add(field(1)?)?,
            unit: field(8)?,
            first_line: field(9)?,
            files: self.read_values(field(5)?, left)?,
            inlined_at: self.read_values(inlined_at, left)?,
            inlined: Some(tree).filter(|tree| *tree != NONE),
            end: lines.last().map_or(0, |(end, _)| *end),
            lines,
        })
    }

    fn inlined_call(&self, function: &Described, index: u32) -> Option<InlinedCall> {
        let at = self.extra?.checked_add(function.inlined?)?.checked_add(index.checked_mul(16)?)?;
        let name = self.names.checked_add(self.u32(at.checked_add(4)?)?)?;
        let (parent_pc, first_line) = (self.u32(at.checked_add(8)?)?, self.u32(at.checked_add(12)?)?);
        let begins_name = self.memory.get(name as usize).is_some_and(|byte| *byte != 0)
            && self.memory.get(name.checked_sub(1)? as usize) == Some(&0);
        let fits = name < self.units && begins_name && parent_pc < function.end && first_line > 0;
        fits.then_some(InlinedCall { name, parent_pc })
    }

    /// The address of the functions' further data. `runtime.firstmoduledata` has it, which begins with
    /// pointers to the table and its names; behind them its fields differ by version, so it is the field by
    /// which functions have inlined calls that make sense.
    fn find_extra(&self, described: &BTreeMap<u32, Described>) -> Option<u32> {
        let mut begin = u64::from(self.start).to_le_bytes().to_vec();
        begin.extend(u64::from(self.names).to_le_bytes());
        let mut words = self.memory.chunks_exact(8).zip(self.memory.get(8..)?.chunks_exact(8));
        let data = words.position(|(one, other)| one == &begin[..8] && other == &begin[8..])? * 8;
        let inlining =
            |described: &&Described| described.inlined.is_some() && !described.inlined_at.is_empty();
        let probes: Vec<&Described> = described.values().filter(inlining).take(PROBES).collect();
        let fields = self.memory.get(data..)?.chunks_exact(8).take(MODULE_DATA);
        let fits = |table: &Table<'_>| {
            let last = |probe: &Described| probe.inlined_at.iter().map(|(_, index)| *index).max();
            let makes_sense = |probe: &&Described| {
                let last = last(probe).and_then(|index| u32::try_from(index).ok());
                last.is_none_or(|index| table.inlined_call(probe, index).is_some())
            };
            probes.iter().all(makes_sense)
        };
        fields
            .filter_map(|field| u32::try_from(u64::from_le_bytes(field.try_into().ok()?)).ok())
            .find(|extra| *extra != 0 && fits(&Table { extra: Some(*extra), ..*self }))
    }
}

/// How many functions must agree on where their further data is.
const PROBES: usize = 200;

/// How many words of `runtime.firstmoduledata` are looked at.
const MODULE_DATA: usize = 96;

/// What is made of the table, for all functions.
#[derive(Default)]
struct Out {
    /// Numbers of files, by the address of their names.
    files: HashMap<u32, u32>,
    paths: Vec<Arc<str>>,
    rows: Vec<Row>,
    functions: FunctionTree,
    names: HashMap<u32, FunctionName>,
}

impl Table<'_> {
    fn line_info(mut self, module: &Module) -> Option<LineInfo> {
        let described = self.described()?;
        self.extra = self.find_extra(&described);
        let mut out = Out::default();
        for (number, described) in &described {
            let Some(function) = module.function(module.imported_functions().checked_add(*number)?) else {
                continue;
            };
            let last = described.end.saturating_sub(1);
            let parts = parts(module, function, FIRST_FUNCTION.checked_add(*number)?, last);
            let units = units(&parts, function.body.end);
            self.function_rows(&mut out, function, described, &units);
            self.function_nodes(&mut out, function, described, &units);
        }
        if out.rows.is_empty() {
            return None;
        }
        Some(LineInfo {
            name: TABLE.into(),
            language: Language::Go,
            files: out.paths,
            lines: LineTable::new(out.rows),
            functions: out.functions,
            names: out.names,
            texts: HashMap::new(),
        })
    }

    /// File and line of a PC_B; `None` in code that the compiler made up.
    fn position(&self, out: &mut Out, described: &Described, block: u32) -> Option<(u32, u32)> {
        let line = u32::try_from(value_at(&described.lines, block)?).ok().filter(|line| *line > 0)?;
        let file = u32::try_from(value_at(&described.files, block)?).ok()?;
        let entry = described.unit.checked_add(file)?.checked_mul(4)?;
        let name = self.files.checked_add(self.u32(self.units.checked_add(entry)?)?)?;
        if let Some(known) = out.files.get(&name) {
            return Some((*known, line));
        }
        let path = self.text(name).filter(|path| !path.starts_with('<'))?;
        let number = out.paths.len() as u32;
        out.paths.push(path.into());
        out.files.insert(name, number);
        Some((number, line))
    }

    fn function_rows(&self, out: &mut Out, function: &Function, described: &Described, units: &[Unit]) {
        let before = out.rows.len();
        // The way to the first block, which each jump takes, is the function's own line.
        if units.first().is_some_and(|first| first.range.start > function.first_instruction)
            && let Some((file, _)) = self.position(out, described, 0)
        {
            out.rows.push(Row::new(function.first_instruction, file, described.first_line, 0).approximate());
        }
        let mut opened = false;
        for unit in units {
            let Some((file, line)) = self.position(out, described, unit.block) else { continue };
            let row = |pc| Row::new(pc, file, line, 0).statement();
            let in_front = unit.call != Some(unit.range.start);
            if in_front {
                let row = row(unit.range.start).approximate();
                out.rows.push(if opened { row } else { row.prologue_end() });
            }
            if let Some(call) = unit.call {
                let row = row(call);
                out.rows.push(if opened || in_front { row } else { row.prologue_end() });
            }
            opened = true;
        }
        if out.rows.len() > before {
            out.rows.push(Row::end(function.body.end));
        }
    }

    /// The function and what is inlined into it.
    fn function_nodes(&self, out: &mut Out, function: &Function, described: &Described, units: &[Unit]) {
        let name = self.name(out, described.name);
        let root = out.functions.add(name, NONE, &[function.body], (0, 0, 0));
        let with_chain = |unit| Chained { unit, chain: self.chain(described, unit.block) };
        let chained: Vec<Chained<'_>> = units.iter().map(with_chain).collect();
        self.inlined_nodes(out, described, &chained.iter().collect::<Vec<_>>(), 0, root);
    }

    /// The inlined calls of `parent`, which `depth` calls are around, each followed by those in it.
    fn inlined_nodes(
        &self,
        out: &mut Out,
        described: &Described,
        units: &[&Chained<'_>],
        depth: usize,
        parent: u32,
    ) {
        let mut groups: BTreeMap<u32, Vec<&Chained<'_>>> = BTreeMap::new();
        for unit in units {
            if let Some(index) = unit.chain.get(depth) {
                groups.entry(*index).or_default().push(unit);
            }
        }
        for (index, units) in groups {
            let Some(call) = self.inlined_call(described, index) else { continue };
            let name = self.name(out, call.name);
            let position = self.position(out, described, call.parent_pc);
            let (file, line) = position.unwrap_or((0, 0));
            let ranges: Vec<PcRange> = units.iter().map(|chained| chained.unit.range).collect();
            let node = out.functions.add(name, parent, &ranges, (file, line, 0));
            self.inlined_nodes(out, described, &units, depth + 1, node);
        }
    }

    /// The inlined calls that a PC_B is in, outermost first.
    fn chain(&self, described: &Described, block: u32) -> Vec<u32> {
        let innermost = |block| u32::try_from(value_at(&described.inlined_at, block)?).ok();
        let mut chain = Vec::new();
        let mut at = innermost(block);
        // Broken trees may be circles.
        while let Some(index) = at.filter(|index| chain.len() < MAX_DEPTH && !chain.contains(index)) {
            let Some(call) = self.inlined_call(described, index) else { break };
            chain.push(index);
            at = innermost(call.parent_pc);
        }
        chain.reverse();
        chain
    }

    /// The number of a function's name.
    fn name(&self, out: &mut Out, at: u32) -> u32 {
        let Some(text) = self.text(at).filter(|text| !text.is_empty()) else { return NONE };
        out.names.entry(at).or_insert_with(|| FunctionName::new(text));
        at
    }
}

/// How deep inlined calls may nest.
const MAX_DEPTH: usize = 256;

/// A unit with the inlined calls around it.
struct Chained<'u> {
    unit: &'u Unit,
    chain: Vec<u32>,
}

/// A part of a function's code between two resume points.
struct Part {
    start: ModulePc,
    blocks: RangeInclusive<u32>,
    /// Its calls, each with the opcode behind it and the block that it is made in.
    calls: Vec<(ModulePc, ModulePc, u32)>,
}

/// The parts of a function's code. `pc_f` is the function's number in Go pcs, `last` its last block.
fn parts(module: &Module, function: &Function, pc_f: u32, last: u32) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut depth = 0_u32;
    // Up to the first opcode of another kind the code is the way to the resume points.
    let mut on_the_way = true;
    // The resume points' blocks, and at which depth the next one ends.
    let mut resume = Vec::new().into_iter();
    let mut next_end = None;
    // A part that begins with the next opcode, how deep it is, and a call in it.
    let mut begins = Some(0..=last);
    let mut base = 0;
    let mut call: Option<(ModulePc, u32)> = None;
    let mut returns_to = None;
    module.instructions(function, |pc, operator| {
        // What follows a call begins where both ways come together again: growing the stack is conditional.
        if (begins.is_some() || depth <= base)
            && let (Some((at, block)), Some(part)) = (call.take(), parts.last_mut())
        {
            part.calls.push((at, pc, block));
        }
        if begins.is_some() {
            base = depth;
        }
        parts.extend(begins.take().map(|blocks| Part { start: pc, blocks, calls: Vec::new() }));
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => depth += 1,
            Operator::BrTable { targets } if on_the_way => {
                let indexes: Vec<u32> =
                    targets.targets().map_while(Result::ok).chain([targets.default()]).collect();
                resume = resume_points(&indexes, last).into_iter();
                next_end = Some(depth);
                parts.clear();
            }
            Operator::End => {
                if next_end == Some(depth) {
                    begins = resume.next();
                    next_end = begins.is_some().then_some(depth.saturating_sub(1));
                }
                depth = depth.saturating_sub(1);
            }
            Operator::I64Const { value } if *value >> 16 == i64::from(pc_f) => {
                returns_to = Some((*value & 0xffff) as u32);
            }
            Operator::Call { .. } | Operator::CallIndirect { .. } => {
                // A call is made in the block before the one it returns to; the one that grows the stack
                // comes back to where it was.
                let within = parts.last().map_or(0..=last, |part| part.blocks.clone());
                call = returns_to
                    .take()
                    .map(|to: u32| (pc, to.saturating_sub(1).clamp(*within.start(), *within.end())));
            }
            _ => {}
        }
        on_the_way &= matches!(
            operator,
            Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::GlobalGet { .. }
                | Operator::LocalSet { .. }
                | Operator::LocalGet { .. }
        );
        true
    });
    parts
}

/// The blocks that belong to each resume point, by the indexes of the `br_table`: one for each block, and the
/// last for all further ones.
fn resume_points(indexes: &[u32], last: u32) -> Vec<RangeInclusive<u32>> {
    let mut points: Vec<RangeInclusive<u32>> = Vec::new();
    for (block, index) in (0..).zip(indexes) {
        if points.len() == *index as usize {
            points.push(block..=block);
        } else if let Some(point) = points.last_mut() {
            *point = *point.start()..=block;
        }
    }
    if let Some(point) = points.last_mut() {
        *point = *point.start()..=last.max(*point.start());
    }
    points
}

/// The code of each block, as far as it can be told: up to and with a call it is that of the call's block, behind
/// the last call of a part that of the part's last block.
fn units(parts: &[Part], end: ModulePc) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let part_end = parts.get(at + 1).map_or(end, |next| next.start);
        let mut start = part.start;
        for (call, behind, block) in &part.calls {
            units.push(Unit { range: PcRange { start, end: *behind }, block: *block, call: Some(*call) });
            start = *behind;
        }
        let last = *part.blocks.end();
        match units.last_mut().filter(|unit| unit.range.start >= part.start) {
            Some(unit) if unit.block == last => unit.range.end = part_end,
            _ if start < part_end => {
                units.push(Unit { range: PcRange { start, end: part_end }, block: last, call: None })
            }
            _ => {}
        }
    }
    units
}
