//! The one function that the server looks for in the plugin. Turns its arguments into Rust and does
//! nothing else.

#![expect(unsafe_code, reason = "the C entry point")]

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::init::initialize;

/// Called by the server once for each line of plugin.config that names this plugin.
///
/// # Safety
/// `argv` points at `argc` strings that end with a zero byte; the first is the plugin's own name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn TSPluginInit(argc: c_int, argv: *const *const c_char) {
    let mut words = Vec::new();
    if !argv.is_null() {
        for index in 1..usize::try_from(argc).unwrap_or(0) {
            // SAFETY: by the caller.
            let word = unsafe { CStr::from_ptr(*argv.add(index)) };
            words.push(word.to_string_lossy().into_owned());
        }
    }
    if catch_unwind(AssertUnwindSafe(|| initialize(&words))).is_err() {
        eprintln!("[wasmdbg] a fault of this plugin while it was loaded: no filter runs");
    }
}
