//! One debugging session: the front end's commands in, its events out. Owns the breakpoints, the stops
//! and the steps under way; leaves Wasm state to the plugin and symbols to `wasmdbg-symbols`.

mod events;
mod lookup;
mod stops;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use wasmdbg_control::filters::{FilterList, ListFilters};
use wasmdbg_control::session::{Attached, Detach, Detached, LaneStart, Start};
use wasmdbg_control::stop::{Resume, ResumeMode, StopReason, Stopped};
use wasmdbg_control::transactions::{ListTransactions, TransactionList};
use wasmdbg_control::{Client, ErrorKind, Events, SlotId, StopId};

use self::stops::Stops;
use crate::breakpoints::{Breakpoint, BreakpointOptions, BreakpointSpec, Breakpoints};
use crate::connect::{self, AttachOptions, Interrupter};
use crate::error::Error;
use crate::event::SessionEvent;
use crate::modules::{Module, Modules};
use crate::progress::Progress;
use crate::source::SourceFinder;
use crate::stepping::{self, Libraries, Next, Plan, Step};
use crate::stop::Stop;

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
    stops: Stops,
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
            stops: Stops::default(),
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
        self.breakpoints.bind_all(&self.modules)?;
        self.breakpoints.plant_all(&self.client, &self.modules)?;
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
        if let Err(error) = self.breakpoints.plant(&self.client, number) {
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
        self.breakpoints.plant_where(&self.client, &breakpoint)
    }

    /// Plants a disabled breakpoint again.
    ///
    /// # Errors
    /// [`Error::NoBreakpoint`], or the connection is gone.
    pub fn enable_breakpoint(&mut self, number: u32) -> Result<Breakpoint, Error> {
        self.breakpoints.set_enabled(number, true)?;
        self.breakpoints.plant(&self.client, number)?;
        self.breakpoints.get(number).cloned()
    }

    /// Takes a breakpoint out of the code and keeps its number.
    ///
    /// # Errors
    /// [`Error::NoBreakpoint`], or the connection is gone.
    pub fn disable_breakpoint(&mut self, number: u32) -> Result<Breakpoint, Error> {
        self.breakpoints.set_enabled(number, false)?;
        self.breakpoints.plant(&self.client, number)?;
        self.breakpoints.get(number).cloned()
    }

    /// What stands now, oldest stop first. Stops that another session controls are among them.
    pub fn stops(&self) -> Vec<Arc<Stop>> {
        self.stops.all()
    }

    /// The stop with this id.
    ///
    /// # Errors
    /// [`Error::StopOver`].
    pub fn stop(&self, stop: StopId) -> Result<Arc<Stop>, Error> {
        self.stops.get(stop)
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
                self.stops.remove(stop.id());
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

    fn run(&mut self, info: &Stopped, mode: ResumeMode) -> Result<(), Error> {
        let over = |error: Error| match error {
            Error::Refused(wire) if wire.kind == ErrorKind::NotFound => Error::StopOver(info.stop),
            other => other,
        };
        self.client.call(Resume { stop: info.stop, mode }).map_err(Error::from).map_err(over)?;
        self.stops.remove(info.stop);
        Ok(())
    }

    fn symbols(&self) -> impl Iterator<Item = &Arc<wasmdbg_symbols::Symbols>> {
        self.modules.iter().filter_map(|loaded| loaded.symbols.as_ref())
    }
}
