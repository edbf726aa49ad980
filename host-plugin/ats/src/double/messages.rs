//! Requests and responses: a start line, and fields in the order of the wire. What is changed is leaked, as
//! are the fields: a pointer that the plugin keeps too long stays readable, and shows what was.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::FAILURE;
use crate::sys::{TS_SUCCESS, TSMBuffer, TSMLoc};

/// A request or a response.
pub(crate) struct Message {
    start: Mutex<Start>,
    fields: Mutex<Vec<&'static Field>>,
    /// What the server looked at to check the header: all pairs of its fields twice for each field that comes,
    /// and five times for each that goes.
    work: AtomicU64,
    /// Handles that were given out and not given back.
    handles: AtomicI64,
    /// Fields that may still be added.
    room: AtomicUsize,
}

/// The start line; text is empty where there is none.
#[derive(Clone, Copy, Default)]
struct Start {
    method: &'static [u8],
    scheme: &'static [u8],
    host: &'static [u8],
    port: u16,
    path: &'static [u8],
    parameters: &'static [u8],
    query: &'static [u8],
    minor: c_int,
    status: c_int,
    reason: &'static [u8],
}

struct Field {
    name: &'static [u8],
    value: Mutex<&'static [u8]>,
    attached: AtomicBool,
}

fn leak(text: &[u8]) -> &'static [u8] {
    Box::leak(text.to_vec().into_boxed_slice())
}

impl Message {
    fn new(start: Start) -> &'static Self {
        Box::leak(Box::new(Self {
            start: Mutex::new(start),
            fields: Mutex::default(),
            work: AtomicU64::new(0),
            handles: AtomicI64::new(0),
            room: AtomicUsize::new(usize::MAX),
        }))
    }

    /// `target` as on the request line: `/path;parameters?query`, or with `scheme://host:port` before it.
    pub(crate) fn request(method: &str, target: &str) -> &'static Self {
        let mut start = Start { method: leak(method.as_bytes()), minor: 1, ..Start::default() };
        let mut rest = target;
        if let Some((scheme, after)) = target.split_once("://") {
            let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
            let (host, port) = authority.split_once(':').unwrap_or((authority, "0"));
            (start.scheme, start.host) = (leak(scheme.as_bytes()), leak(host.as_bytes()));
            start.port = port.parse().unwrap();
            rest = path;
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (path, parameters) = path.split_once(';').unwrap_or((path, ""));
        start.path = leak(path.strip_prefix('/').unwrap_or(path).as_bytes());
        (start.parameters, start.query) = (leak(parameters.as_bytes()), leak(query.as_bytes()));
        Self::new(start)
    }

    pub(crate) fn response(status: u16) -> &'static Self {
        Self::new(Start { status: c_int::from(status), minor: 1, ..Start::default() })
    }

    /// Adds a field, as it comes from the network.
    pub(crate) fn with(&'static self, name: &str, value: &str) -> &'static Self {
        self.fields.lock().unwrap().push(Field::new(name.as_bytes(), value.as_bytes(), true));
        self
    }

    /// `GET http://host/path;parameters?query`, or a status and its reason.
    pub(crate) fn start_line(&self) -> String {
        let start = *self.start.lock().unwrap();
        let text = String::from_utf8_lossy;
        if start.status != 0 {
            return format!("{} {}", start.status, text(start.reason)).trim_end().to_owned();
        }
        let mut line = format!("{} ", text(start.method));
        if !start.host.is_empty() {
            line += &format!("{}://{}", text(start.scheme), text(start.host));
            if start.port != 0 {
                line += &format!(":{}", start.port);
            }
        }
        line += &format!("/{}", text(start.path));
        for (mark, part) in [(';', start.parameters), ('?', start.query)] {
            if !part.is_empty() {
                line += &format!("{mark}{}", text(part));
            }
        }
        line
    }

    /// The fields in the order of the wire, each `name: value`.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy;
        let line = |field: &&Field| format!("{}: {}", text(field.name), text(&field.value.lock().unwrap()));
        self.fields.lock().unwrap().iter().map(line).collect()
    }

    /// The values of a field, one for each line.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        let fields = self.fields.lock().unwrap();
        let named = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|field| String::from_utf8_lossy(&field.value.lock().unwrap()).into_owned()).collect()
    }

    /// Pairs of fields that the server looked at since the last call.
    pub(crate) fn take_work(&self) -> u64 {
        self.work.swap(0, Relaxed)
    }

    /// From now on only so many fields can be added.
    pub(crate) fn set_room(&self, fields: usize) {
        self.room.store(fields, Relaxed);
    }

    /// Handles that the plugin has not given back.
    pub(crate) fn handles(&self) -> i64 {
        self.handles.load(Relaxed)
    }

    /// Writes a handle on it, as functions that return one do.
    ///
    /// # Safety
    /// Both can be written.
    pub(super) unsafe fn give(&'static self, buffer: *mut TSMBuffer, location: *mut TSMLoc) -> c_int {
        self.handles.fetch_add(1, Relaxed);
        let own = std::ptr::from_ref(self).cast_mut();
        // SAFETY: by the caller.
        unsafe {
            buffer.write(own.cast());
            location.write(own.cast());
        }
        TS_SUCCESS
    }

    fn checked(&self, times: u64) {
        let fields = self.fields.lock().unwrap().len() as u64;
        self.work.fetch_add(times * fields * fields, Relaxed);
    }

    fn position(&self, field: &Field) -> Option<usize> {
        self.fields.lock().unwrap().iter().position(|other| std::ptr::eq(*other, field))
    }

    /// A handle on the first field from `place` on that `wanted` takes, or null.
    fn field_from(&self, place: usize, wanted: impl Fn(&Field) -> bool) -> TSMLoc {
        let fields = self.fields.lock().unwrap();
        match fields.iter().skip(place).find(|field| wanted(field)) {
            Some(field) => {
                self.handles.fetch_add(1, Relaxed);
                std::ptr::from_ref(*field).cast_mut().cast()
            }
            None => std::ptr::null_mut(),
        }
    }
}

