//! Texts as the server has them: a pointer and a length.

use std::ffi::{c_char, c_int};

/// A length as the server takes it. What is written is far shorter (`wasmdbg_proxy_wasm::part`), and a longer
/// name that is looked for is in no header.
pub(super) fn length(text: &[u8]) -> c_int {
    c_int::try_from(text.len()).unwrap_or(c_int::MAX)
}

/// # Safety
/// `pointer` is null or points at `size` bytes that live as long as `'a`.
pub(super) unsafe fn bytes<'a>(pointer: *const c_char, size: c_int) -> Option<&'a [u8]> {
    let size = usize::try_from(size).ok()?;
    if pointer.is_null() {
        return None;
    }
    // SAFETY: by the caller.
    Some(unsafe { std::slice::from_raw_parts(pointer.cast(), size) })
}
