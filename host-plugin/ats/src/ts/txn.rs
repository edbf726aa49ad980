//! What can be asked of a transaction, and done to it.

use std::ffi::{CString, c_int, c_void};
use std::sync::Arc;

use super::access::Access;
use super::address::Endpoint;
use super::header::{Header, HeaderMut};
use super::host;
use super::records::Record;
use super::socket::Socket;
use super::vconn::VConn;
use crate::sys::{self, TS_SUCCESS, api};

impl Access<'_> {
    /// Whether the client or the origin has left before the end. Asked in TXN_CLOSE.
    pub(crate) fn is_aborted(&self) -> bool {
        let mut by_client = false;
        // SAFETY: see `id`. Version 9.2 takes one argument and does not look at the second.
        unsafe { (api().TSHttpTxnAborted)(self.as_ptr(), &raw mut by_client) == TS_SUCCESS }
    }

    /// The server's own number for it.
    pub fn id(&self) -> u64 {
        // SAFETY: valid while it is accessed; so in all functions below.
        unsafe { (api().TSHttpTxnIdGet)(self.as_ptr()) }
    }

    /// The client's request.
    #[inline]
    pub fn client_request(&self) -> Option<Header<'_>> {
        self.header(api().TSHttpTxnClientReqGet)
    }

    /// The client's request, to change it.
    #[inline]
    pub fn client_request_mut(&mut self) -> Option<HeaderMut<'_>> {
        self.header(api().TSHttpTxnClientReqGet).map(HeaderMut::new)
    }

    /// The response as the client gets it; none before there is one.
    #[inline]
    pub fn client_response(&self) -> Option<Header<'_>> {
        self.header(api().TSHttpTxnClientRespGet)
    }

    /// That response, to change it.
    #[inline]
    pub fn client_response_mut(&mut self) -> Option<HeaderMut<'_>> {
        self.header(api().TSHttpTxnClientRespGet).map(HeaderMut::new)
    }

    fn header(
        &self,
        get: unsafe extern "C" fn(sys::TSHttpTxn, *mut sys::TSMBuffer, *mut sys::TSMLoc) -> c_int,
    ) -> Option<Header<'_>> {
        let (mut buffer, mut location) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: see `id`; both are written on success.
        let result = unsafe { get(self.as_ptr(), &raw mut buffer, &raw mut location) };
        if result == TS_SUCCESS { Header::new(self.again(), buffer, location) } else { None }
    }

    /// Answers with `status` instead of going on; see [`Access::set_body`] and the event to re-enable with.
    pub(crate) fn set_status(&mut self, status: u16) {
        // SAFETY: see `id`.
        unsafe { (api().TSHttpTxnStatusSet)(self.as_ptr(), c_int::from(status)) };
    }

    /// The body of an answer made here, with its content type.
    pub(crate) fn set_body(&mut self, body: &[u8], content_type: &[u8]) {
        let (Some(text), Some(mime)) = (server_copy(body, false), server_copy(content_type, true)) else {
            return;
        };
        // SAFETY: see `id`; both texts are from the server's allocator, which frees them.
        unsafe { (api().TSHttpTxnErrorBodySet)(self.as_ptr(), text.cast(), body.len(), mime.cast()) };
    }

    /// The client's address.
    pub(crate) fn client_address(&self) -> Option<Endpoint> {
        // SAFETY: see `id`; null or an address that the transaction owns.
        unsafe { Endpoint::read((api().TSHttpTxnClientAddrGet)(self.as_ptr())) }
    }

    /// The address at which the client connected.
    pub(crate) fn local_address(&self) -> Option<Endpoint> {
        // SAFETY: as `client_address`.
        unsafe { Endpoint::read((api().TSHttpTxnIncomingAddrGet)(self.as_ptr())) }
    }

    /// The origin's address, once there is one.
    pub(crate) fn server_address(&self) -> Option<Endpoint> {
        // SAFETY: as `client_address`.
        unsafe { Endpoint::read((api().TSHttpTxnServerAddrGet)(self.as_ptr())) }
    }

    /// The own address towards the origin, once there is one.
    pub(crate) fn outgoing_address(&self) -> Option<Endpoint> {
        // SAFETY: as `client_address`.
        unsafe { Endpoint::read((api().TSHttpTxnOutgoingAddrGet)(self.as_ptr())) }
    }

    /// The number of the client's session.
    pub(crate) fn session_id(&self) -> Option<u64> {
        // SAFETY: see `id`; the session is asked only when there is one.
        unsafe {
            let session = (api().TSHttpTxnSsnGet)(self.as_ptr());
            if session.is_null() { None } else { u64::try_from((api().TSHttpSsnIdGet)(session)).ok() }
        }
    }

    /// The client's connection; none once it is gone.
    pub(crate) fn client_connection(&self) -> Option<VConn<'_>> {
        // SAFETY: see `id`; the session is asked only when there is one.
        unsafe {
            let session = (api().TSHttpTxnSsnGet)(self.as_ptr());
            if session.is_null() { None } else { VConn::new((api().TSHttpSsnClientVConnGet)(session)) }
        }
    }

    /// The connection to the origin; none without one.
    pub(crate) fn server_connection(&self) -> Option<VConn<'_>> {
        // SAFETY: see `id`.
        VConn::new(unsafe { (api().TSHttpTxnServerVConnGet)(self.as_ptr()) })
    }

    /// The socket of the client's connection, which streams of HTTP/2 share.
    pub(crate) fn client_socket(&self) -> Option<Socket> {
        let mut socket = -1;
        // SAFETY: see `id`; written on success.
        let result = unsafe { (api().TSHttpTxnClientFdGet)(self.as_ptr(), &raw mut socket) };
        if result == TS_SUCCESS { Socket::connected(socket) } else { None }
    }

    /// Calls `each` with the client's protocols from the top: `h2`, `http/1.1`, `tls/1.3`, `tcp`, `ipv4`.
    pub(crate) fn client_protocols(&self, mut each: impl FnMut(&'static [u8])) {
        self.protocols(api().TSHttpTxnClientProtocolStackGet, &mut each);
    }

    /// The same towards the origin; nothing without a connection.
    pub(crate) fn server_protocols(&self, mut each: impl FnMut(&'static [u8])) {
        self.protocols(api().TSHttpTxnServerProtocolStackGet, &mut each);
    }

    fn protocols(
        &self,
        get: unsafe extern "C" fn(sys::TSHttpTxn, c_int, *mut *const std::ffi::c_char, *mut c_int) -> c_int,
        each: &mut dyn FnMut(&'static [u8]),
    ) {
        let mut names = [std::ptr::null(); 10];
        let mut count = 0;
        // SAFETY: see `id`; at most 10 pointers are written.
        let result = unsafe { get(self.as_ptr(), 10, names.as_mut_ptr(), &raw mut count) };
        if result != TS_SUCCESS {
            return;
        }
        for name in names.iter().take(usize::try_from(count).unwrap_or(0)) {
            if !name.is_null() {
                // SAFETY: protocol names are static strings of the server.
                each(unsafe { std::ffi::CStr::from_ptr(*name) }.to_bytes());
            }
        }
    }

    /// A point in its life in nanoseconds since 1970; none when it was not reached.
    pub(crate) fn milestone(&self, milestone: c_int) -> Option<u64> {
        let mut time = 0;
        // SAFETY: see `id`; written on success.
        let result = unsafe { (api().TSHttpTxnMilestoneGet)(self.as_ptr(), milestone, &raw mut time) };
        if result == TS_SUCCESS && time > 0 { u64::try_from(time).ok() } else { None }
    }

    /// Bytes of the client's request header and body so far.
    pub(crate) fn request_bytes(&self) -> (u64, u64) {
        // SAFETY: see `id`.
        let (header, body) = unsafe {
            (
                (api().TSHttpTxnClientReqHdrBytesGet)(self.as_ptr()),
                (api().TSHttpTxnClientReqBodyBytesGet)(self.as_ptr()),
            )
        };
        (u64::try_from(header).unwrap_or(0), u64::try_from(body).unwrap_or(0))
    }

    /// Bytes of the response's header and body sent to the client so far.
    pub(crate) fn response_bytes(&self) -> (u64, u64) {
        // SAFETY: see `id`.
        let (header, body) = unsafe {
            (
                (api().TSHttpTxnClientRespHdrBytesGet)(self.as_ptr()),
                (api().TSHttpTxnClientRespBodyBytesGet)(self.as_ptr()),
            )
        };
        (u64::try_from(header).unwrap_or(0), u64::try_from(body).unwrap_or(0))
    }
}

/// The server's allocator; with a final zero byte when `zero`.
fn server_copy(text: &[u8], zero: bool) -> Option<*mut c_void> {
    // One byte more in any case: an allocation of nothing may be null.
    // SAFETY: the path is a static string.
    let copy = unsafe { (api()._TSmalloc)(text.len() + 1, c"wasmdbg".as_ptr()) };
    if copy.is_null() {
        return None;
    }
    // SAFETY: `copy` has room for the text and one byte, and is new.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), copy.cast(), text.len());
        if zero {
            copy.cast::<u8>().add(text.len()).write(0);
        }
    }
    Some(copy)
}

/// A record that can be changed per transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverridableKey(c_int);

impl OverridableKey {
    /// Finds it by name: the numbers differ between versions.
    pub(crate) fn find(record: Record) -> Option<Self> {
        let name = CString::new(record.name(&host::version())).ok()?;
        let (mut key, mut kind) = (0, 0);
        // SAFETY: a length of -1 means that the name ends with a zero byte; both are written on success.
        let result = unsafe { (api().TSHttpTxnConfigFind)(name.as_ptr(), -1, &raw mut key, &raw mut kind) };
        (result == TS_SUCCESS).then_some(Self(key))
    }

    /// Its value for one transaction.
    pub(crate) fn get(self, access: &Access<'_>) -> Option<i64> {
        let mut value = 0;
        // SAFETY: the transaction is valid while it is accessed.
        let result = unsafe { (api().TSHttpTxnConfigIntGet)(access.as_ptr(), self.0, &raw mut value) };
        (result == TS_SUCCESS).then_some(value)
    }

    /// Sets it for one transaction alone.
    pub(crate) fn set(self, access: &mut Access<'_>, value: i64) {
        // SAFETY: as in `get`.
        unsafe { (api().TSHttpTxnConfigIntSet)(access.as_ptr(), self.0, value) };
    }
}

/// The place where transactions carry a `T` of ours (`TSUserArgIndexReserve`).
#[derive(Debug)]
pub(crate) struct ArgSlot<T> {
    index: c_int,
    _kind: std::marker::PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> ArgSlot<T> {
    /// Reserves a place; called while the plugin is loaded.
    ///
    /// # Errors
    /// The server has no place left.
    pub(crate) fn reserve() -> Result<Self, String> {
        let mut index = 0;
        // SAFETY: static strings; the index is written on success.
        let result = unsafe {
            let (name, about) = (c"wasmdbg".as_ptr(), c"filters of this transaction".as_ptr());
            (api().TSUserArgIndexReserve)(sys::TS_USER_ARGS_TXN, name, about, &raw mut index)
        };
        if result == TS_SUCCESS {
            Ok(Self { index, _kind: std::marker::PhantomData })
        } else {
            Err("the server has no user argument left for transactions (TSUserArgIndexReserve)".to_owned())
        }
    }

    /// Has the transaction carry `value`. Its owner keeps a count of it until the transaction's TXN_CLOSE
    /// has been handled; the transaction itself has none.
    pub(crate) fn set(&self, access: &Access<'_>, value: &Arc<T>) {
        // SAFETY: the index is ours; the pointer is only read in `get`.
        unsafe {
            (api().TSUserArgSet)(access.as_ptr().cast(), self.index, Arc::as_ptr(value).cast_mut().cast())
        };
    }

    /// A share of what the transaction carries, in a hook of it.
    pub(crate) fn get(&self, access: &Access<'_>) -> Option<Arc<T>> {
        let pointer = self.pointer(access);
        if pointer.is_null() {
            return None;
        }
        // SAFETY: put there by `set`, whose caller's owner has a count until TXN_CLOSE has been handled:
        // hooks of one transaction come one after the other. This makes another count.
        unsafe {
            Arc::increment_strong_count(pointer);
            Some(Arc::from_raw(pointer))
        }
    }

    fn pointer(&self, access: &Access<'_>) -> *const T {
        // SAFETY: the transaction is valid while it is accessed and the index is ours.
        unsafe { (api().TSUserArgGet)(access.as_ptr().cast(), self.index) }.cast_const().cast()
    }
}
