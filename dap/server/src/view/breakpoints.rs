//! The client's breakpoints: whole sets that replace each other, and what stands for them in the session.
//! Kept also while there is no session yet: they are planted when it comes.

use std::collections::BTreeMap;

use wasmdbg_session::{self as session, BreakpointOptions, BreakpointSpec, End, Session, Stop};

use crate::adapter::{Adapter, Answer, Phase};
use crate::protocol::{
    Body, Breakpoint, BreakpointEvent, BreakpointLocation, BreakpointLocationsArguments,
    BreakpointLocationsBody, BreakpointsBody, Event, LOCAL_RESPONSE, PANIC, SetBreakpointsArguments,
    SetExceptionBreakpointsArguments, SetFunctionBreakpointsArguments, SetInstructionBreakpointsArguments,
    SourceBreakpoint, TRAP,
};
use crate::requests::memory::code_reference;
use crate::session::reconnect::GONE;
use crate::transport::client::Peer;
use crate::view::sources::{Sources, incoming};

/// What is replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    File(String),
    Functions,
    Instructions,
    /// What stands for the filter of local responses.
    Responses,
}

/// The host function by which a filter answers itself.
const RESPOND: &str = "proxy_send_local_response";

/// A place as the client gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Line {
        path: String,
        line: u32,
        column: Option<u32>,
    },
    Function(String),
    /// An instruction reference and an offset.
    Code(String, i64),
    /// None that could be, and why.
    Wrong(String),
}

/// One breakpoint.
#[derive(Debug, Clone)]
struct Wanted {
    id: i64,
    place: Place,
    options: BreakpointOptions,
    /// Of the session.
    number: Option<u32>,
    /// As the client knows it.
    told: Breakpoint,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Breakpoints {
    groups: BTreeMap<Group, Vec<Wanted>>,
    last: i64,
    traps: Traps,
}

/// Which traps stop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Traps {
    #[default]
    All,
    Some {
        /// Those whose name contains one of these.
        parts: Vec<String>,
        /// Those that a panic or an abort ends with.
        panics: bool,
    },
}

impl Breakpoints {
    /// The client's id of a breakpoint of the session, and the reason for a stop at it.
    pub(crate) fn of_number(&self, number: u32) -> Option<(i64, &'static str)> {
        let all = self.groups.iter().flat_map(|(group, list)| list.iter().map(move |one| (group, one)));
        let (group, found) = all.into_iter().find(|(_, one)| one.number == Some(number))?;
        let reason = match group {
            Group::File(_) => "breakpoint",
            Group::Functions => "function breakpoint",
            Group::Instructions => "instruction breakpoint",
            Group::Responses => "exception",
        };
        Some((found.id, reason))
    }

    /// Whether the client wants to see this trap.
    pub(crate) fn stops_at_trap(&self, message: &str, stop: &Stop) -> bool {
        match &self.traps {
            Traps::All => true,
            Traps::Some { parts, panics } => {
                parts.iter().any(|part| message.contains(part.as_str()))
                    || (*panics && matches!(stop.end(), Some(End::Panic | End::Abort)))
            }
        }
    }

    /// Makes `wanted` the set of `group`. What was there before and is again stays as it is, with its hits.
    fn replace(
        &mut self,
        group: Group,
        wanted: Vec<(Place, BreakpointOptions)>,
        mut with: Result<Planter<'_>, &'static str>,
    ) -> Result<Vec<Breakpoint>, String> {
        let mut old = self.groups.remove(&group).unwrap_or_default();
        let mut list = Vec::new();
        for (place, options) in wanted {
            let same = old.iter().position(|one| one.place == place && one.options == options);
            list.push(match same {
                Some(at) => old.remove(at),
                None => {
                    self.last += 1;
                    // Without a planter it stays so.
                    let why = with.as_ref().err().copied().unwrap_or_default();
                    let told = pending(self.last, why);
                    Wanted { id: self.last, place, options, number: None, told }
                }
            });
        }
        if let Ok(planter) = &mut with {
            for number in old.iter().filter_map(|one| one.number) {
                planter.session.delete_breakpoint(number).map_err(|error| error.to_string())?;
            }
            for one in list.iter_mut().filter(|one| one.number.is_none()) {
                planter.plant(one);
            }
        }
        let told = list.iter().map(|one| one.told.clone()).collect();
        self.groups.insert(group, list);
        Ok(told)
    }
}

