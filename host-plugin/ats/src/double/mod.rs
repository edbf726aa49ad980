//! A server in memory for unit tests: event threads, transactions and their hooks, behind the same table
//! of functions. It calls in the order in which Traffic Server does: re-enabling a transaction on its home
//! thread runs its next hooks before it returns; from another thread it is scheduled home.
//!
//! A test is an event thread; other threads of it become one by [`EventLoop::new`]. The server has no
//! headers.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use wasmdbg_control::server::ServerLoop;
use wasmdbg_control::session::{Attach, LaneStart};
use wasmdbg_control::{Client, Connection, FilterId};
use wasmdbg_proxy_wasm::{Agent, AgentParts, Embedder, Filter, FilterConfig, Runtime, Settings};

use crate::embedder::Server;
use crate::plugin::Plugin;
use crate::sys::{self, TS_SUCCESS, TSCont, TSEventFunc, TSThreadFunc};

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const FAILURE: c_int = -1;

thread_local! {
    static PLUGIN: Cell<Option<&'static Plugin>> = const { Cell::new(None) };
    static CURRENT: Cell<Option<&'static EventLoop>> = const { Cell::new(None) };
}

/// As in the product, but for one thread.
pub(crate) fn plugin() -> Option<&'static Plugin> {
    PLUGIN.get()
}

/// Makes it this thread's plugin.
pub(crate) fn set_plugin(plugin: Plugin) -> Option<&'static Plugin> {
    PLUGIN.set(Some(Box::leak(Box::new(plugin))));
    PLUGIN.get()
}

/// Serves filters, text by name, on the calling thread; none of them has a virtual machine more than it
/// needs. `settings` are those of `wasmdbg.yaml`.
pub(crate) fn serve(filters: &[(&str, &str, bool)], settings: &str) -> &'static EventLoop {
    sys::load_double(&find);
    let thread = EventLoop::new(None);
    let server: Arc<dyn Embedder> = Arc::new(Server::new("in memory".into()));
    let (settings, _) = Settings::parse(settings, "settings".as_ref()).unwrap();
    let (runtime, _traps) = Runtime::new(server, settings, 1 << 20).unwrap();
    let load = |(index, (name, text, fail_open)): (usize, &(&str, &str, bool))| {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wasmdbg-ats-{}-{number}.wasm", std::process::id()));
        std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
        let yaml = format!(
            "config:\n  name: {name}\n  fail_open: {fail_open}\n  vmConfig:\n    code:\n      local:\n        filename: {}\n",
            path.display()
        );
        let (config, _) = FilterConfig::parse(&yaml, "/nowhere/filter.yaml".as_ref(), None).unwrap();
        let filter = Filter::load(&runtime, FilterId(index as u32), config, 1);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(filter.inactive_reason(), None);
        filter
    };
    let filters = filters.iter().enumerate().map(load).collect();
    Plugin::new(runtime, filters, None).unwrap().install();
    thread
}

/// Attaches a client to all transactions of the calling thread's plugin, in the debug lanes of `filters`, which
/// are ready when this returns; they are as long as the client is.
pub(crate) fn attach(filters: &[&str]) -> Client {
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
    let (client, _) = Client::greet(connection, "test 1.0").unwrap();
    let attach = Attach {
        filters: filters.iter().map(|name| String::from(*name)).collect(),
        rules: Vec::new(),
        all: true,
        deadline_ms: None,
        start: LaneStart::AtOnce,
    };
    client.call_within(attach, PATIENCE).unwrap();
    client
}

/// An event thread.
pub(crate) struct EventLoop {
    events: Mutex<VecDeque<Event>>,
    /// Lines that were logged on it.
    log: Mutex<Vec<String>>,
    /// Work for other threads is not done.
    pub(crate) holds_tasks: AtomicBool,
    /// Where hooks are handled.
    hooks: Mutex<Vec<(c_int, Pointer<Continuation>)>>,
    /// The lowest address of a frame that re-enabled a transaction.
    deepest: Mutex<usize>,
}

