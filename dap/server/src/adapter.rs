//! One client's adapter: takes what comes in its order, from the client and from the session, and hands it to
//! the file of its topic, with the parts that it may touch. Does nothing itself.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::events;
use crate::protocol::{Answer, Body, Category, Incoming, Request, capabilities};
use crate::requests::breakpoints::{self, Sets};
use crate::requests::completions::completions;
use crate::requests::evaluate::{Assignment, evaluate};
use crate::requests::running::{self, Running};
use crate::requests::stack::Stack;
use crate::requests::{exception, memory, sources, threads, variables};
use crate::session::arguments::StartRequest;
use crate::session::lifecycle::Lifecycle;
use crate::session::notice::Notice;
use crate::transport::client::Client;
use crate::transport::reader::{Cancelled, Received};
use crate::view::breakpoints::Breakpoints;
use crate::view::source_folders::Reach;
use crate::view::sources::Sources;
use crate::view::{View, frame_or_focus};

/// How often the plugin is told that the user is at work, at most.
const ACTIVITY: Duration = Duration::from_secs(1);

/// What the adapter works on.
pub(crate) enum Input {
    /// From the client.
    Client(Received),
    /// The client is gone.
    Closed,
    /// From the threads of the session.
    Session(Notice),
}

/// One client and its session.
pub(crate) struct Adapter {
    client: Client,
    lifecycle: Lifecycle,
    view: View,
    /// Which source files the client can ask for.
    reach: Reach,
    cancelled: Cancelled,
    last_activity: Option<Instant>,
    ending: bool,
}

impl Adapter {
    pub(crate) fn new(client: Client, lifecycle: Lifecycle, reach: Reach, cancelled: Cancelled) -> Self {
        let view = View::default();
        Self { client, lifecycle, view, reach, cancelled, last_activity: None, ending: false }
    }

    /// Works until the client has disconnected or is gone. Whatever it held goes on then.
    pub(crate) fn run(mut self, inputs: &Receiver<Input>) {
        while !self.ending {
            let Ok(input) = inputs.recv() else { break };
            match input {
                Input::Client(Received::Request(incoming)) => self.message(incoming),
                Input::Client(Received::Malformed(why)) => self.client.say(Category::Stderr, &why),
                Input::Closed => break,
                Input::Session(notice) => self.notice(notice),
            }
            events::tell(&mut self.client, &mut self.lifecycle, &mut self.view);
        }
        self.lifecycle.leave(&mut self.client, &mut self.view);
    }

    fn notice(&mut self, notice: Notice) {
        let Self { client, lifecycle, view, .. } = self;
        match notice {
            Notice::Wake => {}
            Notice::Progress(progress) => lifecycle.show_progress(client, &progress),
            Notice::Started(result) => lifecycle.started(client, view, *result),
            Notice::ProxyOutput(text) => client.say(Category::Stdout, &text),
            Notice::Played => lifecycle.end(client, view),
        }
    }

    fn message(&mut self, incoming: Incoming) {
        let (seq, command) = (incoming.seq, incoming.command.clone());
        if self.cancelled.take(seq) {
            self.client.respond(seq, &command, &Err("cancelled".into()));
            return;
        }
        let request = match Request::parse(incoming) {
            Ok(request) => request,
            Err(why) => {
                self.client.respond(seq, &command, &Err(why.to_string()));
                return;
            }
        };
        self.activity();
        let Self { client, lifecycle, view, .. } = self;
        match request {
            // Answered when there is a session.
            Request::Attach(arguments) => {
                lifecycle.begin(client, seq, "attach", StartRequest::Attach(arguments));
            }
            Request::Launch(arguments) => {
                lifecycle.begin(client, seq, "launch", StartRequest::Launch(arguments));
            }
            Request::Restart(arguments) => lifecycle.restart(client, view, seq, arguments),
            Request::Terminate => {
                client.respond(seq, &command, &Ok(None));
                lifecycle.end(client, view);
            }
            Request::Initialize(arguments) => {
                client.features = arguments;
                let body = Body::from(Box::new(capabilities()));
                client.respond(seq, &command, &Ok(Some(body)));
            }
            Request::Disconnect => {
                lifecycle.leave(client, view);
                client.respond(seq, &command, &Ok(None));
                self.ending = true;
            }
            Request::ConfigurationDone => {
                client.respond(seq, &command, &Ok(None));
                lifecycle.configuration_done(client);
            }
            request => {
                let answer = self.answer(request);
                self.client.respond(seq, &command, &answer);
            }
        }
    }