/// What planting needs beside the breakpoint.
struct Planter<'a> {
    session: &'a mut Session,
    sources: &'a mut Sources,
    peer: &'a Peer,
}

impl Planter<'_> {
    /// Sets it in the session and notes how the client is told of it.
    fn plant(&mut self, wanted: &mut Wanted) {
        let set = self.spec(&wanted.place).and_then(|spec| {
            self.session.set_breakpoint(spec, &wanted.options).map_err(|error| error.to_string())
        });
        wanted.told = match set {
            Ok(breakpoint) => {
                wanted.number = Some(breakpoint.number);
                self.tell(wanted.id, &breakpoint)
            }
            Err(why) => Breakpoint {
                id: Some(wanted.id),
                message: Some(why),
                reason: Some("failed"),
                ..Breakpoint::default()
            },
        };
    }

    fn spec(&self, place: &Place) -> Result<BreakpointSpec, String> {
        Ok(match place {
            Place::Line { path, line, column } => {
                let file = self.session.debug_file(&incoming(path)).map_err(|error| error.to_string())?;
                BreakpointSpec::Line { file, line: *line, column: *column }
            }
            Place::Function(name) => BreakpointSpec::Function(name.clone()),
            Place::Code(reference, offset) => {
                let (module, pc) = crate::requests::memory::code_address(self.session, reference, *offset)?;
                BreakpointSpec::Code { module, pc }
            }
            Place::Wrong(why) => return Err(why.clone()),
        })
    }

    fn tell(&mut self, id: i64, breakpoint: &session::Breakpoint) -> Breakpoint {
        let message = (!breakpoint.notes.is_empty()).then(|| breakpoint.notes.join("; "));
        let Some(first) = breakpoint.locations.first() else {
            return Breakpoint { id: Some(id), message, reason: Some("pending"), ..Breakpoint::default() };
        };
        let position = first.position.as_ref();
        Breakpoint {
            id: Some(id),
            verified: true,
            message,
            source: position.map(|position| self.sources.source(self.session, self.peer, &position.file)),
            line: position.map(|position| self.peer.line_out(position.line)),
            column: position
                .filter(|position| position.column > 0)
                .map(|position| self.peer.column_out(position.column)),
            instruction_reference: code_reference(self.session, first.module, first.pc),
            reason: None,
        }
    }
}

impl Adapter {
    fn replace_breakpoints(&mut self, group: Group, wanted: Vec<(Place, BreakpointOptions)>) -> Answer {
        let planter = match &mut self.phase {
            Phase::Live(session) => Ok(Planter { session, sources: &mut self.sources, peer: &self.peer }),
            Phase::Waiting(_) => Err(GONE),
            Phase::New | Phase::Attaching(_) | Phase::Over => Err("not attached to a proxy yet"),
        };
        let breakpoints = self.breakpoints.replace(group, wanted, planter)?;
        Ok(Some(Body::from(BreakpointsBody { breakpoints })))
    }

    pub(crate) fn set_breakpoints(&mut self, arguments: SetBreakpointsArguments) -> Answer {
        let Some(path) = arguments.source.path.filter(|path| !path.is_empty()) else {
            return Err("breakpoints need a source with a path".into());
        };
        let old_form =
            || arguments.lines.iter().map(|line| SourceBreakpoint { line: *line, ..Default::default() });
        let asked = arguments.breakpoints.unwrap_or_else(|| old_form().collect());
        let wanted = asked.into_iter().map(|one| {
            let place = match self.peer.line_in(one.line) {
                Some(line) => {
                    let column = one.column.and_then(|column| self.peer.column_in(column));
                    Place::Line { path: path.clone(), line, column }
                }
                None => Place::Wrong(format!("there is no line {}", one.line)),
            };
            let options = BreakpointOptions {
                temporary: false,
                condition: one.condition,
                hit_condition: one.hit_condition,
                log_message: one.log_message,
            };
            (place, options)
        });
        let wanted = wanted.collect();
        self.replace_breakpoints(Group::File(path), wanted)
    }

    pub(crate) fn set_function_breakpoints(&mut self, arguments: SetFunctionBreakpointsArguments) -> Answer {
        let wanted = arguments.breakpoints.into_iter().map(|one| {
            let name = one.name.trim().to_owned();
            let place =
                if name.is_empty() { Place::Wrong("give a function".into()) } else { Place::Function(name) };
            (place, with(one.condition, one.hit_condition))
        });
        self.replace_breakpoints(Group::Functions, wanted.collect())
    }

