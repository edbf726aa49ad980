//! Breakpoints into the code of the proxy's modules, and what the plugin makes of them.

use wasmdbg_control::breakpoints::SetBreakpoints;
use wasmdbg_control::{Client, ModuleHash, breakpoints as wire};

use super::Breakpoints;
use super::breakpoint::{Breakpoint, Location};
use crate::error::Error;
use crate::modules::Modules;

impl Breakpoints {
    /// Plants the breakpoints of the modules that breakpoint `number` stands in.
    pub(crate) fn plant(&mut self, client: &Client, number: u32) -> Result<(), Error> {
        let breakpoint = self.get(number)?.clone();
        self.plant_where(client, &breakpoint)
    }

    /// Plants the breakpoints of the modules that `breakpoint` stands in, or stood in until now.
    pub(crate) fn plant_where(&mut self, client: &Client, breakpoint: &Breakpoint) -> Result<(), Error> {
        self.plant_in(client, breakpoint.locations.iter().map(|location| location.module))
    }

    /// Plants the breakpoints of all modules.
    pub(crate) fn plant_all(&mut self, client: &Client, modules: &Modules) -> Result<(), Error> {
        self.plant_in(client, modules.iter().map(|loaded| loaded.module.hash))
    }

    /// Takes the temporary ones among `ids` out of the code; returns them.
    pub(crate) fn take_temporary(&mut self, client: &Client, ids: &[u32]) -> Vec<Breakpoint> {
        let hit = self.breakpoints.iter().map(|kept| &kept.breakpoint);
        let gone: Vec<Breakpoint> =
            hit.filter(|known| known.temporary && ids.contains(&known.number)).cloned().collect();
        self.breakpoints.retain(|kept| gone.iter().all(|gone| gone.number != kept.breakpoint.number));
        for breakpoint in &gone {
            // A dead connection shows at the next command.
            let _ = self.plant_where(client, breakpoint);
        }
        gone
    }

    fn plant_in(&mut self, client: &Client, modules: impl Iterator<Item = ModuleHash>) -> Result<(), Error> {
        let mut done = Vec::new();
        for module in modules {
            if done.contains(&module) {
                continue;
            }
            done.push(module);
            let breakpoints = self.wanted(module);
            let reply = client.call(SetBreakpoints { module, breakpoints: breakpoints.clone() })?;
            self.planted(module, &breakpoints, &reply.breakpoints);
        }
        Ok(())
    }

    /// What the plugin is to plant in a module.
    fn wanted(&self, module: ModuleHash) -> Vec<wire::Breakpoint> {
        let enabled = self.breakpoints.iter().map(|kept| &kept.breakpoint).filter(|b| b.enabled);
        enabled
            .flat_map(|breakpoint| {
                let of_module = breakpoint.locations.iter().filter(|location| location.module == module);
                of_module.map(|location| wire::Breakpoint { id: breakpoint.number, pc: location.pc })
            })
            .collect()
    }

    /// Takes note of what became of [`Breakpoints::wanted`]: a pc that moved, a refusal.
    fn planted(&mut self, module: ModuleHash, asked: &[wire::Breakpoint], outcome: &[wire::Planted]) {
        for (asked, planted) in asked.iter().zip(outcome) {
            let Ok(kept) = self.get_mut(asked.id) else { continue };
            let at = |location: &Location| location.module == module && location.pc == asked.pc;
            let Some(index) = kept.breakpoint.locations.iter().position(at) else { continue };
            match planted {
                wire::Planted::Bound { pc, .. } => kept.breakpoint.locations[index].pc = *pc,
                wire::Planted::Refused { reason, .. } => {
                    kept.breakpoint.locations.remove(index);
                    kept.instances.remove(index);
                    let note = format!("the plugin refused {}: {reason}", asked.pc);
                    if !kept.breakpoint.notes.contains(&note) {
                        kept.breakpoint.notes.push(note);
                    }
                }
            }
        }
    }
}
