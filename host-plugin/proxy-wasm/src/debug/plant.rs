//! The breakpoints that stand in one store's copy of the code, and its single-step switch. Edits are
//! batched: each edit makes the code writable and executable again, which costs time by its size.
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use wasmdbg_control::ModulePc;
use wasmtime::{AsContext, AsContextMut, Module, ModulePC, StoreContextMut};

use super::layout::Layout;

/// See the module.
#[derive(Debug)]
pub(crate) struct Plant {
    module: Module,
    /// Asked pc to the opcode where it stands.
    standing: BTreeMap<ModulePc, ModulePc>,
    single_step: bool,
    /// What the last switch of single-step cost.
    switch_cost: Duration,
}

/// What shall stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Offsets in the `.wasm` file.
    pub(crate) pcs: BTreeSet<ModulePc>,
    /// An event at each opcode.
    pub(crate) single_step: bool,
}

impl Plant {
    pub(crate) fn new(module: Module) -> Self {
        Self { module, standing: BTreeMap::new(), single_step: false, switch_cost: Duration::ZERO }
    }

    /// Makes `wanted` stand, in one edit.
    ///
    /// # Errors
    /// wasmtime cannot make the code writable; nothing that stood before is lost.
    pub(crate) fn apply<T: 'static>(
        &mut self,
        mut store: StoreContextMut<'_, T>,
        wanted: &Wanted,
        layout: &Layout,
    ) -> wasmtime::Result<()> {
        let gone: Vec<ModulePc> =
            self.standing.keys().filter(|pc| !wanted.pcs.contains(pc)).copied().collect();
        let new: Vec<ModulePc> =
            wanted.pcs.iter().filter(|pc| !self.standing.contains_key(pc)).copied().collect();
        let switch = wanted.single_step != self.single_step;
        if gone.is_empty() && new.is_empty() && !switch {
            return Ok(());
        }
        let started = Instant::now();
        {
            let Some(mut edit) = store.as_context_mut().edit_breakpoints() else { return Ok(()) };
            for pc in &gone {
                edit.remove_breakpoint(&self.module, ModulePC::new(pc.0))?;
                self.standing.remove(pc);
            }
            for pc in &new {
                // Outside of any body there is nothing to stop at; see `Plant::resolve`.
                if layout.body_at(*pc).is_some() {
                    edit.add_breakpoint(&self.module, ModulePC::new(pc.0))?;
                    self.standing.insert(*pc, *pc);
                }
            }
            if switch {
                edit.single_step(wanted.single_step)?;
                self.single_step = wanted.single_step;
            }
        }
        if switch {
            self.switch_cost = started.elapsed();
        }
        if !new.is_empty() {
            self.settle(store);
        }
        Ok(())
    }

    /// A pc between opcodes slipped to the next one: the first that stands at or behind it.
    fn settle<T: 'static>(&mut self, store: StoreContextMut<'_, T>) {
        let Some(planted) = store.as_context().breakpoints() else { return };
        let planted: BTreeSet<ModulePc> = planted.map(|breakpoint| ModulePc(breakpoint.pc.raw())).collect();
        for (asked, stands) in &mut self.standing {
            if let Some(opcode) = planted.range(asked..).next() {
                *stands = *opcode;
            }
        }
    }

    /// The opcode where the breakpoint asked for at `pc` stands.
    ///
    /// # Errors
    /// Why it does not stand.
    pub(crate) fn resolve(&self, pc: ModulePc, layout: &Layout) -> Result<ModulePc, String> {
        let Some(body) = layout.body_at(pc) else {
            return Err(format!("{pc} lies in no function of the module"));
        };
        match self.standing.get(&pc) {
            Some(opcode) if body.range.contains(*opcode) => Ok(*opcode),
            Some(_) => Err(format!("no opcode that can run follows {pc} in its function")),
            None => Err(format!("{pc} could not be planted")),
        }
    }

    pub(crate) fn single_step(&self) -> bool {
        self.single_step
    }

    /// See the field.
    pub(crate) fn switch_cost(&self) -> Duration {
        self.switch_cost
    }
}