impl Field {
    fn new(name: &[u8], value: &[u8], attached: bool) -> &'static Self {
        let field = Self { name: leak(name), value: Mutex::new(leak(value)), attached: attached.into() };
        Box::leak(Box::new(field))
    }
}

fn message(buffer: TSMBuffer) -> &'static Message {
    // SAFETY: messages are leaked.
    unsafe { buffer.cast::<Message>().as_ref() }.unwrap()
}

fn field(location: TSMLoc) -> &'static Field {
    // SAFETY: fields are leaked.
    unsafe { location.cast::<Field>().as_ref() }.unwrap()
}

/// # Safety
/// `text` points at `length` bytes, or is not read.
unsafe fn read(text: *const c_char, length: c_int) -> &'static [u8] {
    match usize::try_from(length) {
        // SAFETY: by the caller.
        Ok(length) if length > 0 => leak(unsafe { std::slice::from_raw_parts(text.cast(), length) }),
        _ => b"",
    }
}

/// # Safety
/// `length` can be written.
unsafe fn tell(text: &'static [u8], length: *mut c_int) -> *const c_char {
    // SAFETY: by the caller.
    unsafe { length.write(text.len() as c_int) };
    if text.is_empty() { std::ptr::null() } else { text.as_ptr().cast() }
}

unsafe extern "C" fn release(buffer: TSMBuffer, _parent: TSMLoc, _location: TSMLoc) -> c_int {
    message(buffer).handles.fetch_sub(1, Relaxed);
    TS_SUCCESS
}

unsafe extern "C" fn count(buffer: TSMBuffer, _header: TSMLoc) -> c_int {
    message(buffer).fields.lock().unwrap().len() as c_int
}

unsafe extern "C" fn find_field(
    buffer: TSMBuffer,
    _header: TSMLoc,
    name: *const c_char,
    length: c_int,
) -> TSMLoc {
    // SAFETY: by the caller.
    let name = unsafe { read(name, length) };
    message(buffer).field_from(0, |field| field.name.eq_ignore_ascii_case(name))
}

unsafe extern "C" fn get_field(buffer: TSMBuffer, _header: TSMLoc, index: c_int) -> TSMLoc {
    message(buffer).field_from(index as usize, |_| true)
}

unsafe extern "C" fn next_field(buffer: TSMBuffer, _header: TSMLoc, location: TSMLoc) -> TSMLoc {
    let message = message(buffer);
    let place = message.position(field(location)).expect("a field of this header");
    message.field_from(place + 1, |_| true)
}

