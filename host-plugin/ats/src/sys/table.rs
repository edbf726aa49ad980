//! The table of Traffic Server's functions.
//!
//! Version 9.2 exports them with C names, version 10 with C++ names and the same calling convention.
//! The plugin links none of them: each is looked up when the plugin is loaded, plain name first, then
//! the C++ symbol. One binary so runs in both.

use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::OnceLock;

use super::mangled::MANGLED;
use super::types::*;

/// Required functions that the host does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Plain names.
    pub(crate) names: Vec<&'static str>,
}

macro_rules! table {
    (
        required { $( fn $name:ident ($($arg:ty),* $(; $dots:tt)?) $(-> $ret:ty)?; )* }
        optional { $( fn $opt:ident ($($oarg:ty),*) $(-> $oret:ty)?; )* }
        library { $( fn $lib:ident ($($larg:ty),*) $(-> $lret:ty)?; )* }
    ) => {
        /// One pointer per function, named as in Traffic Server's documentation.
        #[allow(non_snake_case)]
        #[derive(Debug)]
        pub(crate) struct Api {
            $( pub(crate) $name: unsafe extern "C" fn($($arg,)* $($dots)?) $(-> $ret)?, )*
            $( pub(crate) $opt: Option<unsafe extern "C" fn($($oarg,)*) $(-> $oret)?>, )*
            $( pub(crate) $lib: Option<unsafe extern "C" fn($($larg,)*) $(-> $lret)?>, )*
        }

        impl Api {
            fn resolve(find: &dyn Fn(&str) -> *mut c_void) -> Result<Self, Missing> {
                let mut missing = Vec::new();
                $(
                    #[allow(non_snake_case)]
                    let $name = find(stringify!($name));
                    if $name.is_null() { missing.push(stringify!($name)); }
                )*
                if !missing.is_empty() {
                    return Err(Missing { names: missing });
                }
                Ok(Self {
                    $(
                        // SAFETY: the pointer is not null and is what the host exports under this name;
                        // its C signature is fixed by the host's interface and checked for 9.2 and 10.
                        $name: unsafe {
                            std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($arg,)* $($dots)?) $(-> $ret)?>($name)
                        },
                    )*
                    $(
                        // SAFETY: as above; a null pointer becomes None.
                        $opt: unsafe {
                            std::mem::transmute::<*mut c_void, Option<unsafe extern "C" fn($($oarg,)*) $(-> $oret)?>>(find(stringify!($opt)))
                        },
                    )*
                    $(
                        // SAFETY: as above, of the library's interface.
                        $lib: unsafe {
                            std::mem::transmute::<*mut c_void, Option<unsafe extern "C" fn($($larg,)*) $(-> $lret)?>>(find(stringify!($lib)))
                        },
                    )*
                })
            }
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$(stringify!($name),)* $(stringify!($opt),)*];
    };
}

