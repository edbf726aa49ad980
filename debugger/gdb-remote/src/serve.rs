//! The port, and one LLDB after the other: its bytes and the proxy's events in, packets out.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use gdbstub::common::Signal;
use gdbstub::conn::Connection as _;
use gdbstub::stub::state_machine::{GdbStubStateMachine, GdbStubStateMachineInner, state::Running};
use gdbstub::stub::{GdbStub, MultiThreadStopReason};
use gdbstub_arch::wasm::reg::id::WasmRegId;
use wasmdbg_control::admission::Admission;
use wasmdbg_control::client::CallError;
use wasmdbg_control::session::Activity;
use wasmdbg_control::stop::{Interrupt, StopReason};
use wasmdbg_control::{Event, Events};

use crate::attach::Attached;
use crate::connection::{Buffered, Stream};
use crate::target::Filters;
use crate::threads::{PROXY, Standing};

/// LLDB reads a module of megabytes in packets of this size.
const PACKET: usize = 64 << 10;
/// How often LLDB's questions count as a sign of life.
const ALIVE: Duration = Duration::from_secs(1);
/// What waits for the loop; more events wait in the connection, which has a limit.
const INPUTS: usize = 256;
/// Until the next try when the system gives no connection.
const RETRY: Duration = Duration::from_millis(100);

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody else's machine could debug this one's proxy.
    #[error(
        "{0} can be reached from other machines, and this protocol asks nobody who he is: listen at 127.0.0.1, or \
         allow it explicitly"
    )]
    NotLoopback(SocketAddr),
    /// The system.
    #[error("the system gives no thread or connection: {0}")]
    System(#[from] io::Error),
    /// The proxy is gone.
    #[error("{0}")]
    Proxy(String),
}

/// What the loop waits for.
pub(crate) enum Input<S> {
    /// An LLDB has connected.
    Client(S),
    Bytes(Vec<u8>),
    /// LLDB has gone.
    Hangup,
    Event(Event),
    /// The proxy has gone.
    Lost,
}

/// A port for LLDB. At a loopback address it serves this process' own user and root.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
}

impl Listener {
    /// Listens at `address`; anything but loopback only with `remote`.
    ///
    /// # Errors
    /// The port is taken, or it is no loopback address.
    pub fn bind(address: SocketAddr, remote: bool) -> Result<Self, ServeError> {
        if !address.ip().is_loopback() && !remote {
            return Err(ServeError::NotLoopback(address));
        }
        let listener = TcpListener::bind(address).map_err(|source| ServeError::Listen { address, source })?;
        Ok(Self { listener })
    }

    /// Where, with the port that the system chose.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves one LLDB after the other until the proxy is gone; one that connects while another is
    /// served is turned away, and so is another user's, which is told to `report`. Between two of them
    /// nothing stays stopped.
    ///
    /// # Errors
    /// See [`ServeError`]; it only ends with one.
    pub fn serve(self, attached: Attached, report: impl Fn(&str) + Send + 'static) -> Result<(), ServeError> {
        let (inputs, input) = mpsc::sync_channel(INPUTS);
        accept(self.listener, inputs.clone(), report)?;
        serve_clients(attached, &inputs, &input)
    }
}

/// Serves the LLDBs that come by `input`, one after the other, until the proxy is gone.
pub(crate) fn serve_clients<S: Stream>(
    attached: Attached,
    inputs: &SyncSender<Input<S>>,
    input: &Receiver<Input<S>>,
) -> Result<(), ServeError> {
    let Attached { client, events, modules, .. } = attached;
    forward(events, inputs.clone())?;
    let mut filters = Filters::new(client, modules);
    let mut next = None;
    loop {
        let stream = match next.take() {
            Some(stream) => stream,
            None => wait_for_client(&mut filters, input)?,
        };
        listen_to(stream.try_clone()?, inputs.clone())?;
        let ended = talk(&mut filters, stream, input);
        filters.let_go();
        next = ended.map_err(ServeError::Proxy)?;
    }
}

