//! Transactions: what is exchanged, the order of their hooks, and what re-enabling means at each.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::RawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::FAILURE;
use super::connections::{Addresses, Connection, settings};
use super::messages::Message;
use super::threads::{Continuation, EventLoop, Pointer};
use crate::sys::{self, TS_SUCCESS, TSCont};

/// A hook, or what comes between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Connected,
    Start,
    Request,
    Origin,
    Response,
    Close,
    Over,
}

/// What client and origin do.
pub(crate) struct Exchange {
    pub(crate) request: &'static Message,
    /// The origin's.
    pub(crate) response: &'static Message,
    /// From the top, as the server names them.
    pub(crate) protocols: Vec<&'static CStr>,
    /// The client's socket.
    pub(crate) socket: Option<RawFd>,
    /// It stays between request and response until [`Transaction::respond`].
    pub(crate) origin_waits: bool,
    /// The time-outs of the records that can be set for a transaction, in seconds.
    pub(crate) records: [i64; 3],
}

impl Exchange {
    /// `GET /`, to which the origin answers at once.
    pub(crate) fn new() -> Self {
        Self {
            request: Message::request("GET", "/").with("Host", "example.com"),
            response: Message::response(200).with("Content-Length", "2"),
            protocols: vec![c"http/1.1", c"tcp", c"ipv4"],
            socket: None,
            origin_waits: false,
            records: settings(),
        }
    }

    /// The request comes, on the calling thread. Returns when its hooks have.
    pub(crate) fn start(self) -> &'static Transaction {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let state = TransactionState {
            at: At::Connected,
            argument: 0,
            answer: None,
            answered: false,
            own_start_hook: None,
            own_response_hook: false,
            left: Vec::new(),
            response: None,
            sent: false,
            closes: false,
        };
        let made: &'static Transaction = Box::leak(Box::new(Transaction {
            id: NUMBER.fetch_add(1, Ordering::Relaxed),
            home: EventLoop::this().unwrap(),
            settings: Mutex::new(self.records),
            exchange: self,
            addresses: Addresses::new(),
            client: Connection::default(),
            origin: Connection::default(),
            aborted: AtomicBool::new(false),
            state: Mutex::new(state),
        }));
        made.arrive();
        made
    }
}

/// A transaction.
pub(crate) struct Transaction {
    id: u64,
    home: &'static EventLoop,
    pub(super) exchange: Exchange,
    pub(super) addresses: Addresses,
    /// The connection to the client.
    pub(crate) client: Connection,
    /// The connection to the origin.
    pub(crate) origin: Connection,
    /// The time-outs that can be set for it, in seconds.
    pub(crate) settings: Mutex<[i64; 3]>,
    /// The client has left.
    pub(crate) aborted: AtomicBool,
    state: Mutex<TransactionState>,
}

struct TransactionState {
    at: At,
    argument: usize,
    /// Status, body and content type.
    answer: Option<(u16, Vec<u8>, String)>,
    /// The response is that of `answer`.
    answered: bool,
    /// Its session has TXN_START handled there.
    own_start_hook: Option<Pointer<Continuation>>,
    own_response_hook: bool,
    left: Vec<(At, c_int)>,
    response: Option<&'static Message>,
    /// The request went to the origin.
    sent: bool,
    /// The connection is not kept.
    closes: bool,
}

