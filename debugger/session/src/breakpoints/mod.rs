//! The breakpoints of a session: numbers, places, conditions, hits.

mod binding;
mod breakpoint;
mod condition;
mod planting;

use wasmdbg_control::ModuleHash;
use wasmdbg_symbols::{InstanceId, ModulePc};

use binding::places;
pub use breakpoint::{Breakpoint, BreakpointOptions, BreakpointSpec, Location};
use condition::Condition;
pub(crate) use condition::Verdict;

use crate::error::Error;
use crate::frames::source_frames;
use crate::modules::Modules;
use crate::source::Position;
use crate::stop::Stop;
use crate::target::Target;

/// The breakpoints of a session: numbers, places, hits.
#[derive(Debug, Default)]
pub(crate) struct Breakpoints {
    breakpoints: Vec<Kept>,
    last_number: u32,
}

#[derive(Debug)]
struct Kept {
    breakpoint: Breakpoint,
    /// Beside [`Breakpoint::locations`]: the instance that each belongs to.
    instances: Vec<Option<InstanceId>>,
    condition: Condition,
}

impl Breakpoints {
    pub(crate) fn add(
        &mut self,
        requested: BreakpointSpec,
        options: &BreakpointOptions,
    ) -> Result<u32, Error> {
        let condition = Condition::parse(
            options.condition.as_deref(),
            options.hit_condition.as_deref(),
            options.log_message.as_deref(),
        )?;
        self.last_number += 1;
        let breakpoint = Breakpoint {
            number: self.last_number,
            requested,
            enabled: true,
            temporary: options.temporary,
            options: options.clone(),
            hits: 0,
            locations: Vec::new(),
            notes: Vec::new(),
        };
        self.breakpoints.push(Kept { breakpoint, instances: Vec::new(), condition });
        Ok(self.last_number)
    }

    pub(crate) fn all(&self) -> Vec<Breakpoint> {
        self.breakpoints.iter().map(|kept| kept.breakpoint.clone()).collect()
    }

    pub(crate) fn get(&self, number: u32) -> Result<&Breakpoint, Error> {
        let found = self.breakpoints.iter().find(|kept| kept.breakpoint.number == number);
        found.map(|kept| &kept.breakpoint).ok_or(Error::NoBreakpoint(number))
    }

    fn get_mut(&mut self, number: u32) -> Result<&mut Kept, Error> {
        let found = self.breakpoints.iter_mut().find(|kept| kept.breakpoint.number == number);
        found.ok_or(Error::NoBreakpoint(number))
    }

    pub(crate) fn remove(&mut self, number: u32) -> Result<Breakpoint, Error> {
        let at = self.breakpoints.iter().position(|kept| kept.breakpoint.number == number);
        Ok(self.breakpoints.remove(at.ok_or(Error::NoBreakpoint(number))?).breakpoint)
    }

    pub(crate) fn set_enabled(&mut self, number: u32, enabled: bool) -> Result<(), Error> {
        self.get_mut(number)?.breakpoint.enabled = enabled;
        Ok(())
    }

    /// What the breakpoints `ids` make of a stop at them; hits are counted. An id that is not known any
    /// more (deleted a moment ago) has no say.
    pub(crate) fn judge(&mut self, ids: &[u32], stop: &Stop) -> Vec<(u32, Verdict)> {
        let hit = self.breakpoints.iter_mut().filter(|kept| ids.contains(&kept.breakpoint.number));
        hit.map(|kept| {
            let verdict = kept.condition.judge(stop, kept.breakpoint.hits);
            kept.breakpoint.hits += u64::from(verdict != Verdict::Pass);
            (kept.breakpoint.number, verdict)
        })
        .collect()
    }

    /// Looks up where breakpoint `number` stands in all modules. Nothing is planted by this.
    pub(crate) fn bind(&mut self, number: u32, modules: &Modules) -> Result<(), Error> {
        let kept = self.get_mut(number)?;
        kept.breakpoint.locations.clear();
        kept.breakpoint.notes.clear();
        kept.instances.clear();
        let mut failures = Vec::new();
        for loaded in modules.iter() {
            match places(&kept.breakpoint.requested, loaded) {
                Ok((places, note)) => {
                    kept.breakpoint.notes.extend(note);
                    for place in places {
                        kept.instances.push(place.instance);
                        kept.breakpoint.locations.push(Location {
                            module: loaded.module.hash,
                            pc: place.pc,
                            function: place.name.to_string(),
                            position: place.position.as_ref().map(Position::from),
                        });
                    }
                }
                Err(why) if failures.contains(&why) => {}
                Err(why) => failures.push(why),
            }
        }
        // Another module's lack of the place is no news once one has it.
        if kept.breakpoint.locations.is_empty() {
            kept.breakpoint.notes = failures;
        }
        Ok(())
    }

    /// [`Breakpoints::bind`] for all of them: a module has got symbols.
    pub(crate) fn bind_all(&mut self, modules: &Modules) -> Result<(), Error> {
        let numbers: Vec<u32> = self.breakpoints.iter().map(|kept| kept.breakpoint.number).collect();
        numbers.into_iter().try_for_each(|number| self.bind(number, modules))
    }

    /// How many inlined frames begin at the pc of a stop at breakpoints `ids` that are meant for a frame around
    /// them.
    pub(crate) fn hidden_at(&self, target: &Target, ids: &[u32]) -> u32 {
        let Some(innermost) = target.info().frames.first() else { return 0 };
        let meant = self.instances(target.info().module, innermost.pc, ids);
        let frames = source_frames(target, innermost.function, innermost.pc);
        let of_breakpoint =
            frames.iter().position(|frame| frame.instance.is_some_and(|instance| meant.contains(&instance)));
        of_breakpoint.unwrap_or(0) as u32
    }

    /// The instances that breakpoints `ids` are meant for at a pc: a stop there is in that frame, even
    /// where an inlined call begins at the same opcode.
    fn instances(&self, module: ModuleHash, pc: ModulePc, ids: &[u32]) -> Vec<InstanceId> {
        let hit = self.breakpoints.iter().filter(|kept| ids.contains(&kept.breakpoint.number));
        hit.flat_map(|kept| kept.breakpoint.locations.iter().zip(&kept.instances))
            .filter(|(location, _)| location.module == module && location.pc == pc)
            .filter_map(|(_, instance)| *instance)
            .collect()
    }
}