struct Event {
    due: Instant,
    work: Work,
}

enum Work {
    Call(Pointer<Continuation>),
    Reenable(&'static Transaction, c_int),
}

struct Pointer<T>(*mut T);

impl<T> Clone for Pointer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Pointer<T> {}

// SAFETY: continuations are leaked, and called by one thread at a time; the data of a thread is its own.
unsafe impl<T> Send for Pointer<T> {}

struct Continuation {
    handler: TSEventFunc,
    data: Cell<*mut c_void>,
}

impl EventLoop {
    /// Makes the calling thread one, with the plugin of another.
    pub(crate) fn new(plugin: Option<&'static Plugin>) -> &'static Self {
        let made: &'static Self = Box::leak(Box::new(Self {
            events: Mutex::default(),
            log: Mutex::default(),
            holds_tasks: AtomicBool::new(false),
            hooks: Mutex::default(),
            deepest: Mutex::new(usize::MAX),
        }));
        CURRENT.set(Some(made));
        PLUGIN.set(plugin);
        made
    }

    /// Handles events until `done` says so. How many transactions went on in one event at most.
    pub(crate) fn run(&self, done: impl Fn() -> bool) -> usize {
        let until = Instant::now() + PATIENCE;
        let mut most = 0;
        while !done() {
            let event = {
                let mut events = self.events.lock().unwrap();
                let now = Instant::now();
                let due = events.iter().position(|event| event.due <= now);
                due.and_then(|place| events.remove(place))
            };
            let before = REENABLED.get();
            match event {
                Some(event) => event.work.run(),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
            most = most.max(REENABLED.get() - before);
            assert!(Instant::now() < until, "it never happens; the log: {:#?}", self.log());
        }
        most
    }

    /// Bytes of stack from here to the frame that re-enabled a transaction furthest down since the last call.
    pub(crate) fn depth(&self) -> usize {
        let here = 0_u8;
        let deepest = std::mem::replace(&mut *self.deepest.lock().unwrap(), usize::MAX);
        (&raw const here).addr().saturating_sub(deepest)
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// How many lines of its log contain `text`.
    pub(crate) fn logged(&self, text: &str) -> usize {
        self.log().iter().filter(|line| line.contains(text)).count()
    }

    /// How many of its events are for a time after `wait`.
    pub(crate) fn later(&self, wait: Duration) -> usize {
        let then = Instant::now() + wait;
        self.events.lock().unwrap().iter().filter(|event| event.due > then).count()
    }

    fn push(&self, milliseconds: i64, work: Work) {
        let due = Instant::now() + Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
        self.events.lock().unwrap().push_back(Event { due, work });
    }

    fn this() -> Option<&'static Self> {
        CURRENT.get()
    }
}

thread_local! {
    /// Calls of TSHttpTxnReenable for parked transactions, and all that follows.
    static REENABLED: Cell<usize> = const { Cell::new(0) };
}

impl Work {
    fn run(self) {
        match self {
            Self::Call(continuation) => continuation.call(2, std::ptr::null_mut()),
            Self::Reenable(transaction, event) => transaction.go_on(event),
        }
    }
}

impl Pointer<Continuation> {
    fn call(self, event: c_int, data: *mut c_void) {
        // SAFETY: continuations are leaked.
        unsafe { ((*self.0).handler)(self.0.cast(), event, data) };
    }
}

/// A hook, or what comes between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Request,
    Origin,
    Response,
    Close,
    Over,
}

/// A transaction; `origin_waits`: it stays between request and response until [`Transaction::respond`].
pub(crate) struct Transaction {
    id: u64,
    home: &'static EventLoop,
    origin_waits: bool,
    state: Mutex<TransactionState>,
}

struct TransactionState {
    at: At,
    argument: usize,
    answer: Option<(u16, Vec<u8>)>,
    own_response_hook: bool,
    left: Vec<(At, c_int)>,
}