impl Transaction {
    /// `GET /`; `origin_waits`: it stays between request and response until [`Transaction::respond`].
    pub(crate) fn start(origin_waits: bool) -> &'static Self {
        Exchange { origin_waits, ..Exchange::new() }.start()
    }

    /// The origin's response comes, on the calling thread.
    pub(crate) fn respond(&'static self) {
        self.state.lock().unwrap().at = At::Response;
        self.arrive();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.at() == At::Over
    }

    pub(crate) fn at(&self) -> At {
        self.state.lock().unwrap().at
    }

    /// The server's number for it.
    pub(crate) fn number(&self) -> u64 {
        self.id
    }

    /// The status and body that a filter gave.
    pub(crate) fn answer(&self) -> Option<(u16, String)> {
        let state = self.state.lock().unwrap();
        state.answer.as_ref().map(|(status, body, _)| (*status, String::from_utf8_lossy(body).into_owned()))
    }

    /// Which hooks it left, and with which event.
    pub(crate) fn left(&self) -> Vec<(At, c_int)> {
        self.state.lock().unwrap().left.clone()
    }

    /// The request as the filters change it.
    pub(crate) fn request(&self) -> &'static Message {
        self.exchange.request
    }

    /// The response as the client gets it; none before there is one.
    pub(crate) fn response(&self) -> Option<&'static Message> {
        self.state.lock().unwrap().response
    }

    /// Whether the client's connection serves further requests.
    pub(crate) fn keeps_its_connection(&self) -> bool {
        !self.state.lock().unwrap().closes
    }

    /// Whether its TXN_START is handled.
    pub(crate) fn has_start_hook(&self) -> bool {
        self.state.lock().unwrap().own_start_hook.is_some()
    }

    pub(super) fn sent(&self) -> bool {
        self.state.lock().unwrap().sent
    }

    pub(super) fn client_is_gone(&self) -> bool {
        matches!(self.at(), At::Close | At::Over)
    }

    /// Calls the plugin at a hook, or goes on when it is not called there.
    fn arrive(&'static self) {
        let (at, start, own) = {
            let mut state = self.state.lock().unwrap();
            if state.at == At::Response && state.response.is_none() {
                state.response = Some(match &state.answer {
                    Some(answer) => page(answer),
                    None => self.exchange.response,
                });
                state.answered = state.answer.is_some();
            }
            (state.at, state.own_start_hook.filter(|_| state.at == At::Start), state.own_response_hook)
        };
        let (hook, event) = match at {
            At::Connected => (sys::hook::SSN_START, sys::event::HTTP_SSN_START),
            At::Start => (sys::hook::TXN_START, sys::event::HTTP_TXN_START),
            At::Request => (sys::hook::READ_REQUEST_HDR, sys::event::HTTP_READ_REQUEST_HDR),
            At::Response => (sys::hook::SEND_RESPONSE_HDR, sys::event::HTTP_SEND_RESPONSE_HDR),
            At::Close => (sys::hook::TXN_CLOSE, sys::event::HTTP_TXN_CLOSE),
            At::Origin | At::Over => return,
        };
        let hooks = self.home.hooks.lock().unwrap().clone();
        let global = hooks.iter().find(|(own, _)| *own == hook);
        let added = hooks.first().filter(|_| own && at == At::Response);
        match start.or(global.or(added).map(|(_, continuation)| *continuation)) {
            Some(continuation) => continuation.call(event, std::ptr::from_ref(self).cast_mut().cast()),
            None => self.go_on(sys::event::HTTP_CONTINUE),
        }
    }

    pub(super) fn go_on(&'static self, event: c_int) {
        {
            let mut state = self.state.lock().unwrap();
            let at = state.at;
            if !matches!(at, At::Connected | At::Start) {
                state.left.push((at, event));
            }
            let failed = event == sys::event::HTTP_ERROR;
            state.at = match at {
                At::Connected => At::Start,
                At::Start => At::Request,
                At::Request if failed => {
                    state.closes = true;
                    state.answer.get_or_insert((500, Vec::new(), String::new()));
                    At::Response
                }
                At::Request if state.answer.is_some() => At::Response,
                At::Request => {
                    state.sent = true;
                    if self.exchange.origin_waits { At::Origin } else { At::Response }
                }
                At::Origin => At::Response,
                // The error page is made, and the hook comes again. Without it an answer is nothing.
                At::Response if failed => {
                    state.response = None;
                    At::Response
                }
                At::Response => At::Close,
                At::Close => At::Over,
                At::Over => panic!("re-enabled after its end"),
            };
        }
        self.arrive();
    }
}

/// The server's own page.
fn page((status, body, kind): &(u16, Vec<u8>, String)) -> &'static Message {
    Message::response(*status)
        .with("Date", "Thu, 01 Jan 1970 00:00:00 GMT")
        .with("Server", "ATS/9.2.9")
        .with("Content-Type", kind)
        .with("Content-Language", "en")
        .with("Content-Length", &body.len().to_string())
}

pub(super) fn transaction(pointer: sys::TSHttpTxn) -> &'static Transaction {
    // SAFETY: transactions are leaked.
    unsafe { pointer.cast::<Transaction>().as_ref() }.unwrap()
}

unsafe extern "C" fn reenable(txn: sys::TSHttpTxn, event: c_int) {
    let transaction = transaction(txn);
    transaction.home.reenable(transaction, event);
}

