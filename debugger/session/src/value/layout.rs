//! Walks the members of a value as the debug info has them, whatever its language makes of them: what
//! the views of known types (`Vec`, `std::string`) are built on.

use std::sync::Arc;

use wasmdbg_symbols::{Encoding, Member, Type, TypeId, TypeKind};

use super::place::Place;
use super::scalar::Scalar;
use super::state::ValueState;
use super::tree::Value;

/// How deep [`Value::find`] looks: library types nest their pointers four or five records deep.
const MAX_NESTING: u32 = 8;

/// Members that one search looks at, of all records together. Records of broken debug info can contain
/// themselves many times, and then their number grows with each level.
const MOST_MEMBERS: usize = 1 << 17;

impl Value {
    /// A member of a record as a value.
    pub(crate) fn member(&self, member: &Member) -> Self {
        let part = self.part(member.ty, self.place().at(member.offset), member.bits);
        part.unwrap_or_else(|| Self::missing("", ValueState::OptimizedOut))
    }

    /// The field of this name, in base classes and anonymous unions too.
    pub(crate) fn field(&self, name: &str) -> Option<Self> {
        self.search(name, 0, 0, &mut { MOST_MEMBERS })
    }

    /// The first field of this name, however deep inside other records (not through pointers).
    pub(crate) fn find(&self, name: &str) -> Option<Self> {
        self.search(name, MAX_NESTING, 0, &mut { MOST_MEMBERS })
    }

    fn search(&self, name: &str, nesting: u32, level: u32, left: &mut usize) -> Option<Self> {
        // Base classes of base classes: a circle can only come from broken debug info.
        if level > 2 * MAX_NESTING {
            return None;
        }
        let ty = self.resolved()?;
        let TypeKind::Record { members, bases, .. } = &ty.kind else { return None };
        *left = left.checked_sub(1 + members.len() + bases.len())?;
        if let Some(member) = members.iter().find(|member| member.name.as_deref() == Some(name)) {
            return Some(self.member(member));
        }
        let inside =
            members.iter().filter(|member| !member.is_static && (nesting > 0 || member.name.is_none()));
        inside.chain(bases).find_map(|member| {
            let deeper = if member.name.is_some() { nesting - 1 } else { nesting };
            self.member(member).search(name, deeper, level + 1, left)
        })
    }

    /// The first pointer inside, depth first: its address and what the debug info says it points to.
    pub(crate) fn first_pointer(&self) -> Option<(Result<u64, ValueState>, Option<TypeId>)> {
        self.first_pointer_within(MAX_NESTING, &mut { MOST_MEMBERS })
    }

    fn first_pointer_within(
        &self,
        nesting: u32,
        left: &mut usize,
    ) -> Option<(Result<u64, ValueState>, Option<TypeId>)> {
        let ty = self.resolved()?;
        match &ty.kind {
            TypeKind::Pointer { target, .. } => Some((self.unsigned(), *target)),
            TypeKind::Record { members, bases, .. } if nesting > 0 => {
                *left = left.checked_sub(1 + members.len() + bases.len())?;
                bases
                    .iter()
                    .chain(members)
                    .filter(|member| !member.is_static)
                    .find_map(|member| self.member(member).first_pointer_within(nesting - 1, left))
            }
            _ => None,
        }
    }

    /// The first part whose type's name begins with `name`, at most `nesting` records deep.
    pub(crate) fn find_of_type(&self, name: &str, nesting: u32) -> Option<Self> {
        self.search_type(name, nesting, &mut { MOST_MEMBERS })
    }

    fn search_type(&self, name: &str, nesting: u32, left: &mut usize) -> Option<Self> {
        let ty = self.resolved()?;
        if ty.name.starts_with(name) {
            return Some(self.clone());
        }
        let TypeKind::Record { members, .. } = &ty.kind else { return None };
        let deeper = nesting.checked_sub(1)?;
        *left = left.checked_sub(1 + members.len())?;
        members.iter().find_map(|member| self.member(member).search_type(name, deeper, left))
    }

    /// Its bytes as an unsigned number: an integer, a pointer, an enumeration, a record with one field
    /// that is one (`Cap`, `NonNull`).
    pub(crate) fn unsigned(&self) -> Result<u64, ValueState> {
        let ty = self.resolved().ok_or_else(|| ValueState::unreadable("its type is unknown"))?;
        let size = ty.size.filter(|size| (1..=8).contains(size));
        let size = size.ok_or_else(|| ValueState::unreadable(format!("`{}` is no number", ty.short)))?;
        let bytes = self.read(size)?;
        let scalar = Scalar::decode(Encoding::Unsigned, &bytes, self.bits())?;
        Ok(scalar.as_integer().map_or(0, |value| value as u64))
    }

    /// A field as an unsigned number.
    pub(crate) fn unsigned_field(&self, name: &str) -> Option<Result<u64, ValueState>> {
        self.find(name).map(|field| field.unsigned())
    }

    /// A value of type `ty` at an address of this value's memory.
    pub(crate) fn pointee(&self, address: u64, ty: TypeId) -> Option<Self> {
        self.part(Some(ty), Place::Memory(address), None)
    }

    /// The type with this id, behind typedefs.
    pub(crate) fn type_of(&self, id: TypeId) -> Option<Arc<Type>> {
        self.target()?.symbols()?.resolved_type(id).ok().flatten()
    }

    /// The size of a type in bytes.
    pub(crate) fn size_of(&self, id: TypeId) -> Option<u64> {
        self.type_of(id).and_then(|ty| ty.size)
    }
}

/// The generic argument of this name.
pub(crate) fn argument(ty: &Type, name: &str) -> Option<TypeId> {
    let TypeKind::Record { arguments, .. } = &ty.kind else { return None };
    arguments.iter().find(|(found, _)| &**found == name).map(|(_, id)| *id)
}

/// The generic argument at this place.
pub(crate) fn argument_at(ty: &Type, index: usize) -> Option<TypeId> {
    let TypeKind::Record { arguments, .. } = &ty.kind else { return None };
    arguments.get(index).map(|(_, id)| *id)
}
