//! Owns which variables exist at a pc, per frame, and which statics a unit has.
//! Never evaluates where they are: that is `location`.

use std::sync::Arc;

use gimli::DebuggingInformationEntry;

use super::variable::{Variable, VariableKind};
use crate::debug_info::DebugInfo;
use crate::demangle::{can_be_called, path_parts};
use crate::dwarf::entries::{Named, file_index};
use crate::dwarf::sections::Entry;
use crate::dwarf::unit::OpenUnit;
use crate::error::DebugInfoError;
use crate::ids::{InstanceId, TypeId};
use crate::lines::position::Position;
use crate::symbols::Symbols;
use wasmdbg_code_address::ModulePc;

impl Symbols {
    /// The variables of one frame at a pc: arguments in order, then locals, outer blocks first. Includes
    /// those that the compiler kept no value of: the user wrote them.
    ///
    /// # Errors
    /// When the function's debug info is broken.
    pub fn variables(&self, instance: InstanceId, pc: ModulePc) -> Result<Vec<Variable>, DebugInfoError> {
        let Some(info) = &self.info else { return Ok(Vec::new()) };
        if !info.has_entries() {
            return Ok(self.named_locals(instance, pc));
        }
        let open = info.open(instance.unit)?;
        let Some(node) = info.functions(instance.unit)?.nodes.get(instance.node as usize) else {
            return Ok(Vec::new());
        };
        let mut out = Vec::new();
        let mut seen = Origins::default();
        let start = open.local(node.entry)?;
        let mut entries = open.unit.entries_raw(Some(start)).map_err(open.fail(node.entry))?;
        let mut entry = DebuggingInformationEntry::null();
        let mut blocks = 0;
        // Entries deeper than this belong to something else: inlined calls, types, blocks elsewhere.
        let mut skip_below: Option<isize> = None;
        let mut open_blocks: Vec<isize> = Vec::new();
        let mut first = true;
        while !entries.is_empty() {
            let offset = open.global(entries.next_offset());
            let depth = entries.next_depth();
            if depth <= 0 && !first {
                break;
            }
            if !entries.read_entry(&mut entry).map_err(open.fail(offset))? || std::mem::take(&mut first) {
                continue;
            }
            if skip_below.is_some_and(|limit| depth > limit) {
                continue;
            }
            skip_below = None;
            while open_blocks.last().is_some_and(|block| *block >= depth) {
                open_blocks.pop();
                blocks -= 1;
            }
            match entry.tag() {
                gimli::DW_TAG_formal_parameter => {
                    seen.note(&open, &entry, true);
                    out.extend(variable(info, &open, &entry, VariableKind::Argument, blocks, instance)?);
                }
                gimli::DW_TAG_variable => {
                    seen.note(&open, &entry, true);
                    out.extend(variable(info, &open, &entry, VariableKind::Local, blocks, instance)?);
                }
                gimli::DW_TAG_lexical_block => {
                    let covered = covers(info, &open, &entry, pc)?;
                    seen.note(&open, &entry, covered);
                    if covered {
                        open_blocks.push(depth);
                        blocks += 1;
                    } else {
                        skip_below = Some(depth);
                    }
                }
                _ => skip_below = Some(depth),
            }
        }
        if node.origin != node.entry {
            out.extend(self.dropped(info, instance, node.origin, pc, &seen)?);
        }
        out.sort_by_key(|v| (v.kind != VariableKind::Argument, v.depth));
        Ok(out)
    }

    /// The type that a function returns (DW_AT_type of its subprogram); `None`: nothing, or nothing known.
    ///
    /// # Errors
    /// When the function's debug info is broken.
    pub fn return_type(&self, instance: InstanceId) -> Result<Option<TypeId>, DebugInfoError> {
        let Some(info) = self.info.as_ref().filter(|info| info.has_entries()) else { return Ok(None) };
        let open = info.open(instance.unit)?;
        let Some(node) = info.functions(instance.unit)?.nodes.get(instance.node as usize) else {
            return Ok(None);
        };
        let entry = open.unit.entry(open.local(node.entry)?).map_err(open.fail(node.entry))?;
        describe(info, &open, &entry).map(|described| described.ty)
    }

