//! The process that loaded the plugin: registration, version, folders, records.

use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::log;
use super::records::Record;
use crate::sys::{self, TS_SUCCESS, TSPluginRegistrationInfo, api};

/// Registers the plugin and fills the table of functions. A plugin that does not register ends the
/// server, so that comes first and whatever else fails.
///
/// # Errors
/// The host lacks functions; it has been told so in its log.
pub(crate) fn prepare() -> Result<(), ()> {
    let registered = sys::register_function().is_some_and(|register| {
        let info = TSPluginRegistrationInfo {
            plugin_name: c"wasmdbg".as_ptr(),
            vendor_name: c"wasmdbg".as_ptr(),
            support_email: c"wasmdbg".as_ptr(),
        };
        // SAFETY: `info` lives through the call and its strings are static.
        unsafe { register(&raw const info) == TS_SUCCESS }
    });
    let version = sys::version_function().map_or_else(
        || "an unknown version".to_owned(),
        // SAFETY: the function has no argument and returns a static string.
        |version| text(unsafe { version() }),
    );
    if let Err(missing) = sys::load() {
        log::unsupported_host(&format!(
            "the host ({version}) lacks {}: wasmdbg.so runs in Traffic Server 9.2 and 10; no filter is loaded",
            missing.names.join(", ")
        ));
        return Err(());
    }
    if !registered {
        log::error("TSPluginRegister failed: no filter is loaded");
        return Err(());
    }
    Ok(())
}

/// `9.2.5`
pub(crate) fn version() -> String {
    // SAFETY: no argument; the result is static.
    text(unsafe { (api().TSTrafficServerVersionGet)() })
}

/// `TSConfigDirGet`
pub(crate) fn config_dir() -> PathBuf {
    // SAFETY: no argument; the result is static.
    path(unsafe { (api().TSConfigDirGet)() })
}

/// `TSRuntimeDirGet`
pub(crate) fn runtime_dir() -> PathBuf {
    // SAFETY: no argument; the result is static.
    path(unsafe { (api().TSRuntimeDirGet)() })
}

/// The value of an integer record (`TSMgmtIntGet`).
pub(crate) fn config_integer(record: Record) -> Option<i64> {
    let name = CString::new(record.name(&version())).ok()?;
    let mut value = 0;
    // SAFETY: `name` ends with a zero byte, `value` is written when the result is TS_SUCCESS.
    let result = unsafe { (api().TSMgmtIntGet)(name.as_ptr(), &raw mut value) };
    (result == TS_SUCCESS).then_some(value)
}

/// The value of a record with a fraction (`TSMgmtFloatGet`).
pub(crate) fn config_fraction(record: Record) -> Option<f32> {
    let name = CString::new(record.name(&version())).ok()?;
    let mut value = 0.0;
    // SAFETY: as in `config_integer`.
    let result = unsafe { (api().TSMgmtFloatGet)(name.as_ptr(), &raw mut value) };
    (result == TS_SUCCESS).then_some(value)
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null; the host's strings end with a zero byte and are static.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

fn path(pointer: *const c_char) -> PathBuf {
    if pointer.is_null() {
        return PathBuf::new();
    }
    // SAFETY: not null; the host's strings end with a zero byte and are static.
    PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(pointer) }.to_bytes()))
}
