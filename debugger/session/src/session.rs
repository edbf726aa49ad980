//! One debugging session: the front end's commands in, its events out. Owns the breakpoints, the stops
//! and the steps under way; leaves Wasm state to the plugin and symbols to `wasmdbg-symbols`.

use std::sync::Arc;
use std::time::Duration;

use wasmdbg_control::filters::FilterList;
use wasmdbg_control::rules::Rule;
use wasmdbg_control::session::{Attached, Detached};
use wasmdbg_control::transactions::TransactionList;
use wasmdbg_control::{Client, Event, SlotId, StopId};

use crate::{
    Breakpoint, BreakpointOptions, BreakpointSpec, Error, Module, Progress, SessionEvent, SourceFinder, Step,
    Stop, SymbolOptions,
};

/// What to attach to. The default takes every active filter with a generated token rule.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// Names of the filters to debug; empty means every active one.
    pub filters: Vec<String>,
    /// Which transactions; empty and not `all`: the plugin makes a token rule.
    pub rules: Vec<Rule>,
    /// Every transaction.
    pub all: bool,
    /// How long a stop may last without a sign of life; `None`: the plugin's setting.
    pub deadline: Option<Duration>,
    /// Where symbols come from.
    pub symbols: SymbolOptions,
}

/// A debugging session. Front ends that serve several sources pump [`Session::handle`] by themselves;
/// others call [`Session::next_event`].
#[derive(Debug)]
pub struct Session {
    client: Arc<Client>,
}

impl Session {
    /// Attaches: the lane is compiled and one slot has passed configure when this returns, and the
    /// symbols of all modules are found. `progress` is told what goes on.
    ///
    /// # Errors
    /// The plugin refuses, a lane cannot be made, or the connection dies.
    pub fn attach(
        client: Client,
        options: AttachOptions,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Self, Error> {
        let _ = (options, progress);
        Ok(Self { client: Arc::new(client) })
    }

    /// What the plugin made of the attach: rules in force (a generated token included), deadline,
    /// filters, transactions missed so far.
    pub fn attached(&self) -> &Attached {
        unimplemented!()
    }

    /// The modules of the session's filters and how good their symbols are.
    pub fn modules(&self) -> Vec<Module> {
        unimplemented!()
    }

    /// Reads the symbols of a local file for the module it belongs to, and binds breakpoints anew.
    ///
    /// # Errors
    /// The file is no module, has no DWARF, or is of another build than every module of the session.
    pub fn add_symbol_file(&mut self, file: &std::path::Path) -> Result<Module, Error> {
        let _ = file;
        unimplemented!()
    }

    /// Sets a breakpoint. A place that is not found gives a pending breakpoint whose notes say why; it
    /// is bound when a later module has it.
    ///
    /// # Errors
    /// The connection is gone or the plugin refuses the request as a whole.
    pub fn set_breakpoint(
        &mut self,
        spec: BreakpointSpec,
        options: BreakpointOptions,
    ) -> Result<Breakpoint, Error> {
        let _ = (spec, options);
        unimplemented!()
    }

    /// All breakpoints by number.
    pub fn breakpoints(&self) -> Vec<Breakpoint> {
        unimplemented!()
    }

    /// Deletes a breakpoint.
    ///
    /// # Errors
    /// [`Error::NoBreakpoint`], or the connection is gone.
    pub fn delete_breakpoint(&mut self, number: u32) -> Result<(), Error> {
        let _ = number;
        unimplemented!()
    }

    /// Plants a disabled breakpoint again.
    ///
    /// # Errors
    /// [`Error::NoBreakpoint`], or the connection is gone.
    pub fn enable_breakpoint(&mut self, number: u32) -> Result<Breakpoint, Error> {
        let _ = number;
        unimplemented!()
    }

    /// Takes a breakpoint out of the code and keeps its number.
    ///
    /// # Errors
    /// [`Error::NoBreakpoint`], or the connection is gone.
    pub fn disable_breakpoint(&mut self, number: u32) -> Result<Breakpoint, Error> {
        let _ = number;
        unimplemented!()
    }

    /// Waits for the next event; `None` when none came within `timeout`. After
    /// [`SessionEvent::Disconnected`] every call returns that again.
    pub fn next_event(&mut self, timeout: Duration) -> Option<SessionEvent> {
        let _ = timeout;
        unimplemented!()
    }

    /// Works on one event of the connection; `None` when it is the session's own business (a step that
    /// goes on). For front ends that receive the client's events themselves.
    pub fn handle(&mut self, event: Event) -> Option<SessionEvent> {
        let _ = event;
        unimplemented!()
    }

    /// What stands now, oldest stop first. Stops that another session controls are among them.
    pub fn stops(&self) -> Vec<Arc<Stop>> {
        unimplemented!()
    }

    /// The stop with this id.
    ///
    /// # Errors
    /// [`Error::StopOver`].
    pub fn stop(&self, stop: StopId) -> Result<Arc<Stop>, Error> {
        let _ = stop;
        unimplemented!()
    }

    /// Lets a stopped slot go on; the stop is over when this returns `Ok`. What comes of it arrives as
    /// events: [`SessionEvent::Stopped`], or [`SessionEvent::CallbackEnded`] when the callback returned.
    ///
    /// # Errors
    /// The stop is over, another session controls it, or there is no such frame or line.
    pub fn resume(&mut self, stop: StopId, step: Step) -> Result<(), Error> {
        let _ = (stop, step);
        unimplemented!()
    }

    /// A handle for other threads (a Ctrl-C handler, an editor's key strokes).
    pub fn interrupter(&self) -> Interrupter {
        Interrupter { client: Arc::clone(&self.client) }
    }

    /// Stops the running callbacks of this session's slots; returns how many will stop. A step under
    /// way in them ends.
    ///
    /// # Errors
    /// No callback runs, or the connection is gone.
    pub fn interrupt(&self, slot: Option<SlotId>) -> Result<u32, Error> {
        let _ = slot;
        unimplemented!()
    }

    /// Tells the plugin that the user is at work: the pause deadline counts from now.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn activity(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// The transactions of the debug lane.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn transactions(&self) -> Result<TransactionList, Error> {
        unimplemented!()
    }

