//! Lines in Traffic Server's diags.log. Callable on every thread; blocks on the log alone.

use std::ffi::{CString, c_char};

use wasmdbg_control::text::escaped;

use crate::sys::api;

type Printer = unsafe extern "C" fn(*const c_char, ...);

/// `TSError`: an operator must look at it.
pub(crate) fn error(message: &str) {
    print(api().TSError, message);
}

/// `TSWarning`
pub(crate) fn warning(message: &str) {
    print(api().TSWarning, message);
}

/// `TSNote`
pub(crate) fn note(message: &str) {
    print(api().TSNote, message);
}

/// Prints the message as one line: its control characters are shown and not obeyed.
fn print(printer: Printer, message: &str) {
    let Ok(text) = CString::new(escaped(message).into_owned()) else { return };
    // SAFETY: the format takes one string, and `text` ends with a zero byte and outlives the call.
    unsafe { printer(c"[wasmdbg] %s".as_ptr(), text.as_ptr()) };
}

/// Says that the host lacks functions, before there is a table; to standard error when it lacks even
/// `TSError`.
pub(crate) fn unsupported_host(message: &str) {
    match crate::sys::error_function() {
        Some(printer) => print(printer, message),
        None => eprintln!("[wasmdbg] {message}"),
    }
}