    /// The variables of a function that the optimiser left out of this copy of it: only the function's
    /// abstract instance (DWARF 5, 3.3.8.1) still has them. Without a block in this copy nothing says
    /// where they are in scope; those declared by the frame's line are taken.
    fn dropped(
        &self,
        info: &DebugInfo,
        instance: InstanceId,
        origin: u32,
        pc: ModulePc,
        seen: &Origins,
    ) -> Result<Vec<Variable>, DebugInfoError> {
        let Some(unit) = info.unit_of(origin) else { return Ok(Vec::new()) };
        let frames = self.frames(pc);
        let here = frames.into_iter().find(|frame| frame.instance == Some(instance)).and_then(|f| f.position);
        let open = info.open(unit)?;
        let start = open.local(origin)?;
        let mut entries = open.unit.entries_raw(Some(start)).map_err(open.fail(origin))?;
        let mut entry = DebuggingInformationEntry::null();
        let mut skip_below: Option<isize> = None;
        let mut first = true;
        let mut out = Vec::new();
        while !entries.is_empty() {
            let offset = open.global(entries.next_offset());
            let depth = entries.next_depth();
            if depth <= 0 && !first {
                break;
            }
            if !entries.read_entry(&mut entry).map_err(open.fail(offset))? || std::mem::take(&mut first) {
                continue;
            }
            if skip_below.is_some_and(|limit| depth > limit) {
                continue;
            }
            skip_below = None;
            let (known, nested) = (seen.covered(offset), (depth - 1).max(0) as u32);
            let kind = match entry.tag() {
                gimli::DW_TAG_formal_parameter => VariableKind::Argument,
                gimli::DW_TAG_variable => VariableKind::Local,
                gimli::DW_TAG_lexical_block if known != Some(false) => continue,
                _ => {
                    skip_below = Some(depth);
                    continue;
                }
            };
            if known.is_none() {
                let found = variable(info, &open, &entry, kind, nested, instance)?;
                let in_scope = |v: &Variable| here.as_ref().is_none_or(|here| v.declared_by(here));
                out.extend(found.filter(in_scope));
            }
        }
        Ok(out)
    }

    /// The statics of the unit that holds `pc`, by name.
    ///
    /// # Errors
    /// When the unit's debug info is broken.
    pub fn statics(&self, pc: ModulePc) -> Result<Vec<Variable>, DebugInfoError> {
        let described = self.info.as_ref().filter(|info| info.has_entries());
        let Some((info, unit)) = described.and_then(|info| Some((info, info.unit_at(pc)?))) else {
            return Ok(Vec::new());
        };
        let open = info.open(unit)?;
        let mut out = Vec::new();
        for named in &info.entries(unit)?.statics {
            out.extend(static_variable(info, &open, named)?);
        }
        out.sort_by(|a, b| a.full_name.cmp(&b.full_name));
        Ok(out)
    }

    /// The statics in all units whose name or end of path is `name` (`COUNTER`, `stats::COUNTER`); those
    /// of the unit at `near` first.
    #[must_use]
    pub fn find_statics(&self, name: &str, near: Option<ModulePc>) -> Vec<Variable> {
        let Some(info) = &self.info else { return Vec::new() };
        let near = near.and_then(|pc| info.unit_at(pc));
        let others = (0..info.units.len() as u32).filter(|unit| Some(*unit) != near);
        let mut out = Vec::new();
        for unit in near.into_iter().chain(others) {
            let (Ok(entries), Ok(open)) = (info.entries(unit), info.open(unit)) else { continue };
            for named in &entries.statics {
                // A definition of a declared static has no name of its own: read it to know.
                let plain = named.name.map(|text| info.str(text));
                if plain.is_some_and(|plain| path_parts(name).last() != Some(&plain)) {
                    continue;
                }
                if let Ok(Some(found)) = static_variable(info, &open, named)
                    && can_be_called(&found.full_name, name)
                {
                    out.push(found);
                }
            }
        }
        out
    }
}

/// The entries of an abstract instance that a copy of it has, and whether they count at the pc.
#[derive(Default)]
struct Origins(Vec<(u32, bool)>);

impl Origins {
    fn note<'a>(&mut self, open: &OpenUnit<'a>, entry: &Entry<'a>, covered: bool) {
        let origin = entry.attr_value(gimli::DW_AT_abstract_origin).and_then(|value| open.reference(value));
        self.0.extend(origin.map(|origin| (origin, covered)));
    }

    /// `None` for what the copy does not have. A block that optimising split counts when a part does.
    fn covered(&self, origin: u32) -> Option<bool> {
        let found = self.0.iter().filter(|(known, _)| *known == origin);
        found.map(|(_, covered)| *covered).reduce(|one, other| one || other)
    }
}

