//! What happens while the guest of a slot stands or is looked at: wasmtime calls it at breakpoints, at
//! traps and at epochs, on the slot's thread, with the guest's frames on the stack.
//!
//! ```text
//!            breakpoint of a session, goal of a step,
//!            interrupt, trap
//!   runs ────────────────────────────────────────────► stands: waits for commands,
//!    ▲                                                 answers them into the client's queue
//!    └──────────── resume, release, no controller ─────────┘
//! ```
//!
//! A stop is nothing but a thread that waits on its stop's channel. No lock is held then but the
//! handler's own, which only this thread takes.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use wasmdbg_control::stop::{Context, ReleaseCause, Released, ResumeMode, Resumed, StopReason, Stopped};
use wasmdbg_control::text::{SHOWN, cut};
use wasmdbg_control::{ErrorKind, Event, ModulePc, Request, SessionId, StopId, WireError};
use wasmtime::{AsContextMut, DebugEvent, DebugHandler, StoreContextMut};

use super::budget::GuestTime;
use super::engine::DebugModule;
use super::frames::Frames;
use super::lane::DebugLane;
use super::plant::{Plant, Wanted};
use super::query;
use super::slot::{Running, Slot};
use super::stepping::{Start, Stepping, Verdict};
use super::stop::Command;
use super::stream;
use crate::vm::entry::Entry;
use crate::vm::start::is_clean_exit;
use crate::vm::state::VmState;
use crate::vm::trap::{Stop as Halt, TrapFrame};

/// Frames that a stop's event carries.
const FRAMES: u32 = 32;
/// Frames of a trap report.
const TRAP_FRAMES: usize = 20;

/// See the module. One for each virtual machine; clones share it.
#[derive(Clone)]
pub(crate) struct Handler(Arc<Shared>);

struct Shared {
    lane: Arc<DebugLane>,
    slot: Arc<Slot>,
    code: Arc<DebugModule>,
    inner: Mutex<Inner>,
}

struct Inner {
    plant: Plant,
    /// Where sessions want to stop: opcode to their numbers.
    hits: BTreeMap<ModulePc, Vec<(SessionId, u32)>>,
    step: Option<Step>,
    /// What is under way; none while the module is instantiated.
    entry: Option<Entry>,
    time: GuestTime,
    /// Where the guest died.
    trapped_at: Vec<TrapFrame>,
    /// It has not stood yet.
    fresh: bool,
}

/// A step under way and whose it is.
struct Step {
    stepping: Stepping,
    session: SessionId,
}

/// Why a slot is about to stand, before anybody is told.
enum Cause {
    Breakpoint(Vec<(SessionId, u32)>),
    Step(SessionId),
    Interrupt(SessionId),
    Trap(String),
}

impl DebugHandler for Handler {
    type Data = VmState;

    /// Blocks while the guest stands: it is the slot's own thread.
    async fn handle(&self, store: StoreContextMut<'_, VmState>, event: DebugEvent<'_>) {
        self.event(store, event);
    }
}

impl Handler {
    pub(crate) fn new(lane: Arc<DebugLane>, slot: Arc<Slot>, code: Arc<DebugModule>) -> Self {
        let inner = Inner {
            plant: Plant::new(code.module.clone()),
            hits: BTreeMap::new(),
            step: None,
            entry: None,
            time: GuestTime::default(),
            trapped_at: Vec::new(),
            fresh: true,
        };
        Self(Arc::new(Shared { lane, slot, code, inner: Mutex::new(inner) }))
    }

    /// An entry into the guest begins, or without one its instantiation; `plain` is its budget on the fast
    /// lane.
    pub(crate) fn begin(&self, entry: Option<Entry>, plain: Duration) {
        let mut inner = self.lock();
        inner.entry = entry;
        inner.time.begin(plain);
        inner.trapped_at.clear();
    }