table! {
    required {
        fn TSTrafficServerVersionGet() -> *const c_char;
        fn TSConfigDirGet() -> *const c_char;
        fn TSRuntimeDirGet() -> *const c_char;
        fn TSMgmtIntGet(*const c_char, *mut i64) -> c_int;
        fn TSMgmtFloatGet(*const c_char, *mut f32) -> c_int;
        fn TSError(*const c_char; ...);
        fn TSWarning(*const c_char; ...);
        fn TSNote(*const c_char; ...);
        fn _TSmalloc(usize, *const c_char) -> *mut c_void;
        fn TSContCreate(TSEventFunc, TSMutex) -> TSCont;
        fn TSContDestroy(TSCont);
        fn TSContDataSet(TSCont, *mut c_void);
        fn TSContDataGet(TSCont) -> *mut c_void;
        fn TSContMutexGet(TSCont) -> TSMutex;
        fn TSContScheduleOnPool(TSCont, i64, c_int) -> TSAction;
        fn TSContScheduleOnThread(TSCont, i64, TSEventThread) -> TSAction;
        fn TSEventThreadSelf() -> TSEventThread;
        fn TSMutexCreate() -> TSMutex;
        fn TSMutexLock(TSMutex);
        fn TSMutexUnlock(TSMutex);
        fn TSThreadCreate(TSThreadFunc, *mut c_void) -> TSThread;
        fn TSHttpHookAdd(c_int, TSCont);
        fn TSLifecycleHookAdd(c_int, TSCont);
        fn TSHttpTxnHookAdd(TSHttpTxn, c_int, TSCont);
        fn TSHttpTxnReenable(TSHttpTxn, c_int);
        fn TSUserArgIndexReserve(c_int, *const c_char, *const c_char, *mut c_int) -> c_int;
        fn TSUserArgGet(*mut c_void, c_int) -> *mut c_void;
        fn TSUserArgSet(*mut c_void, c_int, *mut c_void);
        fn TSHttpTxnIdGet(TSHttpTxn) -> u64;
        fn TSHttpTxnAborted(TSHttpTxn, *mut bool) -> c_int;
        fn TSHttpTxnClientReqGet(TSHttpTxn, *mut TSMBuffer, *mut TSMLoc) -> c_int;
        fn TSHttpTxnClientRespGet(TSHttpTxn, *mut TSMBuffer, *mut TSMLoc) -> c_int;
        fn TSHandleMLocRelease(TSMBuffer, TSMLoc, TSMLoc) -> c_int;
        fn TSMimeHdrFieldsCount(TSMBuffer, TSMLoc) -> c_int;
        fn TSMimeHdrFieldFind(TSMBuffer, TSMLoc, *const c_char, c_int) -> TSMLoc;
        fn TSMimeHdrFieldGet(TSMBuffer, TSMLoc, c_int) -> TSMLoc;
        fn TSMimeHdrFieldNext(TSMBuffer, TSMLoc, TSMLoc) -> TSMLoc;
        fn TSMimeHdrFieldNextDup(TSMBuffer, TSMLoc, TSMLoc) -> TSMLoc;
        fn TSMimeHdrFieldNameGet(TSMBuffer, TSMLoc, TSMLoc, *mut c_int) -> *const c_char;
        fn TSMimeHdrFieldValueStringGet(TSMBuffer, TSMLoc, TSMLoc, c_int, *mut c_int) -> *const c_char;
        fn TSMimeHdrFieldValueStringSet(TSMBuffer, TSMLoc, TSMLoc, c_int, *const c_char, c_int) -> c_int;
        fn TSMimeHdrFieldCreateNamed(TSMBuffer, TSMLoc, *const c_char, c_int, *mut TSMLoc) -> c_int;
        fn TSMimeHdrFieldAppend(TSMBuffer, TSMLoc, TSMLoc) -> c_int;
        fn TSMimeHdrFieldDestroy(TSMBuffer, TSMLoc, TSMLoc) -> c_int;
        fn TSMimeHdrFieldsClear(TSMBuffer, TSMLoc) -> c_int;
        fn TSHttpHdrMethodGet(TSMBuffer, TSMLoc, *mut c_int) -> *const c_char;
        fn TSHttpHdrMethodSet(TSMBuffer, TSMLoc, *const c_char, c_int) -> c_int;
        fn TSHttpHdrHostGet(TSMBuffer, TSMLoc, *mut c_int) -> *const c_char;
        fn TSHttpHdrUrlGet(TSMBuffer, TSMLoc, *mut TSMLoc) -> c_int;
        fn TSHttpHdrVersionGet(TSMBuffer, TSMLoc) -> c_int;
        fn TSHttpHdrStatusGet(TSMBuffer, TSMLoc) -> c_int;
        fn TSHttpHdrStatusSet(TSMBuffer, TSMLoc, c_int) -> c_int;
        fn TSHttpHdrReasonSet(TSMBuffer, TSMLoc, *const c_char, c_int) -> c_int;
        fn TSHttpHdrReasonGet(TSMBuffer, TSMLoc, *mut c_int) -> *const c_char;
        fn TSHttpHdrReasonLookup(c_int) -> *const c_char;
        fn TSUrlSchemeGet(TSMBuffer, TSMLoc, *mut c_int) -> *const c_char;
        fn TSUrlSchemeSet(TSMBuffer, TSMLoc, *const c_char, c_int) -> c_int;
        fn TSUrlHostGet(TSMBuffer, TSMLoc, *mut c_int) -> *const c_char;
        fn TSUrlHostSet(TSMBuffer, TSMLoc, *const c_char, c_int) -> c_int;
        fn TSUrlPortGet(TSMBuffer, TSMLoc) -> c_int;
        fn TSUrlPortSet(TSMBuffer, TSMLoc, c_int) -> c_int;
        fn TSUrlPathGet(TSMBuffer, TSMLoc, *mut c_int) -> *const c_char;
        fn TSUrlPathSet(TSMBuffer, TSMLoc, *const c_char, c_int) -> c_int;
        fn TSUrlHttpQueryGet(TSMBuffer, TSMLoc, *mut c_int) -> *const c_char;
        fn TSUrlHttpQuerySet(TSMBuffer, TSMLoc, *const c_char, c_int) -> c_int;
        fn TSHttpTxnStatusSet(TSHttpTxn, c_int);
        fn TSHttpTxnErrorBodySet(TSHttpTxn, *mut c_char, usize, *mut c_char);
        fn TSHttpTxnClientAddrGet(TSHttpTxn) -> *const libc::sockaddr;
        fn TSHttpTxnIncomingAddrGet(TSHttpTxn) -> *const libc::sockaddr;
        fn TSHttpTxnServerAddrGet(TSHttpTxn) -> *const libc::sockaddr;
        fn TSHttpTxnOutgoingAddrGet(TSHttpTxn) -> *const libc::sockaddr;
        fn TSHttpTxnSsnGet(TSHttpTxn) -> TSHttpSsn;
        fn TSHttpSsnIdGet(TSHttpSsn) -> i64;
        fn TSHttpSsnClientVConnGet(TSHttpSsn) -> TSVConn;
        fn TSHttpSsnClientProtocolStackGet(TSHttpSsn, c_int, *mut *const c_char, *mut c_int) -> c_int;
        fn TSHttpSsnHookAdd(TSHttpSsn, c_int, TSCont);
        fn TSHttpSsnReenable(TSHttpSsn, c_int);
        fn TSHttpTxnServerVConnGet(TSHttpTxn) -> TSVConn;
        fn TSHttpTxnClientFdGet(TSHttpTxn, *mut c_int) -> c_int;
        fn TSHttpTxnClientProtocolStackGet(TSHttpTxn, c_int, *mut *const c_char, *mut c_int) -> c_int;
        fn TSHttpTxnServerProtocolStackGet(TSHttpTxn, c_int, *mut *const c_char, *mut c_int) -> c_int;
        fn TSHttpTxnMilestoneGet(TSHttpTxn, c_int, *mut i64) -> c_int;
        fn TSHttpTxnClientReqHdrBytesGet(TSHttpTxn) -> c_int;
        fn TSHttpTxnClientReqBodyBytesGet(TSHttpTxn) -> i64;
        fn TSHttpTxnClientRespHdrBytesGet(TSHttpTxn) -> c_int;
        fn TSHttpTxnClientRespBodyBytesGet(TSHttpTxn) -> i64;
        fn TSVConnInactivityTimeoutSet(TSVConn, i64);
        fn TSVConnActiveTimeoutCancel(TSVConn);
        fn TSHttpTxnConfigFind(*const c_char, c_int, *mut c_int, *mut c_int) -> c_int;
        fn TSHttpTxnConfigIntGet(TSHttpTxn, c_int, *mut i64) -> c_int;
        fn TSHttpTxnConfigIntSet(TSHttpTxn, c_int, i64) -> c_int;
    }
    // The first two exist in 9.2 only: 10 counts `;parameters` as part of the path.
    optional {
        fn TSUrlHttpParamsGet(TSMBuffer, TSMLoc, *mut c_int) -> *const c_char;
        fn TSUrlHttpParamsSet(TSMBuffer, TSMLoc, *const c_char, c_int) -> c_int;
        fn TSStatCreate(*const c_char, c_int, c_int, c_int) -> c_int;
        fn TSStatFindName(*const c_char, *mut c_int) -> c_int;
        fn TSStatIntSet(c_int, i64);
        fn TSVConnSslSniGet(TSVConn, *mut c_int) -> *const c_char;
        fn TSVConnSslProtocolGet(TSVConn) -> *const c_char;
        fn TSVConnSslConnectionGet(TSVConn) -> TSSslConnection;
    }
    // Of the TLS library that the server is linked with; the name of the first depends on its version.
    library {
        fn SSL_get1_peer_certificate(TSSslConnection) -> Certificate;
        fn SSL_get_peer_certificate(TSSslConnection) -> Certificate;
        fn SSL_get_certificate(TSSslConnection) -> Certificate;
        fn i2d_X509(Certificate, *mut *mut u8) -> c_int;
        fn X509_free(Certificate);
    }
}

