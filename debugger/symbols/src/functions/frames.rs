//! Owns functions: their names, instances, inlined copies, and the frames at a pc.
//! Never looks at variables or types.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use wasmparser::Operator;

use crate::debug_info::{DebugInfo, lock};
use crate::demangle::{can_be_called, demangle, path_parts, without_generics};
use crate::dwarf::entries::{NONE, Node};
use crate::error::LookupError;
use crate::ids::InstanceId;
use crate::language::Language;
use crate::lines::position::{BreakPlace, Position};
use crate::lines::table::Row;
use crate::module::{Function, Import, ImportKind};
use crate::symbols::Symbols;
use wasmdbg_code_address::{ModulePc, PcRange};

/// A function's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionName {
    /// Demangled, with its path: `rust_token::is_prime`, `<rust_token::Http as Context>::on_done`.
    pub full: Arc<str>,
    /// The last part: `is_prime`.
    pub short: Arc<str>,
}

/// What is known about an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Name of the function.
    pub name: FunctionName,
    /// Index of the Wasm function that holds it.
    pub function: u32,
    /// Its code.
    pub ranges: Vec<PcRange>,
    /// Its first instruction: DW_AT_entry_pc or the start of the first range.
    pub entry: ModulePc,
    /// The instance it is inlined into; `None` for a function body.
    pub caller: Option<InstanceId>,
    /// Where the caller calls it; only for inlined copies.
    pub call: Option<Position>,
    /// Where the function is declared.
    pub declared: Option<Position>,
    /// Its language.
    pub language: Language,
}

/// One frame as the source sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFrame {
    /// The instance, for variables and statements; `None` without DWARF.
    pub instance: Option<InstanceId>,
    /// Its function's name; `func[N]` when nothing names it.
    pub name: FunctionName,
    /// Where execution stands: for the innermost frame the pc's line, for those around it the call.
    pub position: Option<Position>,
    /// Whether `position` is only near: the debug info has no line of this very code.
    pub approximate: bool,
    /// Whether this frame is inlined into the next one.
    pub inlined: bool,
    /// Index of the Wasm function.
    pub function: u32,
    /// Its language.
    pub language: Language,
}

/// The places of a function name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionBinding {
    /// What was asked for.
    pub requested: String,
    /// All places, by rising pc; never empty: each instance behind its prologue, each inlined copy at
    /// its first statement.
    pub places: Vec<BreakPlace>,
}

impl Symbols {
    /// The frames at a pc, innermost first: inlined ones, then the function itself. Empty only when
    /// the pc is in no function body.
    #[must_use]
    pub fn frames(&self, pc: ModulePc) -> Vec<SourceFrame> {
        let Some(function) = self.module.function_at(pc).map(|f| f.index) else { return Vec::new() };
        self.dwarf_frames(pc, function).unwrap_or_else(|| {
            vec![SourceFrame {
                instance: None,
                name: self.plain_name(function),
                position: self.position(pc),
                approximate: false,
                inlined: false,
                function,
                language: Language::Other,
            }]
        })
    }

    fn dwarf_frames(&self, pc: ModulePc, function: u32) -> Option<Vec<SourceFrame>> {
        let info = self.info.as_ref()?;
        let unit = info.unit_at(pc)?;
        let entries = info.entries(unit).ok()?;
        let chain = entries.chain(pc);
        if chain.is_empty() {
            return None;
        }
        let language = info.language(unit);
        let mut position = self.position(pc);
        let row = info.lines(unit).ok().and_then(|table| table.rows().get(table.row_at(pc)?));
        let approximate = row.is_some_and(Row::is_approximate);
        let mut frames = Vec::with_capacity(chain.len());
        for node in chain.iter().rev() {
            let found = &entries.nodes[*node as usize];
            let inlined = found.parent != NONE;
            let call = inlined.then(|| call_position(info, unit, found)).flatten();
            frames.push(SourceFrame {
                instance: Some(InstanceId { unit, node: *node }),
                name: info.function_name(found.origin).unwrap_or_else(|| self.plain_name(function)),
                position: std::mem::replace(&mut position, call),
                approximate,
                inlined,
                function,
                language,
            });
        }
        Some(frames)
    }

