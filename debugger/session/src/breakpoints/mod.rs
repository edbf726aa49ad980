//! Breakpoints as a user asks for them and where they stand. Owns numbers and places, and no connection:
//! the session plants them.

mod condition;

use std::fmt;

use wasmdbg_control::{ModuleHash, breakpoints as wire};
use wasmdbg_symbols::{BreakPlace, InstanceId, LookupError, ModulePc};

use condition::Condition;
pub(crate) use condition::Verdict;

use crate::frames::Position;
use crate::modules::{DebugInfo, Loaded, Modules};
use crate::{Error, Stop};

/// What a user names as a breakpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakpointSpec {
    /// A line of a source file.
    Line {
        /// A file name or the end of a path (`lib.rs`, `src/lib.rs`), or a whole path.
        file: String,
        /// From 1.
        line: u32,
        /// From 1; `None`: the first statements of the line.
        column: Option<u32>,
    },
    /// Every function of this name: `judge`, `rust_token::judge`, `Filter::on_headers`, an export.
    Function(String),
    /// An opcode, as an offset in the `.wasm` file: in every module that has code there.
    Pc(ModulePc),
    /// An opcode of one module.
    Code {
        /// Which.
        module: ModuleHash,
        /// Offset in its `.wasm` file.
        pc: ModulePc,
    },
}

impl fmt::Display for BreakpointSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line, column: Some(column) } => write!(f, "{file}:{line}:{column}"),
            Self::Line { file, line, column: None } => write!(f, "{file}:{line}"),
            Self::Function(name) => f.write_str(name),
            Self::Pc(pc) | Self::Code { pc, .. } => write!(f, "*{pc}"),
        }
    }
}

/// How a breakpoint behaves beside where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BreakpointOptions {
    /// Goes with its first hit.
    pub temporary: bool,
    /// An expression over the variables there: what hits it goes on while that is false. One that cannot
    /// be evaluated stops, and the stop says so.
    pub condition: Option<String>,
    /// Which hits stop: a number, or `==`, `!=`, `<`, `<=`, `>`, `>=` or `%` (every so many) and a number.
    /// Hits are counted where the condition holds.
    pub hit_condition: Option<String>,
    /// Say this instead of stopping ([`crate::SessionEvent::LogPoint`]); `{expression}` is replaced.
    pub log_message: Option<String>,
}

/// A user's breakpoint: one number, any number of places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakpoint {
    /// Counted from 1, never reused in a session.
    pub number: u32,
    /// As asked for.
    pub requested: BreakpointSpec,
    /// Not planted while false.
    pub enabled: bool,
    /// Goes with its first hit.
    pub temporary: bool,
    /// Its condition, hit condition and log message.
    pub options: BreakpointOptions,
    /// How often it was hit with its condition true.
    pub hits: u64,
    /// Where it stands. Empty: pending.
    pub locations: Vec<Location>,
    /// What the user should know: the line has moved, why it is pending, what the plugin refused.
    pub notes: Vec<String>,
}

impl Breakpoint {
    /// It stands nowhere; [`Breakpoint::notes`] says why.
    pub fn is_pending(&self) -> bool {
        self.locations.is_empty()
    }
}

/// One place of a breakpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// In which module.
    pub module: ModuleHash,
    /// Offset of the opcode in the `.wasm` file.
    pub pc: ModulePc,
    /// The function that holds it; with inlining the innermost inlined one.
    pub function: String,
    /// Its source position, when there are line tables.
    pub position: Option<Position>,
}

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

    /// The temporary ones among `ids`.
    pub(crate) fn temporary(&self, ids: &[u32]) -> Vec<u32> {
        let hit = self.breakpoints.iter().map(|kept| &kept.breakpoint);
        hit.filter(|known| known.temporary && ids.contains(&known.number)).map(|known| known.number).collect()
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

    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.breakpoints.iter().map(|kept| kept.breakpoint.number).collect()
    }

    /// What the plugin is to plant in a module.
    pub(crate) fn wanted(&self, module: ModuleHash) -> Vec<wire::Breakpoint> {
        let enabled = self.breakpoints.iter().map(|kept| &kept.breakpoint).filter(|b| b.enabled);
        enabled
            .flat_map(|breakpoint| {
                let of_module = breakpoint.locations.iter().filter(|location| location.module == module);
                of_module.map(|location| wire::Breakpoint { id: breakpoint.number, pc: location.pc })
            })
            .collect()
    }

    /// Takes note of what became of [`Breakpoints::wanted`]: a pc that moved, a refusal.
    pub(crate) fn planted(
        &mut self,
        module: ModuleHash,
        asked: &[wire::Breakpoint],
        outcome: &[wire::Planted],
    ) {
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

    /// The instances that breakpoints `ids` are meant for at a pc: a stop there is in that frame, even
    /// where an inlined call begins at the same opcode.
    pub(crate) fn instances(&self, module: ModuleHash, pc: ModulePc, ids: &[u32]) -> Vec<InstanceId> {
        let hit = self.breakpoints.iter().filter(|kept| ids.contains(&kept.breakpoint.number));
        hit.flat_map(|kept| kept.breakpoint.locations.iter().zip(&kept.instances))
            .filter(|(location, _)| location.module == module && location.pc == pc)
            .filter_map(|(_, instance)| *instance)
            .collect()
    }
}

/// The places of a breakpoint in a module, with a note for the user, or why there are none.
fn places(spec: &BreakpointSpec, loaded: &Loaded) -> Result<(Vec<BreakPlace>, Option<String>), String> {
    let Some(symbols) = &loaded.symbols else {
        return Err(match &loaded.module.debug_info {
            DebugInfo::NamesOnly(why) => why.clone(),
            DebugInfo::Full => "the module has no symbols".into(),
        });
    };
    match spec {
        BreakpointSpec::Line { file, line, column } => {
            if let DebugInfo::NamesOnly(why) = &loaded.module.debug_info {
                return Err(why.clone());
            }
            let binding = symbols.break_line(file, *line, *column).map_err(|error| error.to_string())?;
            let note =
                binding.moved().then(|| format!("line {line} has no code: moved to line {}", binding.line));
            Ok((binding.places, note))
        }
        BreakpointSpec::Function(name) => {
            let binding = symbols.break_function(name).map_err(|error| error.to_string())?;
            Ok((binding.places, None))
        }
        BreakpointSpec::Code { module, .. } if *module != loaded.module.hash => {
            Err("no module of the session is that one".into())
        }
        BreakpointSpec::Pc(pc) | BreakpointSpec::Code { pc, .. } => {
            let pc = *pc;
            let function = symbols.module().function_at(pc);
            let function = function.ok_or_else(|| LookupError::NotCode(pc).to_string())?.index;
            let frame = symbols.frames(pc).into_iter().next();
            let place = BreakPlace {
                pc,
                function,
                instance: frame.as_ref().and_then(|frame| frame.instance),
                name: frame
                    .as_ref()
                    .map_or_else(|| symbols.function_name(function).full, |f| f.name.full.clone()),
                inlined: frame.as_ref().is_some_and(|frame| frame.inlined),
                position: frame.and_then(|frame| frame.position),
            };
            Ok((vec![place], None))
        }
    }
}
