//! What a proxy gives to the ABI: a log, threads, and the transactions behind stream contexts, which lend their
//! header maps and buffers.

use std::net::IpAddr;
use std::ops::Range;

use wasmdbg_control::TransactionId;
use wasmdbg_control::text::{SHOWN, cut};

use crate::foreign::ForeignFunctions;
use crate::own_properties::OwnProperties;

/// The process that hosts filters: what a filter asks of it that is about no transaction.
///
/// A host function finds what it works on in one of three places. What a virtual machine has itself (contexts,
/// pauses, ticks, its log) is in its state, and no host is asked. What belongs to a message is lent by its
/// [`Transaction`] as [`Headers`] or as a [`Buffer`]. Everything else is the process's: logging is here, and what
/// reaches beyond the process or outlives a virtual machine belongs here beside it, calls to other services
/// (`proxy_http_call`, `proxy_grpc_*`) with their cancelling, and metrics. Such a function returns at once: a
/// reply comes in a later callback, and is read as the map or the buffer that its number names.
///
/// So adding a host function is one function in one file of `abi/`. Adding a callback is one row of the table in
/// `vm/entry.rs`, and, if it brings something that host functions read, one arm where `abi/headers.rs` or
/// `abi/buffers.rs` finds what a number names; one of the root context is a kind of [`Letter`](crate::Letter), which
/// both lanes deliver. A host that has no use for either changes nothing.
pub trait Embedder: Send + Sync + 'static {
    /// Name and version of the host: `Apache Traffic Server 9.2.5`.
    fn host_name(&self) -> String;

    /// Writes one line to the host's log, with the names of the filter and the transaction. `message` is one
    /// line without control characters: [`Runtime::log`](crate::Runtime::log) is how others log. Called on
    /// any thread, event threads included: must not block on anything but the host's own log.
    fn log(&self, level: Level, filter: &str, transaction: Option<TransactionId>, message: &str);

    /// The lowest level that is worth formatting; the guest asks for it by `proxy_get_log_level`.
    fn log_level(&self) -> Level {
        Level::Info
    }

    /// Whether compiling for the debug lane gives way to everything else on the machine (nice 19). Right for a
    /// process that serves meanwhile, wrong for one that only waits for it.
    fn compiles_in_background(&self) -> bool {
        true
    }

    /// Adds the foreign functions that this host has besides those of every host; called once, when the runtime is
    /// made.
    fn foreign_functions(&self, _functions: &mut ForeignFunctions) {}

    /// Runs `body` once on a thread that is no event thread (ATS: an `ET_TASK` thread). Virtual
    /// machines are built and configured there: it can take long. Called on any thread; returns at once.
    fn task(&self, body: Box<dyn FnOnce() + Send>);

    /// Runs `body` on a thread that may call the host's API, called `name` meanwhile (ATS: `TSThreadCreate`).
    /// Debug slots run on these.
    ///
    /// # Errors
    /// Says why there is no thread for it, and what to do.
    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Result<Box<dyn ThreadHandle>, String>;
}

/// A body that [`Embedder::spawn`] runs.
pub trait ThreadHandle: Send {
    /// Waits for its end. Never called on an event thread.
    fn join(self: Box<Self>);
}

/// `proxy_log_level_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// 0
    Trace,
    /// 1
    Debug,
    /// 2
    Info,
    /// 3
    Warn,
    /// 4
    Error,
    /// 5
    Critical,
}

/// `proxy_status_t`, with the numbers of the ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// No such header, property, context.
    NotFound = 1,
    /// An argument is out of its range, or not valid in this callback.
    BadArgument = 2,
    /// Serialized pairs could not be written.
    SerializationFailure = 3,
    /// Serialized pairs could not be read.
    ParseFailure = 4,
    /// A pointer or length leaves the guest's memory.
    InvalidMemoryAccess = 6,
    /// The queue is empty.
    Empty = 7,
    /// Compare-and-swap found another number.
    CasMismatch = 8,
    /// A fault of the host.
    InternalFailure = 10,
    /// The host does not have this function (yet).
    Unimplemented = 12,
}

/// The header maps of a transaction (`proxy_map_type_t` 0 to 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderMap {
    /// 0; pseudo-headers `:method`, `:path`, `:authority`, `:scheme`.
    RequestHeaders,
    /// 1
    RequestTrailers,
    /// 2; pseudo-header `:status`.
    ResponseHeaders,
    /// 3
    ResponseTrailers,
}

/// The buffers of a transaction (`proxy_buffer_type_t` 0 and 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BufferKind {
    /// 0
    RequestBody,
    /// 1
    ResponseBody,
}

/// A header map: names and values in the order of the wire.
///
/// Names are compared without case. Pseudo-headers (`:path`, …) are part of the map; [`Headers::pairs`] lists them
/// first. What a function returns is the status that the guest gets: each of them [`Status::BadArgument`] when the
/// map is not there in this phase.
pub trait Headers {
    /// Appends the values of `name`, joined by `,` when the field repeats, to `value`.
    ///
    /// # Errors
    /// [`Status::NotFound`].
    fn get(&mut self, name: &[u8], value: &mut Vec<u8>) -> Result<(), Status>;