static API: OnceLock<Api> = OnceLock::new();

/// Looks `name` up in the process: plain, then as a C++ symbol.
fn find(name: &str) -> *mut c_void {
    let look = |symbol: &str| match CString::new(symbol) {
        // SAFETY: `dlsym` reads a string that ends with a zero byte.
        Ok(symbol) => unsafe { libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr()) },
        Err(_) => std::ptr::null_mut(),
    };
    let plain = look(name);
    if !plain.is_null() {
        return plain;
    }
    MANGLED.iter().find(|(known, _)| *known == name).map_or(std::ptr::null_mut(), |(_, symbol)| look(symbol))
}

/// Fills the table, once per process.
///
/// # Errors
/// Names every required function that the host lacks.
pub(crate) fn load() -> Result<(), Missing> {
    if API.get().is_none() {
        // A second caller would find the same pointers.
        let _ = API.set(Api::resolve(&find)?);
    }
    Ok(())
}

/// Fills the table with the functions of a server in memory.
#[cfg(test)]
pub(crate) fn load_double(find: &dyn Fn(&str) -> *mut c_void) {
    API.get_or_init(|| Api::resolve(find).unwrap_or_else(|missing| panic!("{missing:?}")));
}

/// `TSError` alone, for a host that lacks something else.
pub(crate) fn error_function() -> Option<unsafe extern "C" fn(*const c_char, ...)> {
    let found = find("TSError");
    // SAFETY: null becomes None; the signature is that of the host's interface.
    unsafe { std::mem::transmute::<*mut c_void, Option<unsafe extern "C" fn(*const c_char, ...)>>(found) }
}