/// Whether a lexical block's code holds `pc`. A block without addresses holds whatever its parent does.
fn covers<'a>(
    info: &DebugInfo,
    open: &OpenUnit<'a>,
    entry: &Entry<'a>,
    pc: ModulePc,
) -> Result<bool, DebugInfoError> {
    if !entry.has_attr(gimli::DW_AT_low_pc) && !entry.has_attr(gimli::DW_AT_ranges) {
        return Ok(true);
    }
    let fail = open.fail(open.global(entry.offset()));
    let mut ranges = open.refs().die_ranges(entry).map_err(&fail)?;
    while let Some(range) = ranges.next().map_err(&fail)? {
        if info.sections.code.module_range(range.begin..range.end).is_some_and(|range| range.contains(pc)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What an entry and its origins say about a variable.
#[derive(Default)]
struct Described {
    name: Option<Arc<str>>,
    ty: Option<TypeId>,
    declared: Option<Position>,
    artificial: bool,
    /// Unit and entry of the last origin, which has the name and stands in the scope that qualifies it.
    home: Option<(u32, u32)>,
}

/// A variable's chain: concrete entry, abstract origin, specification.
const MAX_ORIGINS: usize = 8;

fn describe<'a>(
    info: &'a DebugInfo,
    open: &OpenUnit<'a>,
    entry: &Entry<'a>,
) -> Result<Described, DebugInfoError> {
    let mut out = Described::default();
    let mut origin = add(&mut out, info, open, entry);
    for _ in 0..MAX_ORIGINS {
        let Some(offset) = origin else { break };
        let unit = info
            .unit_of(offset)
            .ok_or_else(|| DebugInfoError::dwarf(offset, "a variable's origin is in no unit"))?;
        let elsewhere;
        let home = if unit == open.index {
            open
        } else {
            elsewhere = info.open(unit)?;
            &elsewhere
        };
        let entry = home.unit.entry(home.local(offset)?).map_err(home.fail(offset))?;
        origin = add(&mut out, info, home, &entry);
    }
    Ok(out)
}

/// Adds what one entry says; gives the entry that says more.
fn add<'a>(out: &mut Described, info: &DebugInfo, open: &OpenUnit<'a>, entry: &Entry<'a>) -> Option<u32> {
    let refs = open.refs();
    let mut origin = None;
    let (mut file, mut line, mut column) = (0, 0, 0);
    for attribute in entry.attrs() {
        let number = || attribute.udata_value().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        match attribute.name() {
            gimli::DW_AT_name if out.name.is_none() => {
                out.name = refs.attr_string(attribute.value()).ok().map(|s| s.to_string_lossy().into());
            }
            gimli::DW_AT_type if out.ty.is_none() => out.ty = info.type_reference(open, attribute.value()),
            gimli::DW_AT_artificial => out.artificial = true,
            gimli::DW_AT_decl_file => file = file_index(attribute),
            gimli::DW_AT_decl_line => line = number(),
            gimli::DW_AT_decl_column => column = number(),
            gimli::DW_AT_abstract_origin | gimli::DW_AT_specification => {
                origin = open.reference(attribute.value());
            }
            _ => {}
        }
    }
    if out.declared.is_none() && line != 0 {
        out.declared = info.file(open.index, file).map(|path| Position { path: path.clone(), line, column });
    }
    out.home = Some((open.index, open.global(entry.offset())));
    origin
}

fn variable<'a>(
    info: &'a DebugInfo,
    open: &OpenUnit<'a>,
    entry: &Entry<'a>,
    kind: VariableKind,
    depth: u32,
    instance: InstanceId,
) -> Result<Option<Variable>, DebugInfoError> {
    // `extern int x;` within a function: the definition is elsewhere.
    if entry.has_attr(gimli::DW_AT_declaration) {
        return Ok(None);
    }
    let described = describe(info, open, entry)?;
    // Nameless parameters cannot be asked for; the compiler's own (artificial) have names.
    let Some(name) = described.name else { return Ok(None) };
    Ok(Some(Variable {
        full_name: name.clone(),
        name,
        kind,
        ty: described.ty,
        declared: described.declared,
        depth,
        artificial: described.artificial,
        entry: open.global(entry.offset()),
        instance: Some(instance),
    }))
}

fn static_variable<'a>(
    info: &'a DebugInfo,
    open: &OpenUnit<'a>,
    named: &Named,
) -> Result<Option<Variable>, DebugInfoError> {
    let entry = open.unit.entry(open.local(named.entry)?).map_err(open.fail(named.entry))?;
    if !entry.has_attr(gimli::DW_AT_location) && !entry.has_attr(gimli::DW_AT_const_value) {
        return Ok(None);
    }
    let described = describe(info, open, &entry)?;
    let (Some(name), Some((unit, home))) = (described.name, described.home) else { return Ok(None) };
    let scopes = info.entries(unit)?;
    let full_name = scopes.qualified(&info.sections, scopes.scope_of(home), &name).into();
    Ok(Some(Variable {
        name,
        full_name,
        kind: VariableKind::Static,
        ty: described.ty,
        declared: described.declared,
        depth: 0,
        artificial: described.artificial,
        entry: named.entry,
        instance: None,
    }))
}