    /// What each request may read and change.
    fn answer(&mut self, request: Request) -> Answer {
        let Self { client, lifecycle, view, reach, cancelled, .. } = self;
        let View { threads, handles, sources, breakpoints, last_lines } = view;
        match request {
            Request::Initialize(_)
            | Request::Attach(_)
            | Request::Launch(_)
            | Request::Restart(_)
            | Request::Terminate
            | Request::ConfigurationDone
            | Request::Disconnect => Ok(None),
            Request::Cancel(arguments) => {
                if let Some(request) = arguments.request_id {
                    // It came too late when the request was answered before.
                    cancelled.take(request);
                }
                lifecycle.cancel(client, &arguments);
                Ok(None)
            }
            Request::SetBreakpoints(arguments) => {
                sets(lifecycle, breakpoints, sources, client).of_file(arguments)
            }
            Request::SetFunctionBreakpoints(arguments) => {
                sets(lifecycle, breakpoints, sources, client).of_functions(arguments)
            }
            Request::SetInstructionBreakpoints(arguments) => {
                sets(lifecycle, breakpoints, sources, client).of_instructions(arguments)
            }
            Request::SetExceptionBreakpoints(arguments) => {
                sets(lifecycle, breakpoints, sources, client).of_exceptions(arguments)
            }
            Request::BreakpointLocations(arguments) => {
                breakpoints::locations(lifecycle.session(), client, &arguments)
            }
            Request::Threads => threads::list(lifecycle.session().ok(), threads, lifecycle.is_waiting()),
            Request::Transactions => Ok(Some(Body::from(threads::transactions(lifecycle.session()?)?))),
            Request::StackTrace(arguments) => {
                let session = lifecycle.session()?;
                Stack { session, threads, handles, sources, client }.trace(&arguments)
            }
            Request::Scopes(arguments) => variables::scopes(handles, &arguments),
            Request::Variables(arguments) => variables::variables(handles, &arguments),
            Request::SetVariable(arguments) => Assignment { threads, handles, client }.variable(&arguments),
            Request::SetExpression(arguments) => {
                Assignment { threads, handles, client }.expression(lifecycle.session(), &arguments)
            }
            Request::Evaluate(arguments) => evaluate(lifecycle.session(), threads, handles, &arguments),
            Request::Completions(arguments) => {
                let place = frame_or_focus(lifecycle.session(), threads, handles, arguments.frame_id);
                completions(place.ok(), client, &arguments)
            }
            Request::ExceptionInfo(arguments) => {
                exception::info(lifecycle.session()?, threads, breakpoints, last_lines, &arguments)
            }
            Request::Continue(arguments) => {
                Running { session: lifecycle.session_mut()?, threads, handles }.go_on(&arguments)
            }
            Request::Next(arguments) => {
                Running { session: lifecycle.session_mut()?, threads, handles }.next(&arguments)
            }
            Request::StepIn(arguments) => {
                Running { session: lifecycle.session_mut()?, threads, handles }.step_in(&arguments)
            }
            Request::StepOut(arguments) => {
                Running { session: lifecycle.session_mut()?, threads, handles }.step_out(&arguments)
            }
            Request::Pause(arguments) => running::pause(lifecycle.session(), threads, &arguments),
            Request::Source(arguments) => {
                sources::text(lifecycle.session(), sources, *reach, lifecycle.arguments(), &arguments)
            }
            Request::LoadedSources => sources::loaded(lifecycle.session()?, sources, client),
            Request::Modules(arguments) => sources::modules(lifecycle.session()?, &arguments),
            Request::ReadMemory(arguments) => memory::read(lifecycle.session()?, threads, &arguments),
            Request::WriteMemory(arguments) => {
                memory::write(lifecycle.session()?, threads, handles, client, &arguments)
            }
            Request::Disassemble(arguments) => {
                memory::disassemble(lifecycle.session(), sources, client, &arguments)
            }
        }
    }

    /// The user is at work: what is read from memory here would not tell the plugin.
    fn activity(&mut self) {
        let Ok(session) = self.lifecycle.session() else { return };
        let due = self.last_activity.is_none_or(|last| last.elapsed() >= ACTIVITY);
        if due && !session.stops().is_empty() {
            self.last_activity = Some(Instant::now());
            // A dead connection shows by itself.
            let _ = session.activity();
        }
    }
}

fn sets<'a>(
    lifecycle: &'a mut Lifecycle,
    breakpoints: &'a mut Breakpoints,
    sources: &'a mut Sources,
    client: &'a Client,
) -> Sets<'a> {
    Sets { session: lifecycle.session_to_plant_in(), breakpoints, sources, client }
}
