//! Owns which type is meant: by id, behind typedefs, by name, and the full form of one that is only declared.

use std::sync::Arc;

use super::{Type, TypeKind};
use crate::demangle::path_parts;
use crate::error::DebugInfoError;
use crate::ids::TypeId;
use crate::symbols::Symbols;
use wasmdbg_code_address::ModulePc;

/// How many typedefs and qualifiers may be chained.
const MAX_ALIASES: usize = 64;

impl Symbols {
    /// Reads a type.
    ///
    /// # Errors
    /// When its debug info is broken.
    pub fn type_of(&self, id: TypeId) -> Result<Arc<Type>, DebugInfoError> {
        let none = || DebugInfoError::dwarf(id.0, "the module has no debug info");
        let info = self.info.as_ref().ok_or_else(none)?;
        if let Some(known) = self.types.get(id.0) {
            return Ok(known);
        }
        Ok(self.types.keep(id.0, Arc::new(info.read_type(id)?)))
    }

    /// Reads a type behind typedefs and qualifiers; `None` when it ends in void.
    ///
    /// # Errors
    /// When its debug info is broken or goes in a circle.
    pub fn resolved_type(&self, id: TypeId) -> Result<Option<Arc<Type>>, DebugInfoError> {
        let mut at = id;
        for _ in 0..MAX_ALIASES {
            let ty = self.type_of(at)?;
            match ty.kind {
                TypeKind::Alias { target: Some(target), .. } => at = target,
                TypeKind::Alias { target: None, .. } => return Ok(None),
                _ => return Ok(Some(ty)),
            }
        }
        Err(DebugInfoError::dwarf(id.0, "a typedef leads back to itself"))
    }

    /// The full form of a type that is only declared in its unit, from any unit that has it; the type
    /// itself when there is none.
    ///
    /// # Errors
    /// When its debug info is broken.
    pub fn complete(&self, id: TypeId) -> Result<TypeId, DebugInfoError> {
        let ty = self.type_of(id)?;
        if !matches!(ty.kind, TypeKind::Record { declaration: true, .. }) {
            return Ok(id);
        }
        Ok(self.named_types(&ty.short, &ty.name, None).next().unwrap_or(id))
    }

    /// A type by name, full or by its end of path (`Vec<u8>` needs its arguments), for casts. Types of
    /// the unit at `near` first; declarations without members do not count.
    #[must_use]
    pub fn find_type(&self, name: &str, near: Option<ModulePc>) -> Option<TypeId> {
        let name = name.trim();
        let last = *path_parts(name).last()?;
        self.named_types(last, name, near).next()
    }

    /// The types with the last part `short` that can be called `name`.
    fn named_types<'s>(
        &'s self,
        short: &'s str,
        name: &'s str,
        near: Option<ModulePc>,
    ) -> impl Iterator<Item = TypeId> + 's {
        let info = self.info.as_ref();
        let count = info.map_or(0, |info| info.units.len() as u32);
        let near = info.zip(near).and_then(|(info, pc)| info.unit_at(pc));
        let units = near.into_iter().chain((0..count).filter(move |unit| Some(*unit) != near));
        units.filter_map(move |unit| Some((info?, info?.entries(unit).ok()?))).flat_map(
            move |(info, entries)| {
                entries.types.iter().filter_map(move |named| {
                    let text = named.name.map(|text| info.str(text))?;
                    if named.declaration || text != short {
                        return None;
                    }
                    let full = entries.qualified(&info.sections, named.scope, text);
                    (full == name || path_parts(&full).ends_with(&path_parts(name)))
                        .then_some(TypeId(named.entry))
                })
            },
        )
    }
}