unsafe extern "C" fn next_same_name(buffer: TSMBuffer, _header: TSMLoc, location: TSMLoc) -> TSMLoc {
    let (message, field) = (message(buffer), field(location));
    let place = message.position(field).expect("a field of this header");
    message.field_from(place + 1, |other| other.name.eq_ignore_ascii_case(field.name))
}

unsafe extern "C" fn name(
    _buffer: TSMBuffer,
    _header: TSMLoc,
    location: TSMLoc,
    length: *mut c_int,
) -> *const c_char {
    // SAFETY: by the caller.
    unsafe { tell(field(location).name, length) }
}

unsafe extern "C" fn value(
    _buffer: TSMBuffer,
    _header: TSMLoc,
    location: TSMLoc,
    index: c_int,
    length: *mut c_int,
) -> *const c_char {
    assert_eq!(index, -1, "all values of a field");
    // SAFETY: by the caller.
    unsafe { tell(*field(location).value.lock().unwrap(), length) }
}

unsafe extern "C" fn set_value(
    _buffer: TSMBuffer,
    _header: TSMLoc,
    location: TSMLoc,
    index: c_int,
    text: *const c_char,
    length: c_int,
) -> c_int {
    assert_eq!(index, -1, "all values of a field");
    // SAFETY: by the caller.
    *field(location).value.lock().unwrap() = unsafe { read(text, length) };
    TS_SUCCESS
}

unsafe extern "C" fn create(
    buffer: TSMBuffer,
    _header: TSMLoc,
    name: *const c_char,
    length: c_int,
    location: *mut TSMLoc,
) -> c_int {
    message(buffer).handles.fetch_add(1, Relaxed);
    // SAFETY: by the caller.
    unsafe {
        let field = Field::new(read(name, length), b"", false);
        location.write(std::ptr::from_ref(field).cast_mut().cast());
    }
    TS_SUCCESS
}

unsafe extern "C" fn append(buffer: TSMBuffer, _header: TSMLoc, location: TSMLoc) -> c_int {
    let message = message(buffer);
    let Some(room) = message.room.load(Relaxed).checked_sub(1) else { return FAILURE };
    message.room.store(room, Relaxed);
    message.checked(2);
    message.fields.lock().unwrap().push(field(location));
    field(location).attached.store(true, Relaxed);
    TS_SUCCESS
}

unsafe extern "C" fn destroy(buffer: TSMBuffer, _header: TSMLoc, location: TSMLoc) -> c_int {
    let (message, field) = (message(buffer), field(location));
    if field.attached.swap(false, Relaxed) {
        message.checked(5);
        let place = message.position(field).expect("a field of this header");
        message.fields.lock().unwrap().remove(place);
    }
    TS_SUCCESS
}

unsafe extern "C" fn clear(buffer: TSMBuffer, _header: TSMLoc) -> c_int {
    message(buffer).fields.lock().unwrap().clear();
    TS_SUCCESS
}

unsafe extern "C" fn url(buffer: TSMBuffer, _header: TSMLoc, location: *mut TSMLoc) -> c_int {
    let message = message(buffer);
    if message.start.lock().unwrap().status != 0 {
        return FAILURE;
    }
    message.handles.fetch_add(1, Relaxed);
    // SAFETY: by the caller.
    unsafe { location.write(buffer.cast()) };
    TS_SUCCESS
}

/// The host that the URL names, else `Host`.
unsafe extern "C" fn host(buffer: TSMBuffer, _header: TSMLoc, length: *mut c_int) -> *const c_char {
    let message = message(buffer);
    let named = message.start.lock().unwrap().host;
    let fields = message.fields.lock().unwrap();
    let field = fields.iter().find(|field| field.name.eq_ignore_ascii_case(b"host"));
    let field = field.map_or(&b""[..], |field| *field.value.lock().unwrap());
    let field = field.split(|byte| *byte == b':').next().unwrap_or(b"");
    // SAFETY: by the caller.
    unsafe { tell(if named.is_empty() { field } else { named }, length) }
}

unsafe extern "C" fn version(buffer: TSMBuffer, _header: TSMLoc) -> c_int {
    1 << 16 | message(buffer).start.lock().unwrap().minor
}

unsafe extern "C" fn status(buffer: TSMBuffer, _header: TSMLoc) -> c_int {
    message(buffer).start.lock().unwrap().status
}

unsafe extern "C" fn set_status(buffer: TSMBuffer, _header: TSMLoc, status: c_int) -> c_int {
    message(buffer).start.lock().unwrap().status = status;
    TS_SUCCESS
}