/// While nobody debugs nothing stays stopped.
fn wait_for_client<S>(filters: &mut Filters, input: &Receiver<Input<S>>) -> Result<S, ServeError> {
    loop {
        match input.recv() {
            Ok(Input::Client(stream)) => return Ok(stream),
            Ok(Input::Event(event)) => {
                take(filters, event);
                filters.let_go();
            }
            Ok(Input::Bytes(_) | Input::Hangup) => {}
            Ok(Input::Lost) | Err(_) => return Err(ServeError::Proxy(fault_of(filters))),
        }
    }
}

fn forward<S: Stream>(events: Events, inputs: SyncSender<Input<S>>) -> io::Result<()> {
    let body = move || {
        for event in events.iter() {
            if inputs.send(Input::Event(event)).is_err() {
                return;
            }
        }
        let _ = inputs.send(Input::Lost);
    };
    thread::Builder::new().name("wasmdbg-events".into()).spawn(body)?;
    Ok(())
}

/// Connections come from a thread of their own, so that the end of the proxy shows meanwhile.
fn accept(
    listener: TcpListener,
    inputs: SyncSender<Input<TcpStream>>,
    report: impl Fn(&str) + Send + 'static,
) -> io::Result<()> {
    // Elsewhere it is open to whoever reaches it, as the user has said.
    let own_machine = listener.local_addr()?.ip().is_loopback();
    let mut admission = Admission::default();
    let body = move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Of one connection, or of too many.
                thread::sleep(RETRY);
                continue;
            };
            if own_machine && let Err(refusal) = admission.check(&stream) {
                refusal.line.iter().for_each(|line| report(line));
                continue;
            }
            // Packets are small, and each is waited for; a connection that is gone shows when it is read.
            let _ = stream.set_nodelay(true);
            if inputs.send(Input::Client(stream)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("wasmdbg-accept".into()).spawn(body)?;
    Ok(())
}

pub(crate) fn listen_to<S: Stream>(mut stream: S, inputs: SyncSender<Input<S>>) -> io::Result<()> {
    let body = move || {
        let mut chunk = vec![0; 16 << 10];
        while let Ok(count @ 1..) = stream.read(&mut chunk) {
            if inputs.send(Input::Bytes(chunk[..count].to_vec())).is_err() {
                return;
            }
        }
        let _ = inputs.send(Input::Hangup);
    };
    thread::Builder::new().name("wasmdbg-lldb".into()).spawn(body)?;
    Ok(())
}

type Machine<'a, S> = GdbStubStateMachine<'a, Filters, Buffered<S>>;
type Fault = gdbstub::stub::GdbStubError<CallError, io::Error>;

/// Serves one LLDB. Returns the next one if it is there already, or why there will be none.
pub(crate) fn talk<S: Stream>(
    filters: &mut Filters,
    stream: S,
    input: &Receiver<Input<S>>,
) -> Result<Option<S>, String> {
    let bytes = Vec::new().into_iter();
    let mut conversation =
        Conversation { filters, input, bytes, alive: None, interrupted: 0, hung_up: false };
    let ended = conversation.run(&stream);
    let mut hung_up = conversation.hung_up;
    // A reader that still waits must not hand its bytes to the next conversation.
    stream.close();
    let lost = match ended {
        Ok(lost) => lost,
        Err(fault) => fault.into_target_error().map(|error| error.to_string()),
    };
    if let Some(why) = lost {
        return Err(why);
    }
    let mut next = None;
    while !hung_up {
        match input.recv() {
            Ok(Input::Hangup) => hung_up = true,
            Ok(Input::Client(stream)) => next = Some(stream),
            Ok(Input::Bytes(_)) => {}
            Ok(Input::Event(event)) => take(filters, event),
            Ok(Input::Lost) | Err(_) => return Err(fault_of(filters)),
        }
    }
    Ok(next)
}