    /// What is known about an instance; `None` for an id of another module.
    #[must_use]
    pub fn instance(&self, id: InstanceId) -> Option<Instance> {
        let info = self.info.as_ref()?;
        let entries = info.entries(id.unit).ok()?;
        let node = entries.nodes.get(id.node as usize)?;
        let entry = entries.entry_pc(id.node)?;
        let function = self.module.function_at(entry)?.index;
        let inlined = node.parent != NONE;
        Some(Instance {
            id,
            name: info.function_name(node.origin).unwrap_or_else(|| self.plain_name(function)),
            function,
            ranges: entries.ranges(id.node).to_vec(),
            entry,
            caller: inlined.then_some(InstanceId { unit: id.unit, node: node.parent }),
            call: inlined.then(|| call_position(info, id.unit, node)).flatten(),
            declared: info.declared(node.origin),
            language: info.language(id.unit),
        })
    }

    /// The name of a Wasm function: from DWARF, the name section, an export or import, else `func[N]`.
    #[must_use]
    pub fn function_name(&self, function: u32) -> FunctionName {
        let from_dwarf = || {
            let info = self.info.as_ref()?;
            let pc = self.module.function(function)?.first_instruction;
            let unit = info.unit_at(pc)?;
            let entries = info.entries(unit).ok()?;
            info.function_name(entries.nodes[*entries.chain(pc).first()? as usize].origin)
        };
        from_dwarf().unwrap_or_else(|| self.plain_name(function))
    }

    /// The name that a function has without DWARF.
    fn plain_name(&self, function: u32) -> FunctionName {
        match self.module.raw_function_name(function) {
            Some(raw) => FunctionName::new(&demangle(raw)),
            None => {
                let name: Arc<str> = format!("func[{function}]").into();
                FunctionName { full: name.clone(), short: name }
            }
        }
    }

    /// Where to plant a breakpoint on a function: `is_prime`, `Type::method`, `Trait::method`, a full
    /// path, with or without generic arguments, an export's name, or `func[N]`. A function of the host, such
    /// as `proxy_log`, has no code here: each of its calls is a place.
    ///
    /// # Errors
    /// No function has that name.
    pub fn break_function(&self, name: &str) -> Result<FunctionBinding, LookupError> {
        let query = name.trim().trim_end_matches("()");
        let mut places = self.info.as_ref().map_or_else(Vec::new, |info| self.instances_named(info, query));
        for function in self.module.functions() {
            // What DWARF names is found there; exports and the name section add the rest.
            if self.plain_match(function.index, query) && !places.iter().any(|p| p.function == function.index)
            {
                places.extend(self.function_place(function.index));
            }
        }
        if places.is_empty() {
            places = self.calls_of_import(query);
        }
        places.sort_by_key(|p| p.pc);
        places.dedup_by_key(|p| p.pc);
        if places.is_empty() {
            let similar = similar_names(&self.function_names(), query);
            return Err(LookupError::UnknownFunction { name: name.to_owned(), similar });
        }
        Ok(FunctionBinding { requested: name.to_owned(), places })
    }

    /// The direct calls of an imported function.
    fn calls_of_import(&self, name: &str) -> Vec<BreakPlace> {
        let wanted = |import: &Import| match import.kind {
            ImportKind::Function(index) if import.name == name => Some(index),
            _ => None,
        };
        let imported: Vec<u32> = self.module.imports().iter().filter_map(wanted).collect();
        let mut pcs = Vec::new();
        if imported.is_empty() {
            return Vec::new();
        }
        for function in self.module.functions() {
            self.module.instructions(function, |pc, operator| {
                if let Operator::Call { function_index } | Operator::ReturnCall { function_index } = operator
                    && imported.contains(function_index)
                {
                    pcs.push(pc);
                }
                true
            });
        }
        pcs.into_iter().filter_map(|pc| self.break_place(pc, true)).collect()
    }

    fn plain_match(&self, function: u32, query: &str) -> bool {
        let exports = self.module.exports();
        exports.iter().any(|e| e.kind == "func" && e.index == function && e.name == query)
            || self.module.raw_function_name(function).is_some_and(|raw| can_be_called(&demangle(raw), query))
            || query == format!("func[{function}]")
    }

    /// The place of a function as a whole, behind its prologue.
    fn function_place(&self, function: u32) -> Option<BreakPlace> {
        self.break_place(self.after_prologue(function)?, false)
    }