unsafe extern "C" fn add_hook(hook: c_int, cont: TSCont) {
    let thread = EventLoop::this().unwrap();
    thread.hooks.lock().unwrap().push((hook, Pointer::of(cont)));
}

unsafe extern "C" fn add_own_hook(txn: sys::TSHttpTxn, hook: c_int, _cont: TSCont) {
    assert_eq!(hook, sys::hook::SEND_RESPONSE_HDR);
    transaction(txn).state.lock().unwrap().own_response_hook = true;
}

/// A session has one transaction.
unsafe extern "C" fn add_session_hook(session: sys::TSHttpSsn, hook: c_int, cont: TSCont) {
    assert_eq!(hook, sys::hook::TXN_START);
    transaction(session.cast()).state.lock().unwrap().own_start_hook = Some(Pointer::of(cont));
}

unsafe extern "C" fn reenable_session(session: sys::TSHttpSsn, event: c_int) {
    let transaction = transaction(session.cast());
    assert_eq!(transaction.at(), At::Connected);
    transaction.go_on(event);
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

unsafe extern "C" fn aborted(txn: sys::TSHttpTxn, by_client: *mut bool) -> c_int {
    let aborted = transaction(txn).aborted.load(Ordering::Relaxed);
    // SAFETY: by the caller.
    unsafe { by_client.write(aborted) };
    if aborted { TS_SUCCESS } else { FAILURE }
}

unsafe extern "C" fn client_request(
    txn: sys::TSHttpTxn,
    buffer: *mut sys::TSMBuffer,
    location: *mut sys::TSMLoc,
) -> c_int {
    let transaction = transaction(txn);
    // It cannot be read before.
    if matches!(transaction.at(), At::Connected | At::Start) {
        return FAILURE;
    }
    // SAFETY: by the caller.
    unsafe { transaction.request().give(buffer, location) }
}

unsafe extern "C" fn client_response(
    txn: sys::TSHttpTxn,
    buffer: *mut sys::TSMBuffer,
    location: *mut sys::TSMLoc,
) -> c_int {
    match transaction(txn).response() {
        // SAFETY: by the caller.
        Some(response) => unsafe { response.give(buffer, location) },
        None => FAILURE,
    }
}

unsafe extern "C" fn set_status(txn: sys::TSHttpTxn, status: c_int) {
    let status = u16::try_from(status).unwrap();
    transaction(txn).state.lock().unwrap().answer = Some((status, Vec::new(), String::new()));
}

unsafe extern "C" fn set_body(txn: sys::TSHttpTxn, text: *mut c_char, length: usize, mime: *mut c_char) {
    // SAFETY: by the caller; both came from `allocate`.
    let (body, kind) = unsafe {
        let body = std::slice::from_raw_parts(text.cast::<u8>(), length).to_vec();
        let kind = CStr::from_ptr(mime).to_string_lossy().into_owned();
        libc::free(text.cast());
        libc::free(mime.cast());
        (body, kind)
    };
    if let Some(answer) = &mut transaction(txn).state.lock().unwrap().answer {
        (answer.1, answer.2) = (body, kind);
    }
}

unsafe extern "C" fn allocate(size: usize, _path: *const c_char) -> *mut c_void {
    // SAFETY: `malloc` takes any size.
    unsafe { libc::malloc(size) }
}

pub(super) fn find(name: &str) -> Option<*mut c_void> {
    Some(match name {
        "TSHttpHookAdd" => add_hook as *mut c_void,
        "TSHttpTxnHookAdd" => add_own_hook as *mut c_void,
        "TSHttpSsnHookAdd" => add_session_hook as *mut c_void,
        "TSHttpSsnReenable" => reenable_session as *mut c_void,
        "TSHttpTxnReenable" => reenable as *mut c_void,
        "TSUserArgIndexReserve" => reserve as *mut c_void,
        "TSUserArgSet" => set_argument as *mut c_void,
        "TSUserArgGet" => get_argument as *mut c_void,
        "TSHttpTxnIdGet" => id as *mut c_void,
        "TSHttpTxnAborted" => aborted as *mut c_void,
        "TSHttpTxnClientReqGet" => client_request as *mut c_void,
        "TSHttpTxnClientRespGet" => client_response as *mut c_void,
        "TSHttpTxnStatusSet" => set_status as *mut c_void,
        "TSHttpTxnErrorBodySet" => set_body as *mut c_void,
        "_TSmalloc" => allocate as *mut c_void,
        _ => return None,
    })
}