impl Transaction {
    /// A request on the calling thread; returns when its hooks have.
    pub(crate) fn start(origin_waits: bool) -> &'static Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let state = TransactionState {
            at: At::Request,
            argument: 0,
            answer: None,
            own_response_hook: false,
            left: Vec::new(),
        };
        let made: &'static Self = Box::leak(Box::new(Self {
            id: NUMBER.fetch_add(1, Ordering::Relaxed),
            home: EventLoop::this().unwrap(),
            origin_waits,
            state: Mutex::new(state),
        }));
        made.arrive();
        made
    }

    /// The origin's response comes, on the calling thread.
    pub(crate) fn respond(&'static self) {
        self.state.lock().unwrap().at = At::Response;
        self.arrive();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().unwrap().at == At::Over
    }

    pub(crate) fn at(&self) -> At {
        self.state.lock().unwrap().at
    }

    /// The status and body that a filter gave.
    pub(crate) fn answer(&self) -> Option<(u16, String)> {
        let state = self.state.lock().unwrap();
        state.answer.as_ref().map(|(status, body)| (*status, String::from_utf8_lossy(body).into_owned()))
    }

    /// Which hooks it left, and with which event.
    pub(crate) fn left(&self) -> Vec<(At, c_int)> {
        self.state.lock().unwrap().left.clone()
    }

    /// Calls the plugin at a hook, or goes on when it is not called there.
    fn arrive(&'static self) {
        let (at, own) = {
            let state = self.state.lock().unwrap();
            (state.at, state.own_response_hook)
        };
        let (hook, event) = match at {
            At::Request => (sys::hook::READ_REQUEST_HDR, sys::event::HTTP_READ_REQUEST_HDR),
            At::Response => (sys::hook::SEND_RESPONSE_HDR, sys::event::HTTP_SEND_RESPONSE_HDR),
            At::Close => (sys::hook::TXN_CLOSE, sys::event::HTTP_TXN_CLOSE),
            At::Origin | At::Over => return,
        };
        let hooks = self.home.hooks.lock().unwrap().clone();
        let global = hooks.iter().find(|(own, _)| *own == hook);
        let added = hooks.first().filter(|_| own && at == At::Response);
        match global.or(added) {
            Some((_, continuation)) => continuation.call(event, std::ptr::from_ref(self).cast_mut().cast()),
            None => self.go_on(sys::event::HTTP_CONTINUE),
        }
    }

    fn go_on(&'static self, event: c_int) {
        {
            let mut state = self.state.lock().unwrap();
            let at = state.at;
            state.left.push((at, event));
            let answered = state.answer.is_some();
            state.at = match at {
                At::Request if self.origin_waits && !answered => At::Origin,
                At::Request | At::Origin => At::Response,
                // The error page is made, and the hook comes again.
                At::Response if event == sys::event::HTTP_ERROR => At::Response,
                At::Response => At::Close,
                At::Close => At::Over,
                At::Over => panic!("re-enabled after its end"),
            };
        }
        self.arrive();
    }
}

fn transaction(pointer: sys::TSHttpTxn) -> &'static Transaction {
    // SAFETY: transactions are leaked.
    unsafe { pointer.cast::<Transaction>().as_ref() }.unwrap()
}

unsafe extern "C" fn reenable(txn: sys::TSHttpTxn, event: c_int) {
    let transaction = transaction(txn);
    match EventLoop::this() {
        Some(thread) if std::ptr::eq(thread, transaction.home) => {
            let here = 0_u8;
            let mut deepest = thread.deepest.lock().unwrap();
            *deepest = (&raw const here).addr().min(*deepest);
            drop(deepest);
            // Its own next hooks nest; it counts once.
            if transaction.at() == At::Request {
                REENABLED.set(REENABLED.get() + 1);
            }
            transaction.go_on(event);
        }
        _ => transaction.home.push(0, Work::Reenable(transaction, event)),
    }
}

unsafe extern "C" fn create(handler: TSEventFunc, _mutex: sys::TSMutex) -> TSCont {
    Box::into_raw(Box::new(Continuation { handler, data: Cell::new(std::ptr::null_mut()) })).cast()
}

unsafe extern "C" fn destroy(_cont: TSCont) {}