    /// Describes a pc as a place; with `inlined` the innermost frame is meant, else the function's own.
    pub(crate) fn break_place(&self, pc: ModulePc, innermost: bool) -> Option<BreakPlace> {
        let frames = self.frames(pc);
        let frame = if innermost { frames.first()? } else { frames.last()? };
        Some(BreakPlace {
            pc,
            function: frame.function,
            instance: frame.instance,
            name: frame.name.full.clone(),
            inlined: frame.inlined,
            position: frame.position.clone(),
        })
    }

    fn instances_named(&self, info: &DebugInfo, query: &str) -> Vec<BreakPlace> {
        let mut known: HashMap<u32, bool> = HashMap::new();
        let mut places = Vec::new();
        let last = path_parts(query).last().map(|part| without_generics(part)).unwrap_or_default();
        for unit in 0..info.units.len() as u32 {
            let Ok(entries) = info.entries(unit) else { continue };
            for (index, node) in entries.nodes.iter().enumerate() {
                let hit =
                    *known.entry(node.origin).or_insert_with(|| info.is_called(node.origin, &last, query));
                if hit {
                    places.extend(self.instance_place(info, InstanceId { unit, node: index as u32 }));
                }
            }
        }
        places
    }

    fn instance_place(&self, info: &DebugInfo, id: InstanceId) -> Option<BreakPlace> {
        let entries = info.entries(id.unit).ok()?;
        let node = entries.nodes.get(id.node as usize)?;
        let entry = entries.entry_pc(id.node)?;
        let function = self.module.function_at(entry)?;
        let inlined = node.parent != NONE;
        let pc = if inlined { entry } else { self.after_prologue(function.index)? };
        let position = self
            .frames(pc)
            .into_iter()
            .find(|frame| frame.instance == Some(id))
            .map_or_else(|| self.position(pc), |frame| frame.position);
        Some(BreakPlace {
            pc: pc.max(function.first_instruction),
            function: function.index,
            instance: Some(id),
            name: info.function_name(node.origin)?.full,
            inlined,
            position,
        })
    }

    /// The pc behind a Wasm function's prologue, where its parameters and frame are in place:
    /// prologue_end, else the second row of the line table, but never before the frame is set up.
    #[must_use]
    pub fn after_prologue(&self, function: u32) -> Option<ModulePc> {
        let function = self.module.function(function)?;
        let (opens, ends) = self.prologue_rows(function).unzip();
        let setup = self.frame_pointer_hint(function.index);
        let mut pc = ends.max(setup.map(|setup| setup.ready)).unwrap_or(function.first_instruction);
        // Zig ends the prologue before the parameters are stored, on the line that opens the function.
        let line = |pc| self.position(pc).map(|position| position.line);
        if let Some(setup) = setup.filter(|_| opens.is_some() && opens == line(pc)) {
            pc = pc.max(setup.spilled);
        }
        Some(pc.max(function.first_instruction))
    }

    /// The line of the function's first row, and where the line table says that its prologue ends.
    fn prologue_rows(&self, function: &Function) -> Option<(u32, ModulePc)> {
        let info = self.info.as_ref()?;
        let table = info.lines(info.unit_at(function.first_instruction)?).ok()?;
        let first = table.rows_in(function.body).next()?;
        let end = table.rows_in(function.body).find(|row| row.is_prologue_end());
        let second = table.rows_in(function.body).nth(1);
        Some((first.line, end.or(second).unwrap_or(first).pc))
    }

    /// All function names, sorted, for completion.
    #[must_use]
    pub fn function_names(&self) -> Vec<Arc<str>> {
        let mut names = BTreeSet::new();
        for function in self.module.functions() {
            names.insert(self.plain_name(function.index).full);
        }
        if let Some(info) = &self.info {
            let mut seen = HashSet::new();
            for unit in 0..info.units.len() as u32 {
                let Ok(entries) = info.entries(unit) else { continue };
                for node in entries.nodes.iter().filter(|n| seen.insert(n.origin)) {
                    names.extend(info.function_name(node.origin).map(|name| name.full));
                }
            }
        }
        names.into_iter().collect()
    }
}

impl FunctionName {
    pub(crate) fn new(full: &str) -> FunctionName {
        let plain = without_generics(full);
        let short = path_parts(&plain).last().map_or_else(|| full.into(), |part| Arc::from(*part));
        FunctionName { full: full.into(), short }
    }
}

/// A declaration with what its origins add.
struct Resolved<'a> {
    name: Option<&'a str>,
    linkage: Option<&'a str>,
    /// Unit and scope of the entry that has the name.
    scope: (u32, u32),
    declared: (u32, (u32, u32)),
}

