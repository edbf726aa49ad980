//! Owns the way from a function's name to the pcs where a breakpoint belongs.

use std::collections::HashMap;
use std::sync::Arc;

use wasmparser::Operator;

use super::name::FunctionName;
use super::tree::NONE;
use crate::debug_info::DebugInfo;
use crate::demangle::{can_be_called, demangle, path_parts, without_generics};
use crate::error::LookupError;
use crate::ids::InstanceId;
use crate::lines::binding::BreakPlace;
use crate::module::{Import, ImportKind};
use crate::symbols::Symbols;
use wasmdbg_code_address::ModulePc;

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
    fn break_place(&self, pc: ModulePc, innermost: bool) -> Option<BreakPlace> {
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
            let Ok(functions) = info.functions(unit) else { continue };
            for (index, node) in functions.nodes.iter().enumerate() {
                let hit = *known
                    .entry(node.origin)
                    .or_insert_with(|| self.is_called(info, node.origin, &last, query));
                if hit {
                    places.extend(self.instance_place(info, InstanceId { unit, node: index as u32 }));
                }
            }
        }
        places
    }

    fn instance_place(&self, info: &DebugInfo, id: InstanceId) -> Option<BreakPlace> {
        let functions = info.functions(id.unit).ok()?;
        let node = functions.nodes.get(id.node as usize)?;
        let entry = functions.entry_pc(id.node)?;
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
            name: self.name_of_entry(info, node.origin)?.full,
            inlined,
            position,
        })
    }
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
