//! One debugging session: the front end's commands in, its events out. Owns the breakpoints, the stops
//! and the steps under way; leaves Wasm state to the plugin and symbols to `wasmdbg-symbols`.

mod lookup;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use wasmdbg_control::breakpoints::SetBreakpoints;
use wasmdbg_control::filters::{FilterList, ListFilters};
use wasmdbg_control::session::{Attached, Detach, Detached, LaneStart, Start};
use wasmdbg_control::stop::{ReleaseCause, Released, Resume, ResumeMode, StopReason, Stopped};
use wasmdbg_control::transactions::{ListTransactions, TransactionList};
use wasmdbg_control::{Client, ErrorKind, Event, Events, ModuleHash, SlotId, StopId};

use crate::breakpoints::{Breakpoints, Verdict};
use crate::connect::{self, AttachOptions, Interrupter};
use crate::frames::source_frames;
use crate::modules::Modules;
use crate::stepping::{self, Libraries, Next, Plan, Step};
use crate::target::Target;
use crate::{
    Breakpoint, BreakpointOptions, BreakpointSpec, Error, Module, Progress, SessionEvent, SourceFinder, Stop,
};

/// Stops that are known at once: each keeps its frames, up to some mebibytes. Of more the oldest is forgotten,
/// and the proxy lets it go on at its deadline.
const STOPS: usize = 128;

/// A debugging session. Front ends that serve several sources pump [`Session::handle`] by themselves;
/// others call [`Session::next_event`].
#[derive(Debug)]
pub struct Session {
    client: Client,
    events: Events,
    attached: Attached,
    modules: Modules,
    sources: SourceFinder,
    breakpoints: Breakpoints,
    /// In the order in which they came.
    stops: Vec<Arc<Stop>>,
    /// Steps under way, by slot.
    plans: HashMap<SlotId, Plan>,
    libraries: Libraries,
    /// Events that are ready before anything is received.
    ready: VecDeque<SessionEvent>,
    /// The filters were held back: they run in virtual machines of the debugger alone.
    launched: bool,
}

impl Session {
    /// Attaches: the lane is compiled and one slot has passed configure when this returns, and the
    /// symbols of all modules are found. `progress` is told what goes on. `client` and `events` are the
    /// two halves of a greeted connection.
    ///
    /// # Errors
    /// The plugin refuses, a lane cannot be made, or the connection dies.
    pub fn attach(
        client: Client,
        events: Events,
        options: &AttachOptions,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Self, Error> {
        let filters = client.call_within(ListFilters {}, connect::AT_ONCE)?.filters;
        let attached = connect::attach(&client, &events, options, progress)?;
        let modules = Modules::load(&client, &attached.filters, &filters, &options.symbols, progress)?;
        let mut sources = SourceFinder::new();
        for info in &filters {
            if let Some(folder) = Path::new(&info.module_path).parent() {
                sources.add_directory(folder);
            }
        }
        modules.name_sources(&mut sources);
        Ok(Self {
            client,
            events,
            attached,
            modules,
            sources,
            breakpoints: Breakpoints::default(),
            stops: Vec::new(),
            plans: HashMap::new(),
            libraries: Libraries::default(),
            ready: VecDeque::new(),
            launched: options.start == LaneStart::Held,
        })
    }

    /// What the plugin made of the attach: rules in force (a generated token included), deadline,
    /// filters, transactions missed so far.
    pub fn attached(&self) -> &Attached {
        &self.attached
    }

    /// The modules of the session's filters and how good their symbols are.
    pub fn modules(&self) -> Vec<Module> {
        self.modules.iter().map(|loaded| loaded.module.clone()).collect()
    }

    /// Reads the symbols of a local file for the module it belongs to, and binds breakpoints anew.
    ///
    /// # Errors
    /// The file is no module and no source map, has no DWARF, or is of another build than every module of
    /// the session.
    pub fn add_symbol_file(&mut self, file: &Path) -> Result<Module, Error> {
        let module = self.modules.add_file(file)?;
        self.modules.name_sources(&mut self.sources);
        for number in self.breakpoints.numbers() {
            self.breakpoints.bind(number, &self.modules)?;
        }
        self.plant()?;
        Ok(module)
    }

    /// Sets a breakpoint. A place that is not found gives a pending breakpoint whose notes say why; it
    /// is bound when a later module has it.
    ///
    /// # Errors
    /// A condition, hit condition or log message is none; the connection is gone; the plugin refuses the
    /// request as a whole.
    pub fn set_breakpoint(
        &mut self,
        spec: BreakpointSpec,
        options: &BreakpointOptions,
    ) -> Result<Breakpoint, Error> {
        let number = self.breakpoints.add(spec, options)?;
        self.breakpoints.bind(number, &self.modules)?;
        if let Err(error) = self.plant_of(number) {
            self.breakpoints.remove(number)?;
            return Err(error);
        }
        self.breakpoints.get(number).cloned()
    }

    /// All breakpoints by number.
    pub fn breakpoints(&self) -> Vec<Breakpoint> {
        self.breakpoints.all()
    }

    /// Deletes a breakpoint.
    ///
    /// # Errors
    /// [`Error::NoBreakpoint`], or the connection is gone.
    pub fn delete_breakpoint(&mut self, number: u32) -> Result<(), Error> {
        let breakpoint = self.breakpoints.remove(number)?;
        self.plant_in(breakpoint.locations.iter().map(|location| location.module))
    }

    /// Plants a disabled breakpoint again.
    ///
    /// # Errors
    /// [`Error::NoBreakpoint`], or the connection is gone.
    pub fn enable_breakpoint(&mut self, number: u32) -> Result<Breakpoint, Error> {
        self.breakpoints.set_enabled(number, true)?;
        self.plant_of(number)?;
        self.breakpoints.get(number).cloned()
    }

    /// Takes a breakpoint out of the code and keeps its number.
    ///
    /// # Errors
    /// [`Error::NoBreakpoint`], or the connection is gone.
    pub fn disable_breakpoint(&mut self, number: u32) -> Result<Breakpoint, Error> {
        self.breakpoints.set_enabled(number, false)?;
        self.plant_of(number)?;
        self.breakpoints.get(number).cloned()
    }

    /// Waits for the next event; `None` when none came within `timeout`. After
    /// [`SessionEvent::Disconnected`] every call returns that again.
    pub fn next_event(&mut self, timeout: Duration) -> Option<SessionEvent> {
        let end = Instant::now().checked_add(timeout);
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let left = end.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    if let Some(event) = self.handle(event) {
                        return Some(event);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => {
                    self.stops.clear();
                    self.plans.clear();
                    let why = self.client.fault().map_or_else(
                        || "the connection to the proxy is gone".into(),
                        |fault| fault.to_string(),
                    );
                    return Some(SessionEvent::Disconnected(why));
                }
            }
        }
    }