    /// Calls `each(name, value)` for every field in order.
    ///
    /// # Errors
    /// See [`Headers`].
    fn pairs(&mut self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Status>;

    /// Number of fields, pseudo-headers included.
    ///
    /// # Errors
    /// See [`Headers`].
    fn count(&mut self) -> Result<u32, Status>;

    /// Appends a field. A pseudo-header is set.
    ///
    /// # Errors
    /// [`Status::BadArgument`] also for what the map cannot hold; so do the next ones.
    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status>;

    /// Sets a field to one value; adds it when it is absent.
    ///
    /// # Errors
    /// As [`Headers::add`].
    fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status>;

    /// Removes all values of a field; no error when it is absent.
    ///
    /// # Errors
    /// As [`Headers::add`].
    fn remove(&mut self, name: &[u8]) -> Result<(), Status>;

    /// Replaces the whole map, or nothing of it.
    ///
    /// # Errors
    /// As [`Headers::add`].
    fn set_all(&mut self, pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Status>;
}

/// Bytes that a guest reads and may change, whether they lie in one piece or not.
///
/// What a function returns is the status that the guest gets: each of them [`Status::NotFound`] when the buffer is
/// not there in this phase.
pub trait Buffer {
    /// Number of bytes.
    ///
    /// # Errors
    /// See [`Buffer`].
    fn size(&mut self) -> Result<usize, Status>;

    /// Appends the bytes of `range`, which is within the buffer, to `bytes`.
    ///
    /// # Errors
    /// See [`Buffer`].
    fn read(&mut self, range: Range<usize>, bytes: &mut Vec<u8>) -> Result<(), Status>;

    /// Puts `bytes` in the place of `range`, which is within the buffer and can be empty.
    ///
    /// # Errors
    /// [`Status::BadArgument`] when it cannot be changed, or would become larger than its host keeps.
    fn splice(&mut self, range: Range<usize>, bytes: &[u8]) -> Result<(), Status>;
}

/// A transaction of the host, as the stream context that owns it sees it.
///
/// On the fast lane every call comes on the transaction's home thread, inside a host call of the
/// guest. On the debug lane calls come from the slot's thread: the implementation takes the
/// transaction's lock for the length of each call, and nothing longer. What it lends does the same: lending takes
/// no lock.
pub trait Transaction: Send {
    /// The host's number for it, shown as `#17`.
    fn id(&self) -> TransactionId;

    /// What rules and the debugger ask of it. Reads the request at the time of the call.
    fn facts(&mut self) -> RequestFacts;

    /// Lends a header map.
    ///
    /// # Errors
    /// [`Status::BadArgument`] when the map is not there in this phase; what is lent may say so instead.
    fn headers(&mut self, map: HeaderMap) -> Result<&mut dyn Headers, Status>;

    /// Lends a buffer. A host without bodies leaves this out.
    ///
    /// # Errors
    /// [`Status::NotFound`] when the buffer is not there in this phase; what is lent may say so instead.
    /// [`Status::Unimplemented`] when this host never has it: the guest gets NOT_FOUND, and the log says so once.
    fn buffer(&mut self, _kind: BufferKind) -> Result<&mut dyn Buffer, Status> {
        Err(Status::Unimplemented)
    }

    /// Appends the value of a property (path segments without separators) to `value`, in the ABI's
    /// encoding: integers as 64-bit little endian. `plugin_*` properties never reach the host.
    ///
    /// # Errors
    /// [`Status::NotFound`].
    fn property(&mut self, path: &[&[u8]], value: &mut Vec<u8>) -> Result<(), Status>;

    /// Sets a property.
    ///
    /// # Errors
    /// [`Status::NotFound`] when it cannot be set. If its name is free, it goes to [`Transaction::own_properties`].
    fn set_property(&mut self, path: &[&[u8]], value: &[u8]) -> Result<(), Status>;

    /// Does `work` with the properties that filters have left under names of their own, if there are any. The host
    /// keeps them as long as the transaction, for all its filters.
    fn own_properties(&mut self, work: &mut dyn FnMut(&OwnProperties));

    /// The same, to change them, or to leave the first one.
    fn own_properties_mut(&mut self, work: &mut dyn FnMut(&mut OwnProperties));
}

/// What lane rules and the debugger's thread names are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFacts {
    /// `GET`.
    pub method: String,
    /// `/path?query` as the client sent it.
    pub path: String,
    /// Address of the client, if there is one.
    pub client: Option<IpAddr>,
    /// Port of the client.
    pub client_port: u16,
}

impl RequestFacts {
    /// The method, as long as it may be in a message.
    pub(crate) fn shown_method(&self) -> String {
        cut(&self.method, SHOWN).into_owned()
    }

    /// The path, as long as it may be in a message.
    pub(crate) fn shown_path(&self) -> String {
        cut(&self.path, SHOWN).into_owned()
    }
}