/// How many specifications and origins may be chained. Two are usual.
const MAX_ORIGINS: usize = 16;

impl DebugInfo {
    fn resolve(&self, entry: u32) -> Option<Resolved<'_>> {
        let mut out = Resolved { name: None, linkage: None, scope: (0, NONE), declared: (0, (0, 0)) };
        let mut at = Some(entry);
        for _ in 0..MAX_ORIGINS {
            let Some(offset) = at else { break };
            let unit = self.unit_of(offset)?;
            let declaration = self.entries(unit).ok()?.declaration(offset)?;
            if let (None, Some(name)) = (out.name, declaration.name) {
                out.name = Some(self.str(name));
            }
            // The last of the chain is the declaration within its class or namespace.
            out.scope = (unit, declaration.scope);
            out.linkage = out.linkage.or_else(|| declaration.linkage.map(|text| self.str(text)));
            if out.declared.1 == (0, 0) {
                out.declared = (unit, declaration.declared);
            }
            at = declaration.origin;
        }
        Some(out)
    }

    /// The name of the function that an entry describes, kept once made.
    pub(crate) fn function_name(&self, entry: u32) -> Option<FunctionName> {
        if let Some(known) = lock(&self.names).get(&entry) {
            return Some(known.clone());
        }
        let resolved = self.resolve(entry)?;
        let mangled = resolved.linkage.map(|symbol| (symbol, demangle(symbol)));
        let name = match (mangled, resolved.name) {
            (Some((symbol, demangled)), _) if demangled != symbol => FunctionName::new(&demangled),
            (_, Some(name)) => {
                let entries = self.entries(resolved.scope.0).ok()?;
                FunctionName::new(&self.qualified(entries, resolved.scope.1, name))
            }
            (Some((symbol, _)), None) => FunctionName::new(symbol),
            (None, None) => return None,
        };
        lock(&self.names).insert(entry, name.clone());
        Some(name)
    }

    /// Whether the function can be called `query`, whose last part without generics is `last`.
    fn is_called(&self, entry: u32, last: &str, query: &str) -> bool {
        let Some(resolved) = self.resolve(entry) else {
            // A name that no entry has.
            return self.function_name(entry).is_some_and(|name| can_be_called(&name.full, query));
        };
        if resolved.linkage == Some(query) {
            return true;
        }
        // Cheap first: most names do not even end alike.
        if let Some(name) = resolved.name
            && !name.starts_with(last)
            && path_parts(&without_generics(name)).last() != Some(&last)
        {
            return false;
        }
        if self.function_name(entry).is_some_and(|name| can_be_called(&name.full, query)) {
            return true;
        }
        // The mangled name may lack the generic arguments that DWARF has.
        let Ok(entries) = self.entries(resolved.scope.0) else { return false };
        resolved
            .name
            .is_some_and(|name| can_be_called(&self.qualified(entries, resolved.scope.1, name), query))
    }

    /// Where a function is declared.
    pub(crate) fn declared(&self, entry: u32) -> Option<Position> {
        let (unit, (file, line)) = self.resolve(entry)?.declared;
        (line != 0).then_some(Position { path: self.file(unit, file)?.clone(), line, column: 0 })
    }
}

fn call_position(info: &DebugInfo, unit: u32, node: &Node) -> Option<Position> {
    let (file, line, column) = node.call;
    (line != 0).then_some(Position { path: info.file(unit, file)?.clone(), line, column })
}

/// Up to three names that look like what was asked for, the likeliest first.
fn similar_names(names: &[Arc<str>], query: &str) -> Vec<Arc<str>> {
    let wanted = path_parts(query).last().map(|part| part.to_lowercase()).unwrap_or_default();
    if wanted.len() < 3 {
        return Vec::new();
    }
    let rank = |name: &Arc<str>| {
        let short = FunctionName::new(name).short.to_lowercase();
        let near = short.contains(&wanted) || (short.len() >= 4 && wanted.contains(&*short));
        near.then(|| (!short.starts_with(&wanted), name.starts_with('_'), name.len()))
    };
    let mut near: Vec<_> = names.iter().filter_map(|name| Some((rank(name)?, name))).collect();
    near.sort();
    near.into_iter().take(3).map(|(_, name)| name.clone()).collect()
}
