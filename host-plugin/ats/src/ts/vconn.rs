//! The connections below a transaction: their timeouts, and what their TLS says.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::Duration;

use crate::sys::{ContTag, api};

/// A network connection, borrowed from its transaction: it can be gone at the next event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VConn<'txn> {
    pointer: NonNull<ContTag>,
    _txn: PhantomData<&'txn ()>,
}

impl VConn<'_> {
    /// For [`super::certificates`].
    pub(super) fn as_ptr(self) -> *mut ContTag {
        self.pointer.as_ptr()
    }

    pub(super) fn new(pointer: *mut ContTag) -> Option<Self> {
        NonNull::new(pointer).map(|pointer| Self { pointer, _txn: PhantomData })
    }

    /// Closes the connection after `timeout` without traffic, instead of what the server had set.
    pub(crate) fn set_inactivity_timeout(self, timeout: Duration) {
        let nanoseconds = i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX);
        // SAFETY: borrowed from its transaction, whose mutex is held.
        unsafe { (api().TSVConnInactivityTimeoutSet)(self.pointer.as_ptr(), nanoseconds) };
    }

    /// No limit on the connection's age any more.
    pub(crate) fn cancel_active_timeout(self) {
        // SAFETY: as in `set_inactivity_timeout`.
        unsafe { (api().TSVConnActiveTimeoutCancel)(self.pointer.as_ptr()) };
    }

    /// The name the client asked for in its TLS greeting; none without TLS.
    pub(crate) fn requested_server_name(self) -> Option<Vec<u8>> {
        let get = api().TSVConnSslSniGet?;
        let mut length = 0;
        // SAFETY: as in `set_inactivity_timeout`; the length is written.
        let name = unsafe { get(self.pointer.as_ptr(), &raw mut length) };
        // SAFETY: the server returned this many bytes, valid while the connection is.
        unsafe { super::text::bytes(name, length) }.filter(|name| !name.is_empty()).map(<[u8]>::to_vec)
    }

    /// `TLSv1.3`; none without TLS.
    pub(crate) fn tls_version(self) -> Option<Vec<u8>> {
        let get = api().TSVConnSslProtocolGet?;
        // SAFETY: as in `set_inactivity_timeout`.
        let name = unsafe { get(self.pointer.as_ptr()) };
        if name.is_null() {
            return None;
        }
        // SAFETY: not null; a static string of the TLS library that ends with a zero byte.
        let name = unsafe { std::ffi::CStr::from_ptr(name) }.to_bytes();
        (!name.is_empty() && name != b"-").then(|| name.to_vec())
    }
}
