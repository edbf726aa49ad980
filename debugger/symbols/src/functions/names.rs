//! Owns what functions are called: by DWARF, Go's table, the name section, an export or import.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::name::FunctionName;
use super::tree::NONE;
use crate::debug_info::DebugInfo;
use crate::demangle::{can_be_called, demangle, path_parts, without_generics};
use crate::lines::position::Position;
use crate::symbols::Symbols;

impl Symbols {
    /// The name of a Wasm function: from DWARF, the name section, an export or import, else `func[N]`.
    #[must_use]
    pub fn function_name(&self, function: u32) -> FunctionName {
        let from_dwarf = || {
            let info = self.info.as_ref()?;
            let pc = self.module.function(function)?.first_instruction;
            let unit = info.unit_at(pc)?;
            let functions = info.functions(unit).ok()?;
            self.name_of_entry(info, functions.nodes[*functions.chain(pc).first()? as usize].origin)
        };
        from_dwarf().unwrap_or_else(|| self.plain_name(function))
    }

    /// The name that a function has without DWARF.
    pub(super) fn plain_name(&self, function: u32) -> FunctionName {
        match self.module.raw_function_name(function) {
            Some(raw) => FunctionName::new(&demangle(raw)),
            None => {
                let name: Arc<str> = format!("func[{function}]").into();
                FunctionName { full: name.clone(), short: name }
            }
        }
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
                let Ok(functions) = info.functions(unit) else { continue };
                for node in functions.nodes.iter().filter(|n| seen.insert(n.origin)) {
                    names.extend(self.name_of_entry(info, node.origin).map(|name| name.full));
                }
            }
        }
        names.into_iter().collect()
    }

    /// The name of the function that an entry describes, kept once made.
    pub(super) fn name_of_entry(&self, info: &DebugInfo, entry: u32) -> Option<FunctionName> {
        if let Some(known) = self.names.get(entry) {
            return Some(known);
        }
        let resolved = info.resolve(entry)?;
        let mangled = resolved.linkage.map(|symbol| (symbol, demangle(symbol)));
        let name = match (mangled, resolved.name) {
            (Some((symbol, demangled)), _) if demangled != symbol => FunctionName::new(&demangled),
            (_, Some(name)) => {
                let entries = info.entries(resolved.scope.0).ok()?;
                FunctionName::new(&entries.qualified(&info.sections, resolved.scope.1, name))
            }
            (Some((symbol, _)), None) => FunctionName::new(symbol),
            (None, None) => return None,
        };
        Some(self.names.keep(entry, name))
    }

    /// Whether the function that an entry describes can be called `query`, whose last part without generics is
    /// `last`.
    pub(super) fn is_called(&self, info: &DebugInfo, entry: u32, last: &str, query: &str) -> bool {
        let Some(resolved) = info.resolve(entry) else {
            // A name that no entry has.
            return self.name_of_entry(info, entry).is_some_and(|name| can_be_called(&name.full, query));
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
        if self.name_of_entry(info, entry).is_some_and(|name| can_be_called(&name.full, query)) {
            return true;
        }
        // The mangled name may lack the generic arguments that DWARF has.
        let Ok(entries) = info.entries(resolved.scope.0) else { return false };
        resolved.name.is_some_and(|name| {
            can_be_called(&entries.qualified(&info.sections, resolved.scope.1, name), query)
        })
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

    /// Where a function is declared.
    pub(crate) fn declared(&self, entry: u32) -> Option<Position> {
        let (unit, (file, line)) = self.resolve(entry)?.declared;
        (line != 0).then_some(Position { path: self.file(unit, file)?.clone(), line, column: 0 })
    }
}