/// Of these and no others.
unsafe extern "C" fn reason_of(status: c_int) -> *const c_char {
    match status {
        200 => c"OK".as_ptr(),
        403 => c"Forbidden".as_ptr(),
        _ => std::ptr::null(),
    }
}

unsafe extern "C" fn port(buffer: TSMBuffer, _url: TSMLoc) -> c_int {
    let start = *message(buffer).start.lock().unwrap();
    match (start.port, start.scheme) {
        (0, b"https") => 443,
        (0, _) => 80,
        (port, _) => c_int::from(port),
    }
}

unsafe extern "C" fn set_port(buffer: TSMBuffer, _url: TSMLoc, port: c_int) -> c_int {
    message(buffer).start.lock().unwrap().port = port as u16;
    TS_SUCCESS
}

/// The functions for one text of the start line.
macro_rules! texts {
    ($($text:ident: $get:ident $set:ident;)*) => { $(
        unsafe extern "C" fn $get(buffer: TSMBuffer, _at: TSMLoc, length: *mut c_int) -> *const c_char {
            // SAFETY: by the caller.
            unsafe { tell(message(buffer).start.lock().unwrap().$text, length) }
        }

        unsafe extern "C" fn $set(buffer: TSMBuffer, _at: TSMLoc, text: *const c_char, length: c_int) -> c_int {
            // SAFETY: by the caller.
            message(buffer).start.lock().unwrap().$text = unsafe { read(text, length) };
            TS_SUCCESS
        }
    )* };
}

texts! {
    method: get_method set_method;
    scheme: get_scheme set_scheme;
    host: get_host set_host;
    path: get_path set_path;
    parameters: get_parameters set_parameters;
    query: get_query set_query;
    reason: get_reason set_reason;
}

pub(super) fn find(called: &str) -> Option<*mut c_void> {
    Some(match called {
        "TSHandleMLocRelease" => release as *mut c_void,
        "TSMimeHdrFieldsCount" => count as *mut c_void,
        "TSMimeHdrFieldFind" => find_field as *mut c_void,
        "TSMimeHdrFieldGet" => get_field as *mut c_void,
        "TSMimeHdrFieldNext" => next_field as *mut c_void,
        "TSMimeHdrFieldNextDup" => next_same_name as *mut c_void,
        "TSMimeHdrFieldNameGet" => name as *mut c_void,
        "TSMimeHdrFieldValueStringGet" => value as *mut c_void,
        "TSMimeHdrFieldValueStringSet" => set_value as *mut c_void,
        "TSMimeHdrFieldCreateNamed" => create as *mut c_void,
        "TSMimeHdrFieldAppend" => append as *mut c_void,
        "TSMimeHdrFieldDestroy" => destroy as *mut c_void,
        "TSMimeHdrFieldsClear" => clear as *mut c_void,
        "TSHttpHdrMethodGet" => get_method as *mut c_void,
        "TSHttpHdrMethodSet" => set_method as *mut c_void,
        "TSHttpHdrHostGet" => host as *mut c_void,
        "TSHttpHdrUrlGet" => url as *mut c_void,
        "TSHttpHdrVersionGet" => version as *mut c_void,
        "TSHttpHdrStatusGet" => status as *mut c_void,
        "TSHttpHdrStatusSet" => set_status as *mut c_void,
        "TSHttpHdrReasonGet" => get_reason as *mut c_void,
        "TSHttpHdrReasonSet" => set_reason as *mut c_void,
        "TSHttpHdrReasonLookup" => reason_of as *mut c_void,
        "TSUrlSchemeGet" => get_scheme as *mut c_void,
        "TSUrlSchemeSet" => set_scheme as *mut c_void,
        "TSUrlHostGet" => get_host as *mut c_void,
        "TSUrlHostSet" => set_host as *mut c_void,
        "TSUrlPortGet" => port as *mut c_void,
        "TSUrlPortSet" => set_port as *mut c_void,
        "TSUrlPathGet" => get_path as *mut c_void,
        "TSUrlPathSet" => set_path as *mut c_void,
        "TSUrlHttpQueryGet" => get_query as *mut c_void,
        "TSUrlHttpQuerySet" => set_query as *mut c_void,
        "TSUrlHttpParamsGet" => get_parameters as *mut c_void,
        "TSUrlHttpParamsSet" => set_parameters as *mut c_void,
        _ => return None,
    })
}