    /// The filters of the proxy.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn filters(&self) -> Result<FilterList, Error> {
        unimplemented!()
    }

    /// Where source files are looked for; map paths and add directories here.
    pub fn sources(&mut self) -> &mut SourceFinder {
        unimplemented!()
    }

    /// Names of functions that contain `prefix`, for completion; at most `limit`.
    pub fn complete_function(&self, prefix: &str, limit: usize) -> Vec<String> {
        let _ = (prefix, limit);
        unimplemented!()
    }

    /// Source files whose name or path begins with `prefix`, for completion; at most `limit`.
    pub fn complete_file(&self, prefix: &str, limit: usize) -> Vec<String> {
        let _ = (prefix, limit);
        unimplemented!()
    }

    /// The source position a function begins at, for `list FUNCTION`.
    ///
    /// # Errors
    /// No module has such a function, or it has no line information.
    pub fn function_position(&self, name: &str) -> Result<crate::Position, Error> {
        let _ = name;
        unimplemented!()
    }

    /// Ends the session; what it held goes on.
    ///
    /// # Errors
    /// The connection is gone: the plugin has then released everything already.
    pub fn detach(self) -> Result<Detached, Error> {
        unimplemented!()
    }
}

/// Commands that may come from another thread while the session waits.
#[derive(Debug, Clone)]
pub struct Interrupter {
    client: Arc<Client>,
}

impl Interrupter {
    /// See [`Session::interrupt`].
    ///
    /// # Errors
    /// No callback runs, or the connection is gone.
    pub fn interrupt(&self, slot: Option<SlotId>) -> Result<u32, Error> {
        let _ = (&self.client, slot);
        unimplemented!()
    }

    /// See [`Session::activity`].
    ///
    /// # Errors
    /// The connection is gone.
    pub fn activity(&self) -> Result<(), Error> {
        unimplemented!()
    }
}
