//! Opaque types and constants that are the same in Traffic Server 9.2 and 10.

use std::ffi::{c_char, c_int, c_void};

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident = $tag:ident;)*) => { $(
        #[repr(C)]
        #[derive(Debug)]
        pub(crate) struct $tag {
            _opaque: [u8; 0],
        }
        $(#[$doc])*
        pub(crate) type $name = *mut $tag;
    )* };
}

opaque! {
    /// A transaction.
    TSHttpTxn = TxnTag;
    /// A client session.
    TSHttpSsn = SsnTag;
    /// A continuation, or a virtual connection: one is the other.
    TSCont = ContTag;
    /// A lock.
    TSMutex = MutexTag;
    /// A header's storage.
    TSMBuffer = MBufferTag;
    /// A place in a header's storage.
    TSMLoc = MLocTag;
    /// A thread made by a plugin.
    TSThread = ThreadTag;
    /// An event thread of the server.
    TSEventThread = EventThreadTag;
    /// A connection of the TLS library.
    TSSslConnection = SslTag;
    /// A certificate of the TLS library.
    Certificate = CertificateTag;
    /// A scheduled event.
    TSAction = ActionTag;
}

/// A virtual connection.
pub(crate) type TSVConn = TSCont;
/// Handler of a continuation.
pub(crate) type TSEventFunc = unsafe extern "C" fn(TSCont, c_int, *mut c_void) -> c_int;
/// Body of a thread.
pub(crate) type TSThreadFunc = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

/// What `TSPluginRegister` is told.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct TSPluginRegistrationInfo {
    pub(crate) plugin_name: *const c_char,
    pub(crate) vendor_name: *const c_char,
    pub(crate) support_email: *const c_char,
}

/// `TSReturnCode`: done.
pub(crate) const TS_SUCCESS: c_int = 0;

/// `TSHttpHookID`; the numbers up to 15 are equal in 9.2 and 10.
pub(crate) mod hook {
    use std::ffi::c_int;
    pub(crate) const READ_REQUEST_HDR: c_int = 0;
    pub(crate) const SEND_RESPONSE_HDR: c_int = 5;
    pub(crate) const TXN_START: c_int = 9;
    pub(crate) const TXN_CLOSE: c_int = 10;
    pub(crate) const SSN_START: c_int = 11;
    /// `TSLifecycleHookID`
    pub(crate) const LIFECYCLE_PORTS_READY: c_int = 1;
    /// `TSLifecycleHookID`
    pub(crate) const LIFECYCLE_TASK_THREADS_READY: c_int = 6;
    /// `TSLifecycleHookID`
    pub(crate) const LIFECYCLE_SHUTDOWN: c_int = 7;
}

/// `TSEvent`.
pub(crate) mod event {
    use std::ffi::c_int;
    pub(crate) const HTTP_CONTINUE: c_int = 60000;
    pub(crate) const HTTP_ERROR: c_int = 60001;
    pub(crate) const HTTP_READ_REQUEST_HDR: c_int = 60002;
    pub(crate) const HTTP_SEND_RESPONSE_HDR: c_int = 60007;
    pub(crate) const HTTP_TXN_START: c_int = 60011;
    pub(crate) const HTTP_TXN_CLOSE: c_int = 60012;
    pub(crate) const HTTP_SSN_START: c_int = 60013;
}

/// `TSThreadPool`: the threads that serve connections.
pub(crate) const TS_THREAD_POOL_NET: c_int = 0;
/// `TSThreadPool`: the threads for work that can take long.
pub(crate) const TS_THREAD_POOL_TASK: c_int = 1;
/// `TSUserArgType`: per transaction.
pub(crate) const TS_USER_ARGS_TXN: c_int = 0;

/// `TSMilestonesType`; equal in 9.2 and 10 as far as used.
pub(crate) mod milestone {
    use std::ffi::c_int;
    pub(crate) const SM_START: c_int = 18;
}

/// What `TSStatCreate` is told.
pub(crate) mod statistic {
    use std::ffi::c_int;
    /// `TSRecordDataType`
    pub(crate) const INTEGER: c_int = 1;
    /// `TSStatPersistence`
    pub(crate) const NOT_PERSISTENT: c_int = 2;
    /// `TSStatSync`
    pub(crate) const SYNC_SUM: c_int = 0;
}