    /// Works on one event of the connection; `None` when it is the session's own business (a step that
    /// goes on). For front ends that receive the client's events themselves.
    pub fn handle(&mut self, event: Event) -> Option<SessionEvent> {
        match event {
            Event::Stopped(stopped) => self.stopped(*stopped),
            Event::Released(released) => self.released(released),
            Event::CallbackEnded(ended) => {
                let ended_step = self.plans.remove(&ended.slot).is_some();
                self.stops.retain(|stop| stop.info().slot != ended.slot);
                Some(SessionEvent::CallbackEnded { ended, ended_step })
            }
            Event::LaneProgress(progress) => Some(SessionEvent::LaneProgress(progress)),
            Event::DeadlineWarning(warning) => Some(SessionEvent::DeadlineWarning(warning)),
            Event::TransactionStarted(info) => Some(SessionEvent::TransactionStarted(info)),
            Event::TransactionEnded(ended) => Some(SessionEvent::TransactionEnded(ended)),
            Event::Missed(missed) => Some(SessionEvent::Missed(missed)),
            Event::Log(line) => Some(SessionEvent::Log(line)),
            Event::LaneFailed(failed) => Some(SessionEvent::LaneFailed(failed)),
        }
    }

    /// What stands now, oldest stop first. Stops that another session controls are among them.
    pub fn stops(&self) -> Vec<Arc<Stop>> {
        self.stops.clone()
    }

    /// The stop with this id.
    ///
    /// # Errors
    /// [`Error::StopOver`].
    pub fn stop(&self, stop: StopId) -> Result<Arc<Stop>, Error> {
        self.stops.iter().find(|found| found.id() == stop).cloned().ok_or(Error::StopOver(stop))
    }

    /// Lets a stopped slot go on; the stop is over when this returns `Ok`. What comes of it arrives as
    /// events: [`SessionEvent::Stopped`], or [`SessionEvent::CallbackEnded`] when the callback returned.
    ///
    /// # Errors
    /// The stop is over, another session controls it, or there is no such frame or line.
    pub fn resume(&mut self, stop: StopId, step: Step) -> Result<(), Error> {
        let stop = self.stop(stop)?;
        let (next, plan) = stepping::begin(&stop, step, self.libraries)?;
        match next {
            Next::Resume(mode) => {
                self.run(stop.info(), mode)?;
                match plan {
                    Some(plan) => self.plans.insert(stop.info().slot, plan),
                    None => self.plans.remove(&stop.info().slot),
                };
            }
            Next::Report { hidden } => {
                // Nothing moves, so the plugin would not learn that somebody is at work.
                self.activity()?;
                let stop = Arc::new(Stop::new(Arc::clone(stop.target()), hidden, StopReason::Step));
                self.stops.retain(|known| known.id() != stop.id());
                self.stops.push(Arc::clone(&stop));
                self.ready.push_back(SessionEvent::Stopped(stop));
            }
        }
        Ok(())
    }