    /// It is over: a step does not go on in the next entry. Says where the guest died, if it did.
    pub(crate) fn end(&self, store: StoreContextMut<'_, VmState>) -> Vec<TrapFrame> {
        let mut inner = self.lock();
        if inner.step.take().is_some() {
            self.replant(&mut inner, store);
        }
        std::mem::take(&mut inner.trapped_at)
    }

    /// Looks at what sessions want, while the guest does not run.
    pub(crate) fn look(&self, store: StoreContextMut<'_, VmState>) {
        if self.0.slot.take_attention() {
            self.attend(&mut self.lock(), store);
        }
    }

    /// Once an epoch: whether the guest may go on.
    pub(crate) fn check_budget(&self) -> Result<(), Halt> {
        let mut inner = self.lock();
        // Instrumented opcode by opcode, its time says nothing about the guest.
        let stepping = inner.plant.single_step();
        inner.time.check(self.0.lane.any_session(), stepping)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn frames<'a>(&self, store: StoreContextMut<'a, VmState>) -> Frames<'a, VmState> {
        Frames { store, imported_functions: self.0.code.layout.imported_functions }
    }

    fn event(&self, mut store: StoreContextMut<'_, VmState>, event: DebugEvent<'_>) {
        let mut inner = self.lock();
        let interrupt =
            if self.0.slot.take_attention() { self.attend(&mut inner, store.as_context_mut()) } else { None };
        let breakpoint = matches!(event, DebugEvent::Breakpoint);
        let cause = match event {
            DebugEvent::Breakpoint => self.breakpoint(&mut inner, store.as_context_mut()),
            DebugEvent::EpochYield => None,
            DebugEvent::Trap(trap) => {
                inner.trapped_at = self.trap_frames(store.as_context_mut());
                let text = trap.to_string();
                Some(Cause::Trap(text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()))
            }
            // It ends as if it had returned.
            DebugEvent::HostcallError(error)
                if inner.entry.is_some_and(|entry| is_clean_exit(entry, error)) =>
            {
                None
            }
            DebugEvent::HostcallError(error) => {
                inner.trapped_at = self.trap_frames(store.as_context_mut());
                // Over its budget: nobody asked to see that, and standing would not help.
                let over = matches!(error.downcast_ref::<Halt>(), Some(Halt::Cpu(_)));
                (!over).then(|| Cause::Trap(error.root_cause().to_string()))
            }
            DebugEvent::Exception(_) => None,
        };
        if let Some(cause) = cause.or(interrupt.map(Cause::Interrupt)) {
            self.stand(&mut inner, store, &cause, !breakpoint);
        }
    }

    /// Brings breakpoints up to date; says who wants an interrupt.
    fn attend(&self, inner: &mut Inner, store: StoreContextMut<'_, VmState>) -> Option<SessionId> {
        let slot = &self.0.slot;
        let (interrupt, waiting) = {
            let mut state = slot.lock();
            (state.interrupt.take(), std::mem::take(&mut state.planting))
        };
        let sessions = self.0.lane.sessions();
        if inner.step.as_ref().is_some_and(|step| !sessions.iter().any(|session| session.id == step.session))
        {
            inner.step = None;
        }
        let mut asked: BTreeMap<ModulePc, Vec<(SessionId, u32)>> = BTreeMap::new();
        for session in sessions.iter().filter(|session| session.wish(slot.filter).is_some()) {
            for breakpoint in session.breakpoints(slot.module) {
                asked.entry(breakpoint.pc).or_default().push((session.id, breakpoint.id));
            }
        }
        // Planted where they are asked for first; that tells on which opcodes they stand.
        inner.hits = asked;
        self.replant(inner, store);
        let layout = &self.0.code.layout;
        let mut hits: BTreeMap<ModulePc, Vec<(SessionId, u32)>> = BTreeMap::new();
        for (pc, numbers) in std::mem::take(&mut inner.hits) {
            if let Ok(opcode) = inner.plant.resolve(pc, layout) {
                hits.entry(opcode).or_default().extend(numbers);
            }
        }
        inner.hits = hits;
        for reply in waiting {
            reply.answer(|pc| inner.plant.resolve(pc, layout));
        }
        interrupt.filter(|_| slot.lock().running.is_some())
    }

    /// Makes the code what sessions and the step under way want.
    fn replant(&self, inner: &mut Inner, store: StoreContextMut<'_, VmState>) {
        let layout = &self.0.code.layout;
        let mut wanted = Wanted { pcs: inner.hits.keys().copied().collect(), single_step: false };
        if let Some(step) = &inner.step {
            wanted.single_step = step.stepping.single_step();
            wanted.pcs.extend(step.stepping.pcs());
        }
        if let Err(error) = inner.plant.apply(store, &wanted, layout) {
            self.0.lane.warn(&self.0.slot, &format!("breakpoints cannot be planted: {error:#}"));
        }
        if let Some(step) = &mut inner.step {
            step.stepping.settled(|pc| inner.plant.resolve(pc, layout).ok());
        }
    }

    /// An opcode is about to run. Most are dismissed here, by their pc.
    fn breakpoint(&self, inner: &mut Inner, store: StoreContextMut<'_, VmState>) -> Option<Cause> {
        let mut frames = self.frames(store);
        let point = frames.innermost()?;
        if let Some(numbers) = inner.hits.get(&point.pc) {
            return Some(Cause::Breakpoint(numbers.clone()));
        }
        let step = inner.step.as_mut()?;
        match step.stepping.at(point, &mut frames) {
            Verdict::Run => None,
            Verdict::Stop => Some(Cause::Step(step.session)),
            Verdict::RunOtherwise => {
                let Frames { store, .. } = frames;
                self.replant(inner, store);
                None
            }
        }
    }

    fn trap_frames(&self, store: StoreContextMut<'_, VmState>) -> Vec<TrapFrame> {
        let points = self.frames(store).walk().points;
        let module = self.0.slot.module;
        let frame = |(number, point): (usize, &super::frames::Point)| TrapFrame {
            module,
            function: point.function,
            // Outer frames hold the opcode behind the call.
            pc: Some(if number == 0 { point.pc } else { point.pc.before_return() }),
        };
        points.iter().take(TRAP_FRAMES).enumerate().map(frame).collect()
    }

    /// Stands until somebody lets it go on, if somebody may. `shown_again`: the opcode that is shown has
    /// not been reported and will be.
    fn stand(
        &self,
        inner: &mut Inner,
        mut store: StoreContextMut<'_, VmState>,
        cause: &Cause,
        shown_again: bool,
    ) {
        let (lane, slot) = (&self.0.lane, &self.0.slot);
        let owner = match cause {
            Cause::Breakpoint(numbers) => numbers.first().map(|(session, _)| *session),
            Cause::Step(session) | Cause::Interrupt(session) => Some(*session),
            Cause::Trap(_) => None,
        };
        let (commands, receiver) = mpsc::channel();
        let Some((stop, controller)) = lane.open_stop(slot, owner, commands) else {
            if inner.step.take().is_some() {
                self.replant(inner, store);
            }
            return;
        };
        inner.time.pause();
        self.announce(inner, store.as_context_mut(), cause, stop, controller);
        inner.fresh = false;
        let since = Instant::now();
        let (release, step) = self.wait(inner, &mut store, &receiver, shown_again);
        lane.close_stop(slot, stop);
        // Nobody finds the stop any more: what is still in its channel came too late.
        for command in receiver.try_iter() {
            command.too_late(stop);
        }
        lane.tell(&Event::Released(Released { stop, slot: slot.id, cause: release }));
        inner.step = step.map(|stepping| Step { stepping, session: controller });
        // What waits for the filter does not wait for the user.
        store.data_mut().contexts.hold(since.elapsed());
        self.replant(inner, store);
        inner.time.resume();
    }

    fn announce(
        &self,
        inner: &Inner,
        store: StoreContextMut<'_, VmState>,
        cause: &Cause,
        stop: StopId,
        controller: SessionId,
    ) {
        let (lane, slot) = (&self.0.lane, &self.0.slot);
        let Running { context, callback } = slot.lock().running.clone().unwrap_or(Running {
            context: Context::Root { id: crate::vm::entry::NO_CONTEXT },
            callback: "_start",
        });
        let (frames, frame_count) = self.frames(store).read(0, FRAMES);
        let mut event = Stopped {
            stop,
            slot: slot.id,
            filter: slot.filter,
            filter_name: slot.filter_name.clone(),
            module: slot.module,
            context,
            callback: callback.to_owned(),
            reason: StopReason::Step,
            control: false,
            deadline_ms: 0,
            frames,
            frame_count,
            fresh_vm: inner.fresh,
        };
        let sessions = lane.sessions();
        let deadline =
            sessions.iter().find(|session| session.id == controller).map(|session| session.deadline);
        event.deadline_ms =
            deadline.map_or(0, |deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX));
        for session in sessions.iter() {
            event.control = session.id == controller;
            event.reason = match cause {
                Cause::Breakpoint(numbers) => StopReason::Breakpoint {
                    ids: numbers
                        .iter()
                        .filter(|(id, _)| *id == session.id)
                        .map(|(_, number)| *number)
                        .collect(),
                },
                Cause::Step(_) => StopReason::Step,
                Cause::Interrupt(_) => StopReason::Interrupt,
                Cause::Trap(message) => StopReason::Trap { message: cut(message, SHOWN).into_owned() },
            };
            session.send(Event::Stopped(Box::new(event.clone())));
        }
    }

    /// Waits for commands; returns why it goes on and how far.
    fn wait(
        &self,
        inner: &mut Inner,
        store: &mut StoreContextMut<'_, VmState>,
        commands: &mpsc::Receiver<Command>,
        shown_again: bool,
    ) -> (ReleaseCause, Option<Stepping>) {
        // Who changed something just before the stop stood in the table could not tell its channel. An
        // interrupt of that moment has what it wanted.
        if self.0.slot.take_attention() {
            self.attend(inner, store.as_context_mut());
        }
        loop {
            // The agent is gone: nobody can resume this any more.
            let Ok(command) = commands.recv() else { return (ReleaseCause::Detached, None) };
            match command {
                Command::Query(client, id, Request::ReadStream(asked)) => {
                    let _ = client.reply(id, stream::read(store.data_mut(), &asked.properties));
                }
                Command::Query(client, id, request) => {
                    let mut frames = self.frames(store.as_context_mut());
                    let answered = match query::answer(&mut frames, request) {
                        Ok(reply) => client.reply(id, reply),
                        Err(error) => client.refuse(id, error),
                    };
                    // A client that is gone is noticed elsewhere.
                    let _ = answered;
                }
                Command::Resume(client, id, mode) => {
                    let step = self.stepping(inner, store.as_context_mut(), mode, shown_again);
                    match step {
                        Ok(step) => {
                            let _ = client.reply(id, Resumed {});
                            return (ReleaseCause::Resumed, step);
                        }
                        Err(text) => {
                            let _ = client.refuse(id, WireError::new(ErrorKind::State, text));
                        }
                    }
                }
                Command::Release(cause) => return (cause, None),
                Command::Look => {
                    if self.0.slot.take_attention() {
                        self.attend(inner, store.as_context_mut());
                    }
                }
            }
        }
    }

    fn stepping(
        &self,
        inner: &Inner,
        store: StoreContextMut<'_, VmState>,
        mode: ResumeMode,
        shown_again: bool,
    ) -> Result<Option<Stepping>, String> {
        let stack = self.frames(store).walk();
        let entry = stack
            .points
            .first()
            .and_then(|point| self.0.code.layout.body_at(point.pc))
            .map(|body| body.entry);
        let start = Start {
            stack: &stack,
            single_step: inner.plant.single_step(),
            switch_cost: inner.plant.switch_cost(),
            shown_again,
            entry,
        };
        Stepping::new(mode, &start)
    }
}
