//! The client's breakpoints: whole sets that replace each other, and what stands for them in the session.
//! Kept also while there is no session yet: they are planted when it comes.

use std::collections::BTreeMap;

use wasmdbg_session::{self as session, BreakpointOptions, BreakpointSpec, End, Session, Stop};

use crate::protocol::{Breakpoint, BreakpointEvent, Event};
use crate::transport::client::Client;
use crate::view::references::{code_address, code_reference};
use crate::view::sources::{Sources, incoming};

/// What is replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// Those of a file.
    File(String),
    /// Those of functions.
    Functions,
    /// Those of opcodes.
    Instructions,
    /// What stands for the filter of local responses.
    Responses,
}

/// A place as the client gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Line {
        path: String,
        line: u32,
        column: Option<u32>,
    },
    /// Where a function begins.
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
pub(crate) enum Traps {
    /// All: the client has not said.
    #[default]
    All,
    /// As the client says.
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

    pub(crate) fn stop_at_traps(&mut self, traps: Traps) {
        self.traps = traps;
    }

    /// Makes `wanted` the set of `group`. What was there before and is again stays as it is, with its hits.
    /// Without a planter they wait for a session.
    pub(crate) fn replace(
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

    /// Plants what was asked for before there was a session, and tells what became of it.
    pub(crate) fn plant_all(&mut self, session: &mut Session, sources: &mut Sources, client: &mut Client) {
        let mut planter = Planter::new(session, sources, client);
        for wanted in self.groups.values_mut().flatten() {
            planter.plant(wanted);
        }
        self.tell_all(client);
    }

    /// None of them stands any more, and `why`; they are planted when there is a session again.
    pub(crate) fn unplant_all(&mut self, client: &mut Client, why: &str) {
        for wanted in self.groups.values_mut().flatten() {
            wanted.number = None;
            wanted.told = pending(wanted.id, why);
        }
        self.tell_all(client);
    }

    fn tell_all(&self, client: &mut Client) {
        // For the filter of local responses the client has no breakpoint of its own.
        let shown = self.groups.iter().filter(|(group, _)| **group != Group::Responses);
        for breakpoint in shown.flat_map(|(_, list)| list.iter().map(|one| one.told.clone())) {
            client.event(&Event::Breakpoint(BreakpointEvent { reason: "changed", breakpoint }));
        }
    }
}

/// What planting needs beside the breakpoint.
pub(crate) struct Planter<'a> {
    session: &'a mut Session,
    sources: &'a mut Sources,
    client: &'a Client,
}

impl<'a> Planter<'a> {
    pub(crate) fn new(session: &'a mut Session, sources: &'a mut Sources, client: &'a Client) -> Self {
        Self { session, sources, client }
    }

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
                let (module, pc) = code_address(self.session, reference, *offset)?;
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
            source: position.map(|position| self.sources.source(self.session, self.client, &position.file)),
            line: position.map(|position| self.client.line_out(position.line)),
            column: position
                .filter(|position| position.column > 0)
                .map(|position| self.client.column_out(position.column)),
            instruction_reference: code_reference(self.session, first.module, first.pc),
            reason: None,
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
