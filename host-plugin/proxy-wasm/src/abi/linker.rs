//! Connects a module's imports to the host's functions, or says why it cannot.

use wasmtime::{Engine, InstancePre, Module};

use super::table::{Lane, Table};
use super::unimplemented;
use crate::filter::core::FilterCore;
use crate::vm::state::VmState;

/// Why a module cannot be linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It imports what no Proxy-Wasm host has.
    #[error("the module imports {0}: not a function of the Proxy-Wasm ABI, nor of WASI as filters get it")]
    Unknown(String),
    /// It imports a function that needs an allocator and exports none.
    #[error(
        "the module imports {0}, which needs memory from the guest, and exports neither proxy_on_memory_allocate nor malloc"
    )]
    NoAllocator(&'static str),
    /// An import has another type than the ABI says.
    #[error("{0:#}")]
    Type(wasmtime::Error),
}

/// Links `module`. The result can be instantiated any number of times.
pub(crate) fn link(
    engine: &Engine,
    module: &Module,
    core: &FilterCore,
    lane: Lane,
) -> Result<InstancePre<VmState>, LinkError> {
    let mut table = Table::new(engine, lane);
    super::define(&mut table).map_err(LinkError::Type)?;
    check_allocator(module, &table)?;
    let mut unknown = Vec::new();
    for import in module.imports() {
        let defined = if !unimplemented::is_allowed(core, &import) {
            unimplemented::define_restricted(table.linker(), &import)
        } else if table.has(&import) || table.define_either(&import).map_err(LinkError::Type)? {
            continue;
        } else {
            unimplemented::define(table.linker(), &import)
        };
        if !defined.map_err(LinkError::Type)? {
            unknown.push(format!("{}.{}", import.module(), import.name()));
        }
    }
    if !unknown.is_empty() {
        return Err(LinkError::Unknown(unknown.join(", ")));
    }
    table.linker().instantiate_pre(module).map_err(LinkError::Type)
}

fn check_allocator(module: &Module, table: &Table) -> Result<(), LinkError> {
    let has = |name| module.get_export(name).is_some();
    if has("proxy_on_memory_allocate") || has("malloc") {
        return Ok(());
    }
    match module.imports().find_map(|import| table.needs_memory(&import)) {
        Some(name) => Err(LinkError::NoAllocator(name)),
        None => Ok(()),
    }
}