    /// Whether steps enter the standard library.
    pub fn set_libraries(&mut self, libraries: Libraries) {
        self.libraries = libraries;
    }

    /// A handle for other threads (a Ctrl-C handler, an editor's key strokes).
    pub fn interrupter(&self) -> Interrupter {
        Interrupter::new(self.client.clone())
    }

    /// Stops the running callbacks of this session's slots; returns how many will stop. A step under
    /// way in them ends.
    ///
    /// # Errors
    /// No callback runs, or the connection is gone.
    pub fn interrupt(&self, slot: Option<SlotId>) -> Result<u32, Error> {
        self.interrupter().interrupt(slot)
    }

    /// Starts the filters that an attach with [`LaneStart::Held`](crate::LaneStart) has held back;
    /// returns how many. Their breakpoints stand before the first instruction.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn start(&self) -> Result<u32, Error> {
        Ok(self.client.call(Start {})?.slots)
    }

    /// Tells the plugin that the user is at work: the pause deadline counts from now.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn activity(&self) -> Result<(), Error> {
        self.interrupter().activity()
    }

    /// The transactions of the debug lane.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn transactions(&self) -> Result<TransactionList, Error> {
        Ok(self.client.call(ListTransactions {})?)
    }

    /// The filters of the proxy.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn filters(&self) -> Result<FilterList, Error> {
        Ok(self.client.call(ListFilters {})?)
    }

    /// Where source files are looked for.
    pub fn sources(&self) -> &SourceFinder {
        &self.sources
    }

    /// To map paths and add directories. The modules' folders are among the directories from the start.
    pub fn sources_mut(&mut self) -> &mut SourceFinder {
        &mut self.sources
    }

    /// Ends the session; what it held goes on.
    ///
    /// # Errors
    /// The connection is gone: the plugin has then released everything already.
    pub fn detach(self) -> Result<Detached, Error> {
        Ok(self.client.call(Detach {})?)
    }

    pub(crate) fn symbols(&self) -> impl Iterator<Item = &Arc<wasmdbg_symbols::Symbols>> {
        self.modules.iter().filter_map(|loaded| loaded.symbols.as_ref())
    }

    /// The symbols of a module of the session, if they could be read.
    pub(crate) fn loaded(&self, module: ModuleHash) -> Option<&Option<Arc<wasmdbg_symbols::Symbols>>> {
        self.modules.get(module).map(|loaded| &loaded.symbols)
    }

    fn run(&mut self, info: &Stopped, mode: ResumeMode) -> Result<(), Error> {
        let over = |error: Error| match error {
            Error::Refused(wire) if wire.kind == ErrorKind::NotFound => Error::StopOver(info.stop),
            other => other,
        };
        self.client.call(Resume { stop: info.stop, mode }).map_err(Error::from).map_err(over)?;
        self.stops.retain(|stop| stop.id() != info.stop);
        Ok(())
    }

    fn stopped(&mut self, mut info: Stopped) -> Option<SessionEvent> {
        // There is no other memory that it could be missing.
        info.fresh_vm &= !self.launched;
        let symbols = self.modules.get(info.module).and_then(|loaded| loaded.symbols.clone());
        let target = Arc::new(Target::new(self.client.clone(), info, symbols));
        let info = target.info();
        self.stops.retain(|stop| stop.info().slot != info.slot);
        let plan = self.plans.remove(&info.slot);
        let stop = match &info.reason {
            // Who does not control a stop cannot let it go on: it is shown as it is.
            StopReason::Breakpoint { ids } if info.control && !ids.is_empty() => {
                self.at_breakpoints(&target, ids, plan)?
            }
            StopReason::Breakpoint { ids } => {
                let hidden = self.hidden_at(&target, ids);
                Stop::new(Arc::clone(&target), hidden, info.reason.clone())
            }
            StopReason::Step => {
                let returned = plan.as_ref().and_then(|plan| plan.returned(&target));
                let hidden = match plan.map(|plan| self.go_on(&target, plan, Plan::arrived)) {
                    Some(Ok(None)) => return None,
                    Some(Ok(Some(hidden))) => hidden,
                    // The step cannot be finished; where it stands is a stop as good as any.
                    Some(Err(_)) | None => 0,
                };
                Stop::new(Arc::clone(&target), hidden, StopReason::Step).with_returned(returned)
            }
            StopReason::Interrupt | StopReason::Trap { .. } => {
                Stop::new(Arc::clone(&target), 0, info.reason.clone())
            }
        };
        let stop = Arc::new(stop);
        self.stops.push(Arc::clone(&stop));
        if self.stops.len() > STOPS {
            self.stops.remove(0);
        }
        Some(SessionEvent::Stopped(stop))
    }

    /// A slot stands at breakpoints of this session: a stop if one of them wants it, else it goes on
    /// (`None`), with the step that was under way.
    fn at_breakpoints(&mut self, target: &Arc<Target>, ids: &[u32], plan: Option<Plan>) -> Option<Stop> {
        let hidden = self.hidden_at(target, ids);
        let stop = |reason| Stop::new(Arc::clone(target), hidden, reason);
        let here = stop(target.info().reason.clone());
        let (mut hit, mut notes) = (Vec::new(), Vec::new());
        for (number, verdict) in self.breakpoints.judge(ids, &here) {
            match verdict {
                Verdict::Stop(note) => {
                    hit.push(number);
                    notes.extend(note.map(|note| format!("breakpoint {number}: {note}")));
                }
                Verdict::Log(text) => {
                    let thread = here.summary().thread;
                    let position = here.frame(0).ok().and_then(|frame| frame.position);
                    self.ready.push_back(SessionEvent::LogPoint {
                        breakpoint: number,
                        thread,
                        text,
                        position,
                    });
                }
                Verdict::Skip | Verdict::Pass => {}
            }
        }
        if !hit.is_empty() {
            self.drop_temporary(&hit);
            return Some(stop(StopReason::Breakpoint { ids: hit }).with_notes(notes));
        }
        let gone_on = match plan {
            Some(plan) => self.go_on(target, plan, Plan::passed),
            None => self.run(target.info(), ResumeMode::Continue).map(|()| None),
        };
        match gone_on {
            Ok(None) => None,
            // The step ends here, of all places.
            Ok(Some(hidden)) => Some(Stop::new(Arc::clone(target), hidden, StopReason::Step)),
            Err(_) => Some(here),
        }
    }

    /// Lets a step under way run on; the hidden frames to report when it is done.
    fn go_on(
        &mut self,
        target: &Arc<Target>,
        mut plan: Plan,
        next: fn(&mut Plan, &Target) -> Result<Next, Error>,
    ) -> Result<Option<u32>, Error> {
        match next(&mut plan, target)? {
            Next::Report { hidden } => Ok(Some(hidden)),
            Next::Resume(mode) => {
                self.run(target.info(), mode)?;
                self.plans.insert(target.info().slot, plan);
                Ok(None)
            }
        }
    }

    /// How many inlined frames begin at the pc of a breakpoint that is meant for a frame around them.
    fn hidden_at(&self, target: &Target, ids: &[u32]) -> u32 {
        let Some(innermost) = target.info().frames.first() else { return 0 };
        let meant = self.breakpoints.instances(target.info().module, innermost.pc, ids);
        let frames = source_frames(target, innermost.function, innermost.pc);
        let of_breakpoint =
            frames.iter().position(|frame| frame.instance.is_some_and(|instance| meant.contains(&instance)));
        of_breakpoint.unwrap_or(0) as u32
    }

    /// The temporary ones among breakpoints that were hit are gone.
    fn drop_temporary(&mut self, ids: &[u32]) {
        for number in self.breakpoints.temporary(ids) {
            let Ok(breakpoint) = self.breakpoints.remove(number) else { continue };
            // A dead connection shows at the next command.
            let _ = self.plant_in(breakpoint.locations.iter().map(|location| location.module));
            self.ready.push_back(SessionEvent::BreakpointChanged(breakpoint));
        }
    }

    fn released(&mut self, released: Released) -> Option<SessionEvent> {
        let known = self.stops.iter().any(|stop| stop.id() == released.stop);
        self.stops.retain(|stop| stop.id() != released.stop);
        // The echo of this session's own resume.
        if !known && released.cause == ReleaseCause::Resumed {
            return None;
        }
        Some(SessionEvent::Released(released))
    }

    /// Plants the breakpoints of the modules that breakpoint `number` stands in.
    fn plant_of(&mut self, number: u32) -> Result<(), Error> {
        let locations = self.breakpoints.get(number)?.locations.clone();
        self.plant_in(locations.iter().map(|location| location.module))
    }

    fn plant(&mut self) -> Result<(), Error> {
        let modules: Vec<_> = self.modules.iter().map(|loaded| loaded.module.hash).collect();
        self.plant_in(modules.into_iter())
    }

    fn plant_in(&mut self, modules: impl Iterator<Item = ModuleHash>) -> Result<(), Error> {
        let mut done = Vec::new();
        for module in modules {
            if done.contains(&module) {
                continue;
            }
            done.push(module);
            let breakpoints = self.breakpoints.wanted(module);
            let reply = self.client.call(SetBreakpoints { module, breakpoints: breakpoints.clone() })?;
            self.breakpoints.planted(module, &breakpoints, &reply.breakpoints);
        }
        Ok(())
    }
}
