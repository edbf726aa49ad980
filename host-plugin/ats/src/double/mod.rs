//! A server in memory for unit tests: event threads, transactions and their hooks, behind the same table
//! of functions. It calls in the order in which Traffic Server does: re-enabling a transaction on its home
//! thread runs its next hooks before it returns; from another thread it is scheduled home.
//!
//! A test is an event thread; other threads of it become one by [`EventLoop::new`].

#![expect(unsafe_code, reason = "the server's C interface, from the other side")]

mod connections;
mod messages;
mod threads;
mod transactions;

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use wasmdbg_control::rules::Rule;
use wasmdbg_control::server::ServerLoop;
use wasmdbg_control::session::{Attach, LaneStart};
use wasmdbg_control::{Client, Connection, Events, FilterId, TransactionId};
use wasmdbg_proxy_wasm::{
    Agent, AgentParts, Embedder, Filter, FilterConfig, Level, Runtime, Settings, ThreadHandle,
};

use crate::embedder::Server;
use crate::hooks;
use crate::plugin::Plugin;
use crate::sys;

pub(crate) use connections::{Certificate, REQUEST_BYTES, RESPONSE_BYTES, STARTED};
pub(crate) use messages::Message;
pub(crate) use threads::{EventLoop, locked};
pub(crate) use transactions::{At, Exchange, Transaction};

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const FAILURE: c_int = -1;

thread_local! {
    static PLUGIN: Cell<Option<&'static Plugin>> = const { Cell::new(None) };
}

/// As in the product, but for one thread.
pub(crate) fn plugin() -> Option<&'static Plugin> {
    PLUGIN.get()
}

/// Makes it this thread's plugin.
pub(crate) fn set_plugin(plugin: Plugin) -> Option<&'static Plugin> {
    let plugin: &'static Plugin = Box::leak(Box::new(plugin));
    EventLoop::this()?.serve(plugin);
    Some(plugin)
}

fn enter_plugin(plugin: Option<&'static Plugin>) {
    PLUGIN.set(plugin);
}

/// Serves filters, text by name, on the calling thread; none of them has a virtual machine more than it
/// needs. `settings` are those of `wasmdbg.yaml`.
pub(crate) fn serve(filters: &[(&str, &str, bool)], settings: &str) -> &'static EventLoop {
    serve_at(None, "", filters, settings)
}

/// As [`serve`], with more lines of `config` in the file of each filter.
pub(crate) fn serve_with(lines: &str, filters: &[(&str, &str, bool)], settings: &str) -> &'static EventLoop {
    serve_at(None, lines, filters, settings)
}

/// As [`serve`], for debuggers too: hooks that are only for them are there.
pub(crate) fn serve_debuggers(filters: &[(&str, &str, bool)], settings: &str) -> &'static EventLoop {
    serve_at(Some("/nowhere/wasmdbg.sock".into()), "", filters, settings)
}

/// The server as the host of filters, whose threads may be used up.
struct Host {
    server: Server,
    thread: &'static EventLoop,
}

impl Embedder for Host {
    fn host_name(&self) -> String {
        self.server.host_name()
    }

    fn log(&self, level: Level, filter: &str, transaction: Option<TransactionId>, message: &str) {
        self.server.log(level, filter, transaction, message);
    }

    fn task(&self, body: Box<dyn FnOnce() + Send>) {
        self.server.task(body);
    }

    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Result<Box<dyn ThreadHandle>, String> {
        if self.thread.exhausted.load(Ordering::SeqCst) {
            return Err(String::from("no thread is left"));
        }
        self.server.spawn(name, body)
    }
}

fn serve_at(
    socket: Option<PathBuf>,
    lines: &str,
    filters: &[(&str, &str, bool)],
    settings: &str,
) -> &'static EventLoop {
    sys::load_double(&find);
    let thread = EventLoop::new(None);
    let server: Arc<dyn Embedder> = Arc::new(Host { server: Server::new("in memory".into()), thread });
    let (settings, _) = Settings::parse(settings, "settings".as_ref()).unwrap();
    let (runtime, _traps) = Runtime::new(server, settings, 1 << 20).unwrap();
    let load = |(index, (name, text, fail_open)): (usize, &(&str, &str, bool))| {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wasmdbg-ats-{}-{number}.wasm", std::process::id()));
        std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
        let yaml = format!(
            "config:\n  name: {name}\n  fail_open: {fail_open}\n{lines}  vmConfig:\n    code:\n      local:\n        filename: {}\n",
            path.display()
        );
        let (config, _) = FilterConfig::parse(&yaml, "/nowhere/filter.yaml".as_ref(), None).unwrap();
        let filter = Filter::load(&runtime, FilterId(index as u32), config, 1);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(filter.inactive_reason(), None);
        filter
    };
    let filters = filters.iter().enumerate().map(load).collect();
    let plugin = Plugin::new(runtime, filters, socket, hooks::continuation().unwrap());
    hooks::register(plugin.install().unwrap());
    thread
}

/// Attaches a client to all transactions of the calling thread's plugin, in the debug lanes of `filters`, which
/// are ready when this returns; they are as long as the client is.
pub(crate) fn attach(filters: &[&str]) -> Client {
    attach_by(filters, Vec::new())
}

/// As [`attach`], to the transactions that `rules` take.
pub(crate) fn attach_by(filters: &[&str], rules: Vec<Rule>) -> Client {
    attach_with_events(filters, rules).0
}

/// As [`attach_by`], with what the client is told.
pub(crate) fn attach_with_events(filters: &[&str], rules: Vec<Rule>) -> (Client, Events) {
    let plugin = plugin().unwrap();
    let mut server = ServerLoop::new(None, Agent::welcome(&plugin.lane)).unwrap();
    let remote = server.remote();
    let mut agent = Agent::new(AgentParts {
        lane: Arc::clone(&plugin.lane),
        filters: plugin.filters.clone(),
        traps: mpsc::channel().1,
        symbolise: Box::new(|_, _| None),
        users: Vec::new(),
        cache_folder: None,
        transactions: Box::new(|| 0),
        waker: server.waker(),
    });
    std::thread::spawn(move || server.run(&mut agent).unwrap());
    let connection = Connection::over(remote.connect().unwrap()).unwrap();
    let (client, events) = Client::greet(connection, "test 1.0").unwrap();
    let attach = Attach {
        filters: filters.iter().map(|name| String::from(*name)).collect(),
        all: rules.is_empty(),
        rules,
        deadline_ms: None,
        start: LaneStart::AtOnce,
    };
    client.call_within(attach, PATIENCE).unwrap();
    (client, events)
}

unsafe extern "C" fn unexpected() {
    eprintln!("the plugin called a function that the server in memory does not have");
    std::process::abort();
}

fn find(name: &str) -> *mut c_void {
    threads::find(name)
        .or_else(|| transactions::find(name))
        .or_else(|| messages::find(name))
        .or_else(|| connections::find(name))
        .unwrap_or(unexpected as *mut c_void)
}