/// `TSPluginRegister` alone: a plugin that does not register stops the server, whatever else is missing.
pub(crate) fn register_function() -> Option<unsafe extern "C" fn(*const TSPluginRegistrationInfo) -> c_int> {
    let found = find("TSPluginRegister");
    // SAFETY: as in `error_function`.
    unsafe {
        std::mem::transmute::<
            *mut c_void,
            Option<unsafe extern "C" fn(*const TSPluginRegistrationInfo) -> c_int>,
        >(found)
    }
}

/// `TSTrafficServerVersionGet` alone.
pub(crate) fn version_function() -> Option<unsafe extern "C" fn() -> *const c_char> {
    let found = find("TSTrafficServerVersionGet");
    // SAFETY: as in `error_function`.
    unsafe { std::mem::transmute::<*mut c_void, Option<unsafe extern "C" fn() -> *const c_char>>(found) }
}

/// A string constant of the host, such as `TS_MIME_FIELD_HOST`; data symbols have C names everywhere.
pub(crate) fn string_constant(name: &str) -> Option<*const c_char> {
    let found = find(name).cast::<*const c_char>();
    // SAFETY: the symbol is a pointer to a static string, set before plugins are loaded.
    let text = *unsafe { found.as_ref() }?;
    (!text.is_null()).then_some(text)
}

/// The table.
///
/// Every path to it begins in `TSPluginInit`, which returns early when [`load`] fails; without a table
/// there is no function to call, so the process ends.
#[inline]
pub(crate) fn api() -> &'static Api {
    match API.get() {
        Some(api) => api,
        None => std::process::abort(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_a_cpp_symbol() {
        for name in NAMES {
            assert!(MANGLED.iter().any(|(known, _)| known == name), "{name}: run names/regenerate.sh");
        }
    }

    #[test]
    fn a_host_without_a_function_is_named() {
        let some = |name: &str| {
            if name == "TSNote" { std::ptr::null_mut() } else { std::ptr::dangling_mut::<c_void>() }
        };
        let missing = Api::resolve(&some).map(|_| ()).unwrap_err();
        assert_eq!(missing.names, ["TSNote"]);
    }
}