unsafe extern "C" fn set_data(cont: TSCont, data: *mut c_void) {
    // SAFETY: continuations are leaked.
    unsafe { (*cont.cast::<Continuation>()).data.set(data) };
}

unsafe extern "C" fn get_data(cont: TSCont) -> *mut c_void {
    // SAFETY: continuations are leaked.
    unsafe { (*cont.cast::<Continuation>()).data.get() }
}

unsafe extern "C" fn mutex_of(_cont: TSCont) -> sys::TSMutex {
    std::ptr::dangling_mut::<u8>().cast()
}

unsafe extern "C" fn create_mutex() -> sys::TSMutex {
    std::ptr::dangling_mut::<u8>().cast()
}

unsafe extern "C" fn lock(_mutex: sys::TSMutex) {}

unsafe extern "C" fn schedule(cont: TSCont, milliseconds: i64, thread: sys::TSEventThread) -> sys::TSAction {
    // SAFETY: event threads are leaked.
    let thread = unsafe { thread.cast::<EventLoop>().as_ref() }.unwrap();
    thread.push(milliseconds, Work::Call(Pointer(cont.cast())));
    std::ptr::null_mut()
}

unsafe extern "C" fn schedule_task(cont: TSCont, _milliseconds: i64, _pool: c_int) -> sys::TSAction {
    if EventLoop::this().is_none_or(|thread| !thread.holds_tasks.load(Ordering::Relaxed)) {
        let work = Work::Call(Pointer(cont.cast()));
        std::thread::spawn(move || work.run());
    }
    std::ptr::null_mut()
}

unsafe extern "C" fn create_thread(body: TSThreadFunc, data: *mut c_void) -> sys::TSThread {
    let data = Pointer(data);
    std::thread::spawn(move || {
        let data = data;
        // SAFETY: by the caller.
        unsafe { body(data.0) };
    });
    std::ptr::dangling_mut::<u8>().cast()
}

unsafe extern "C" fn version() -> *const c_char {
    c"9.2.9".as_ptr()
}

unsafe extern "C" fn current() -> sys::TSEventThread {
    EventLoop::this().map_or(std::ptr::null_mut(), |this| std::ptr::from_ref(this).cast_mut().cast())
}

unsafe extern "C" fn add_hook(hook: c_int, cont: TSCont) {
    let thread = EventLoop::this().unwrap();
    thread.hooks.lock().unwrap().push((hook, Pointer(cont.cast())));
}

unsafe extern "C" fn add_own_hook(txn: sys::TSHttpTxn, hook: c_int, _cont: TSCont) {
    assert_eq!(hook, sys::hook::SEND_RESPONSE_HDR);
    transaction(txn).state.lock().unwrap().own_response_hook = true;
}

unsafe extern "C" fn reserve(
    _kind: c_int,
    _name: *const c_char,
    _about: *const c_char,
    index: *mut c_int,
) -> c_int {
    // SAFETY: by the caller.
    unsafe { index.write(0) };
    TS_SUCCESS
}

unsafe extern "C" fn set_argument(txn: *mut c_void, _index: c_int, value: *mut c_void) {
    transaction(txn.cast()).state.lock().unwrap().argument = value.expose_provenance();
}

unsafe extern "C" fn get_argument(txn: *mut c_void, _index: c_int) -> *mut c_void {
    std::ptr::with_exposed_provenance_mut(transaction(txn.cast()).state.lock().unwrap().argument)
}

unsafe extern "C" fn id(txn: sys::TSHttpTxn) -> u64 {
    transaction(txn).id
}

unsafe extern "C" fn no_header(
    _txn: sys::TSHttpTxn,
    _buffer: *mut sys::TSMBuffer,
    _location: *mut sys::TSMLoc,
) -> c_int {
    FAILURE
}

unsafe extern "C" fn no_connection(_txn: sys::TSHttpTxn) -> *mut c_void {
    std::ptr::null_mut()
}

unsafe extern "C" fn no_socket(_txn: sys::TSHttpTxn, _socket: *mut c_int) -> c_int {
    FAILURE
}

