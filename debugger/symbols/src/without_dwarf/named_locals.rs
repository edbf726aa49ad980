//! Owns the variables of functions that have no DWARF: their Wasm locals, as far as the name section names
//! them, with the types that Wasm knows. AssemblyScript's compiler names them after the source, and its
//! optimiser takes a name away with the local that it was for.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ids::{InstanceId, TypeId};
use crate::language::Language;
use crate::module::{Function, ValType};
use crate::symbols::Symbols;
use crate::types::{Encoding, Type, TypeKind};
use crate::variables::location::Location;
use crate::variables::machine::{Machine, WasmValue};
use crate::variables::variable::{Variable, VariableKind};
use wasmdbg_code_address::ModulePc;

/// The types of Wasm, by the ids that [`Variable::ty`] has.
const TYPES: [(ValType, &str, u64, Encoding); 4] = [
    (ValType::I32, "i32", 4, Encoding::Signed),
    (ValType::I64, "i64", 8, Encoding::Signed),
    (ValType::F32, "f32", 4, Encoding::Float),
    (ValType::F64, "f64", 8, Encoding::Float),
];

/// The types of Wasm, for debug info that has none.
pub(crate) fn types(language: Language) -> HashMap<u32, Arc<Type>> {
    let ty = |(id, (_, name, size, encoding)): (u32, (ValType, &str, u64, Encoding))| {
        let name: Arc<str> = name.into();
        let kind = TypeKind::Base(encoding);
        (id, Arc::new(Type { id: TypeId(id), short: name.clone(), name, size: Some(size), kind, language }))
    };
    (0..).zip(TYPES).map(ty).collect()
}

impl Symbols {
    /// The named locals of the function at a pc, parameters first.
    pub(crate) fn named_locals(&self, instance: InstanceId, pc: ModulePc) -> Vec<Variable> {
        let Some(function) = self.module.function_at(pc) else { return Vec::new() };
        let named = self.module.names.locals_of(function.index);
        // asc tells variables of one name in different blocks apart by the local (`i`, `i|5`). Which of
        // them is meant at a pc is not known: none of them goes by that name alone.
        let plain = |name: &'_ str| name.split('|').next().unwrap_or(name).to_owned();
        let mut count: HashMap<String, u32> = HashMap::new();
        for (_, name) in &named {
            *count.entry(plain(name)).or_default() += 1;
        }
        let variable = |(local, name): (u32, &str)| {
            let plain = plain(name);
            let shared = count.get(&plain).is_some_and(|count| *count > 1);
            let name: Arc<str> = if shared { format!("{plain} (local{local})") } else { plain }.into();
            Some(Variable {
                full_name: name.clone(),
                name,
                kind: kind(function, local),
                ty: ty(function.local_type(local)?),
                declared: None,
                depth: 0,
                artificial: false,
                entry: local,
                instance: Some(instance),
            })
        };
        named.into_iter().filter_map(variable).collect()
    }
}

/// Where a named local is: its value.
pub(crate) fn locate(variable: &Variable, machine: &dyn Machine) -> Location {
    match machine.local(variable.entry) {
        Ok(WasmValue::I32(bits) | WasmValue::F32(bits)) => Location::Value(bits.to_le_bytes().to_vec()),
        Ok(WasmValue::I64(bits) | WasmValue::F64(bits)) => Location::Value(bits.to_le_bytes().to_vec()),
        Ok(WasmValue::V128(bytes)) => Location::Value(bytes.to_vec()),
        Err(reason) => Location::Unreadable(reason),
    }
}

fn kind(function: &Function, local: u32) -> VariableKind {
    if (local as usize) < function.params.len() { VariableKind::Argument } else { VariableKind::Local }
}

fn ty(ty: ValType) -> Option<TypeId> {
    let id = TYPES.iter().position(|(known, ..)| *known == ty)?;
    Some(TypeId(id as u32))
}
