//! A client's connection, which carries transactions.

use std::ffi::{CStr, c_int, c_void};
use std::panic::catch_unwind;
use std::ptr::NonNull;

use super::continuation::{Hook, HookContinuation, reason};
use super::parked::Event;
use crate::sys::{self, SsnTag, TS_SUCCESS, TSCont, api};

/// Protocols of which a client's connection has more than one, from the top.
const PROTOCOLS: usize = 10;

/// A session in its SSN_START hook.
#[derive(Debug)]
pub(crate) struct ClientSession(NonNull<SsnTag>);

/// What the plugin does at SSN_START. Static, as [`super::HookHandler`].
pub(crate) trait ClientSessionHandler: 'static {
    /// A client has connected; none of its transactions has begun.
    fn started(session: &ClientSession);
}

impl ClientSession {
    /// Whether its transactions are streams side by side: HTTP/2, HTTP/3.
    pub(crate) fn has_streams(&self) -> bool {
        let mut names = [std::ptr::null(); PROTOCOLS];
        let mut count = 0;
        // SAFETY: the session is in a hook of ours; at most so many pointers are written.
        let result = unsafe {
            let room = PROTOCOLS as c_int;
            (api().TSHttpSsnClientProtocolStackGet)(self.0.as_ptr(), room, names.as_mut_ptr(), &raw mut count)
        };
        let known = if result == TS_SUCCESS { usize::try_from(count).unwrap_or(0) } else { 0 };
        names.iter().take(known).filter(|name| !name.is_null()).any(|name| {
            // SAFETY: protocol names are static strings of the server.
            let name = unsafe { CStr::from_ptr(*name) };
            matches!(name.to_bytes(), b"h2" | b"http/3" | b"h3")
        })
    }

    /// Calls `continuation` at `hook` of each of its transactions.
    pub(crate) fn add(&self, continuation: &HookContinuation, hook: Hook) {
        // SAFETY: the session is in a hook of ours; the continuation is never destroyed.
        unsafe { (api().TSHttpSsnHookAdd)(self.0.as_ptr(), hook.id(), continuation.as_ptr()) };
    }
}

/// Calls `H` at SSN_START of every session.
pub(crate) fn client_session_hook<H: ClientSessionHandler>() {
    // SAFETY: the trampoline has the C signature; no data and no mutex, so it is called on any thread.
    unsafe {
        let continuation = (api().TSContCreate)(session_trampoline::<H>, std::ptr::null_mut());
        (api().TSHttpHookAdd)(sys::hook::SSN_START, continuation);
    }
}

unsafe extern "C" fn session_trampoline<H: ClientSessionHandler>(
    _cont: TSCont,
    event: c_int,
    data: *mut c_void,
) -> c_int {
    if event != sys::event::HTTP_SSN_START {
        return 0;
    }
    let Some(session) = NonNull::new(data.cast()).map(ClientSession) else { return 0 };
    if let Err(panic) = catch_unwind(|| H::started(&session)) {
        super::error(&format!("a panic at the start of a session: {}", reason(&panic)));
    }
    // SAFETY: the session stands in this hook. Last statement: this may run its first transaction.
    unsafe { (api().TSHttpSsnReenable)(session.0.as_ptr(), Event::Continue.number()) };
    0
}
