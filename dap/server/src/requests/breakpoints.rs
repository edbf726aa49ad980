//! Sets of breakpoints as the client asks for them, and where one could be.

use wasmdbg_session::{BreakpointOptions, Session};

use crate::protocol::{
    Answer, Body, Breakpoint, BreakpointLocation, BreakpointLocationsArguments, BreakpointLocationsBody,
    BreakpointsBody, LOCAL_RESPONSE, PANIC, SetBreakpointsArguments, SetExceptionBreakpointsArguments,
    SetFunctionBreakpointsArguments, SetInstructionBreakpointsArguments, SourceBreakpoint, TRAP,
};
use crate::transport::client::Client;
use crate::view::breakpoints::{Breakpoints, Group, Place, Planter, Traps};
use crate::view::sources::{Sources, incoming};

/// The host function by which a filter answers itself.
const RESPOND: &str = "proxy_send_local_response";

/// What sets of breakpoints are made of, and where they are planted.
pub(crate) struct Sets<'a> {
    /// Or what they wait for.
    pub(crate) session: Result<&'a mut Session, &'static str>,
    pub(crate) breakpoints: &'a mut Breakpoints,
    pub(crate) sources: &'a mut Sources,
    pub(crate) client: &'a Client,
}

impl Sets<'_> {
    fn replace(self, group: Group, wanted: Vec<(Place, BreakpointOptions)>) -> Answer {
        let Self { session, breakpoints, sources, client } = self;
        let planter = session.map(|session| Planter::new(session, sources, client));
        let breakpoints = breakpoints.replace(group, wanted, planter)?;
        Ok(Some(Body::from(BreakpointsBody { breakpoints })))
    }

    pub(crate) fn of_file(self, arguments: SetBreakpointsArguments) -> Answer {
        let Some(path) = arguments.source.path.filter(|path| !path.is_empty()) else {
            return Err("breakpoints need a source with a path".into());
        };
        let old_form =
            || arguments.lines.iter().map(|line| SourceBreakpoint { line: *line, ..Default::default() });
        let asked = arguments.breakpoints.unwrap_or_else(|| old_form().collect());
        let wanted = asked.into_iter().map(|one| {
            let place = match self.client.line_in(one.line) {
                Some(line) => {
                    let column = one.column.and_then(|column| self.client.column_in(column));
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
        self.replace(Group::File(path), wanted)
    }

    pub(crate) fn of_functions(self, arguments: SetFunctionBreakpointsArguments) -> Answer {
        let wanted = arguments.breakpoints.into_iter().map(|one| {
            let name = one.name.trim().to_owned();
            let place =
                if name.is_empty() { Place::Wrong("give a function".into()) } else { Place::Function(name) };
            (place, with(one.condition, one.hit_condition))
        });
        self.replace(Group::Functions, wanted.collect())
    }

    pub(crate) fn of_instructions(self, arguments: SetInstructionBreakpointsArguments) -> Answer {
        let wanted = arguments.breakpoints.into_iter().map(|one| {
            (Place::Code(one.instruction_reference, one.offset), with(one.condition, one.hit_condition))
        });
        self.replace(Group::Instructions, wanted.collect())
    }

    pub(crate) fn of_exceptions(self, arguments: SetExceptionBreakpointsArguments) -> Answer {
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
        self.breakpoints.stop_at_traps(Traps::Some { parts, panics });
        self.replace(Group::Responses, responses)?;
        Ok(Some(Body::from(BreakpointsBody { breakpoints })))
    }
}

/// Where breakpoints can be in some lines of a file.
pub(crate) fn locations(
    session: Result<&Session, String>,
    client: &Client,
    arguments: &BreakpointLocationsArguments,
) -> Answer {
    let path = arguments.source.path.clone().unwrap_or_default();
    let first =
        client.line_in(arguments.line).ok_or_else(|| format!("there is no line {}", arguments.line))?;
    let last = arguments.end_line.and_then(|line| client.line_in(line)).unwrap_or(first);
    let session = session?;
    let file = session.debug_file(&incoming(&path)).map_err(|error| error.to_string())?;
    let found = session.break_locations(&file, first, last).map_err(|error| error.to_string())?;
    let breakpoints = found.into_iter().map(|(line, column)| BreakpointLocation {
        line: client.line_out(line),
        column: Some(column).filter(|column| *column > 0).map(|column| client.column_out(column)),
    });
    let breakpoints = breakpoints.collect();
    Ok(Some(Body::from(BreakpointLocationsBody { breakpoints })))
}

fn with(condition: Option<String>, hit_condition: Option<String>) -> BreakpointOptions {
    BreakpointOptions { condition, hit_condition, ..BreakpointOptions::default() }
}