    pub(crate) fn set_instruction_breakpoints(
        &mut self,
        arguments: SetInstructionBreakpointsArguments,
    ) -> Answer {
        let wanted = arguments.breakpoints.into_iter().map(|one| {
            (Place::Code(one.instruction_reference, one.offset), with(one.condition, one.hit_condition))
        });
        self.replace_breakpoints(Group::Instructions, wanted.collect())
    }

    pub(crate) fn set_exception_breakpoints(
        &mut self,
        arguments: SetExceptionBreakpointsArguments,
    ) -> Answer {
        let mut parts = Vec::new();
        let mut panics = false;
        let mut responses = Vec::new();
        let mut breakpoints = Vec::new();
        let plain = arguments.filters.into_iter().map(|filter| (filter, None));
        let conditional = arguments.filter_options.into_iter().map(|one| (one.filter_id, one.condition));
        for (filter, condition) in plain.chain(conditional) {
            let condition = condition.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
            let mut told = Breakpoint { verified: true, ..Breakpoint::default() };
            match filter.as_str() {
                TRAP => parts.push(condition.unwrap_or_default()),
                PANIC => panics = true,
                LOCAL_RESPONSE => {
                    responses.push((Place::Function(RESPOND.into()), with(condition, None)));
                }
                _ => {
                    told.verified = false;
                    told.message = Some(format!("there is no filter {filter:?}"));
                }
            }
            breakpoints.push(told);
        }
        self.breakpoints.traps = Traps::Some { parts, panics };
        self.replace_breakpoints(Group::Responses, responses)?;
        Ok(Some(Body::from(BreakpointsBody { breakpoints })))
    }

    pub(crate) fn breakpoint_locations(&mut self, arguments: &BreakpointLocationsArguments) -> Answer {
        let path = arguments.source.path.clone().unwrap_or_default();
        let first = self
            .peer
            .line_in(arguments.line)
            .ok_or_else(|| format!("there is no line {}", arguments.line))?;
        let last = arguments.end_line.and_then(|line| self.peer.line_in(line)).unwrap_or(first);
        let session = self.session()?;
        let file = session.debug_file(&incoming(&path)).map_err(|error| error.to_string())?;
        let found = session.break_locations(&file, first, last).map_err(|error| error.to_string())?;
        let breakpoints = found.into_iter().map(|(line, column)| BreakpointLocation {
            line: self.peer.line_out(line),
            column: Some(column).filter(|column| *column > 0).map(|column| self.peer.column_out(column)),
        });
        let breakpoints = breakpoints.collect();
        Ok(Some(Body::from(BreakpointLocationsBody { breakpoints })))
    }

    /// Plants what was asked for before there was a session, and tells what became of it.
    pub(crate) fn plant_all(&mut self) {
        let Phase::Live(session) = &mut self.phase else { return };
        let mut planter = Planter { session, sources: &mut self.sources, peer: &self.peer };
        for wanted in self.breakpoints.groups.values_mut().flatten() {
            planter.plant(wanted);
        }
        self.tell_all();
    }

    /// None of them stands any more, and `why`; they are planted when there is a session again.
    pub(crate) fn unplant_all(&mut self, why: &str) {
        for wanted in self.breakpoints.groups.values_mut().flatten() {
            wanted.number = None;
            wanted.told = pending(wanted.id, why);
        }
        self.tell_all();
    }

    fn tell_all(&mut self) {
        // For the filter of local responses the client has no breakpoint of its own.
        let shown = self.breakpoints.groups.iter().filter(|(group, _)| **group != Group::Responses);
        let told: Vec<_> = shown.flat_map(|(_, list)| list.iter().map(|one| one.told.clone())).collect();
        for breakpoint in told {
            self.peer.event(&Event::Breakpoint(BreakpointEvent { reason: "changed", breakpoint }));
        }
    }
}

/// One that does not stand, and why.
fn pending(id: i64, why: &str) -> Breakpoint {
    Breakpoint {
        id: Some(id),
        message: Some(why.to_owned()),
        reason: Some("pending"),
        ..Breakpoint::default()
    }
}

fn with(condition: Option<String>, hit_condition: Option<String>) -> BreakpointOptions {
    BreakpointOptions { condition, hit_condition, ..BreakpointOptions::default() }
}