unsafe extern "C" fn not_aborted(_txn: sys::TSHttpTxn, _by_client: *mut bool) -> c_int {
    FAILURE
}

unsafe extern "C" fn no_setting(
    _name: *const c_char,
    _length: c_int,
    _key: *mut c_int,
    _kind: *mut c_int,
) -> c_int {
    FAILURE
}

unsafe extern "C" fn set_status(txn: sys::TSHttpTxn, status: c_int) {
    let status = u16::try_from(status).unwrap();
    transaction(txn).state.lock().unwrap().answer = Some((status, Vec::new()));
}

unsafe extern "C" fn set_body(txn: sys::TSHttpTxn, text: *mut c_char, length: usize, mime: *mut c_char) {
    // SAFETY: by the caller; both came from `allocate`.
    let body = unsafe {
        let body = std::slice::from_raw_parts(text.cast::<u8>(), length).to_vec();
        libc::free(text.cast());
        libc::free(mime.cast());
        body
    };
    if let Some(answer) = &mut transaction(txn).state.lock().unwrap().answer {
        answer.1 = body;
    }
}

unsafe extern "C" fn allocate(size: usize, _path: *const c_char) -> *mut c_void {
    // SAFETY: `malloc` takes any size.
    unsafe { libc::malloc(size) }
}

/// Of the three printers, whose format is always one text. They are called with the convention of variadic
/// functions, which is that of others for two pointers.
unsafe extern "C" fn print(_format: *const c_char, text: *const c_char) {
    // SAFETY: by the caller.
    let line = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    if let Some(thread) = EventLoop::this() {
        thread.log.lock().unwrap().push(line);
    }
}

unsafe extern "C" fn unexpected() {
    eprintln!("the plugin called a function that the server in memory does not have");
    std::process::abort();
}

fn find(name: &str) -> *mut c_void {
    match name {
        "TSContCreate" => create as *mut c_void,
        "TSContDestroy" => destroy as *mut c_void,
        "TSContDataSet" => set_data as *mut c_void,
        "TSContDataGet" => get_data as *mut c_void,
        "TSContMutexGet" => mutex_of as *mut c_void,
        "TSMutexCreate" => create_mutex as *mut c_void,
        "TSMutexLock" | "TSMutexUnlock" => lock as *mut c_void,
        "TSContScheduleOnThread" => schedule as *mut c_void,
        "TSContScheduleOnPool" => schedule_task as *mut c_void,
        "TSEventThreadSelf" => current as *mut c_void,
        "TSHttpHookAdd" => add_hook as *mut c_void,
        "TSHttpTxnHookAdd" => add_own_hook as *mut c_void,
        "TSHttpTxnReenable" => reenable as *mut c_void,
        "TSUserArgIndexReserve" => reserve as *mut c_void,
        "TSUserArgSet" => set_argument as *mut c_void,
        "TSUserArgGet" => get_argument as *mut c_void,
        "TSHttpTxnIdGet" => id as *mut c_void,
        "TSHttpTxnClientReqGet" | "TSHttpTxnClientRespGet" => no_header as *mut c_void,
        "TSTrafficServerVersionGet" => version as *mut c_void,
        "TSThreadCreate" => create_thread as *mut c_void,
        "TSHttpTxnSsnGet" | "TSHttpTxnServerVConnGet" | "TSHttpTxnClientAddrGet" => {
            no_connection as *mut c_void
        }
        "TSHttpTxnClientFdGet" => no_socket as *mut c_void,
        "TSHttpTxnAborted" => not_aborted as *mut c_void,
        "TSHttpTxnConfigFind" => no_setting as *mut c_void,
        "TSHttpTxnStatusSet" => set_status as *mut c_void,
        "TSHttpTxnErrorBodySet" => set_body as *mut c_void,
        "_TSmalloc" => allocate as *mut c_void,
        "TSError" | "TSWarning" | "TSNote" => print as *mut c_void,
        _ => unexpected as *mut c_void,
    }
}