fn fault_of(filters: &Filters) -> String {
    let fault = filters.client.fault().map(|fault| fault.to_string());
    fault.unwrap_or_else(|| String::from("the proxy is gone"))
}

/// What an event means when nobody waits for it.
fn take(filters: &mut Filters, event: Event) {
    match event {
        Event::Stopped(stopped) if stopped.control => filters.threads.add(*stopped),
        Event::Released(released) => filters.threads.remove(released.stop),
        _ => {}
    }
}

struct Conversation<'a, S> {
    filters: &'a mut Filters,
    input: &'a Receiver<Input<S>>,
    /// What LLDB has sent and gdbstub has not seen.
    bytes: std::vec::IntoIter<u8>,
    alive: Option<Instant>,
    /// Callbacks that were asked to stop and have not, if they can still.
    interrupted: u32,
    hung_up: bool,
}

/// What a conversation has waited for.
enum Heard {
    /// LLDB has said something, or what concerns nobody has happened.
    Nothing,
    Event(Event),
    /// LLDB has gone.
    Hangup,
    /// The proxy has gone, and why.
    Lost(String),
}

impl<S: Stream> Conversation<'_, S> {
    fn run(&mut self, stream: &S) -> Result<Option<String>, Fault> {
        let Ok(writing) = stream.try_clone() else { return Ok(None) };
        // A buffer of gdbstub's own would grow with what LLDB sends.
        let mut buffer = vec![0; PACKET];
        let stub = GdbStub::builder(Buffered::new(writing)).with_packet_buffer(&mut buffer).build();
        let Ok(stub) = stub else { return Ok(Some(String::from("no packet buffer: a fault of wasmdbg"))) };
        let mut machine: Machine<'_, S> = stub.run_state_machine(self.filters)?;
        loop {
            machine = match machine {
                GdbStubStateMachine::Disconnected(mut inner) => {
                    let _ = inner.borrow_conn().flush();
                    return Ok(None);
                }
                GdbStubStateMachine::CtrlCInterrupt(inner) => {
                    let reason = self.interrupt();
                    inner.interrupt_handled(self.filters, reason)?
                }
                machine if !self.bytes.as_slice().is_empty() => self.feed(machine)?,
                GdbStubStateMachine::Running(inner) => match self.due() {
                    Ok(standing) => self.report(inner, standing)?,
                    Err(()) => match self.wait() {
                        Heard::Nothing => inner.into(),
                        Heard::Event(event) => self.take_running(inner, event)?,
                        Heard::Hangup => return Ok(None),
                        Heard::Lost(why) => {
                            let reason = MultiThreadStopReason::Exited(0);
                            let _ = inner.report_stop(self.filters, reason);
                            return Ok(Some(why));
                        }
                    },
                },
                GdbStubStateMachine::Idle(inner) => match self.wait() {
                    Heard::Nothing => {
                        if !self.bytes.as_slice().is_empty() {
                            self.sign_of_life();
                        }
                        inner.into()
                    }
                    Heard::Event(event) => {
                        take(self.filters, event);
                        inner.into()
                    }
                    Heard::Hangup => return Ok(None),
                    Heard::Lost(why) => return Ok(Some(why)),
                },
            };
        }
    }

    fn wait(&mut self) -> Heard {
        match self.input.recv() {
            Ok(Input::Bytes(more)) => {
                self.bytes = more.into_iter();
                Heard::Nothing
            }
            // Turned away.
            Ok(Input::Client(_)) => Heard::Nothing,
            Ok(Input::Event(event)) => Heard::Event(event),
            Ok(Input::Hangup) => {
                self.hung_up = true;
                Heard::Hangup
            }
            Ok(Input::Lost) | Err(_) => Heard::Lost(fault_of(self.filters)),
        }
    }

    /// The next byte of LLDB's to gdbstub.
    fn feed<'m>(&mut self, machine: Machine<'m, S>) -> Result<Machine<'m, S>, Fault> {
        let Some(byte) = self.bytes.next() else { return Ok(machine) };
        match machine {
            GdbStubStateMachine::Idle(inner) => inner.incoming_data(self.filters, byte),
            GdbStubStateMachine::Running(inner) => inner.incoming_data(self.filters, byte),
            other => Ok(other),
        }
    }

    /// An event while LLDB waits for a stop.
    fn take_running<'m>(
        &mut self,
        inner: GdbStubStateMachineInner<'m, Running, Filters, Buffered<S>>,
        event: Event,
    ) -> Result<Machine<'m, S>, Fault> {
        let Some(signal) = self.end_of_run(&event) else {
            take(self.filters, event);
            return Ok(inner.into());
        };
        inner.report_stop(self.filters, MultiThreadStopReason::SignalWithThread { tid: PROXY, signal })
    }

    /// Makes what runs stop. With nothing that could, LLDB stands by what is returned, and the proxy goes on.
    fn interrupt(&mut self) -> Option<MultiThreadStopReason<u64>> {
        let noted = self.filters.client.call(Interrupt { slot: None });
        self.interrupted = noted.map_or(0, |noted| noted.slots);
        let tid = self.filters.threads.tid();
        let reason = MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGINT };
        // Otherwise the stop is on its way.
        (self.interrupted == 0).then_some(reason)
    }

    /// With which signal LLDB stops waiting when a callback ends: its step has left the filter, or the
    /// last callback that it interrupted was over before it came to a place where it could stop.
    fn end_of_run(&mut self, event: &Event) -> Option<Signal> {
        let Event::CallbackEnded(ended) = event else { return None };
        if self.filters.stepping == Some(ended.slot) {
            self.filters.stepping = None;
            return Some(Signal::SIGTRAP);
        }
        let last = self.interrupted == 1;
        self.interrupted = self.interrupted.saturating_sub(1);
        last.then_some(Signal::SIGINT)
    }

    /// LLDB is at work: the deadline of what stands counts from now.
    fn sign_of_life(&mut self) {
        if self.filters.threads.current.is_some() && self.alive.is_none_or(|last| last.elapsed() >= ALIVE) {
            self.alive = Some(Instant::now());
            // A lost connection shows elsewhere.
            let _ = self.filters.client.call(Activity {});
        }
    }

    /// A stop that LLDB can be shown now.
    fn due(&mut self) -> Result<Standing, ()> {
        while let Some(stopped) = self.filters.threads.next(self.filters.stepping) {
            // One that is over by now is no news.
            if let Ok(standing) = Standing::new(&self.filters.client, stopped) {
                return Ok(standing);
            }
        }
        Err(())
    }

    fn report<'m>(
        &mut self,
        inner: GdbStubStateMachineInner<'m, Running, Filters, Buffered<S>>,
        standing: Standing,
    ) -> Result<Machine<'m, S>, Fault> {
        let tid = standing.tid();
        let reason = match &standing.stopped.reason {
            StopReason::Breakpoint { .. } => MultiThreadStopReason::SwBreak(tid),
            StopReason::Step => MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGTRAP },
            StopReason::Interrupt => MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGINT },
            StopReason::Trap { .. } => {
                MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGSEGV }
            }
        };
        // LLDB does not know a breakpoint where a step ends, even if one stands there.
        let reason = match (reason, self.filters.stepping.take()) {
            (MultiThreadStopReason::SwBreak(tid), Some(_)) => {
                MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGTRAP }
            }
            (reason, _) => reason,
        };
        self.interrupted = 0;
        self.filters.threads.current = Some(standing);
        // LLDB takes the pc of a stop from here.
        let pc = self.filters.pc().to_le_bytes();
        let mut registers = std::iter::once((WasmRegId::Pc, pc.as_slice()));
        inner.report_stop_with_regs(self.filters, reason, &mut registers)
    }
}
