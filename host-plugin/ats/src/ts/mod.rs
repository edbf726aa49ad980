//! Traffic Server's objects as safe types: thin newtypes over the pointers of `crate::sys`.
//!
//! A transaction has a name, [`Txn`], which is good for nothing but to find what belongs to it. Only an
//! [`Access`] asks or changes anything, and what it gives is borrowed from it: it exists in a hook
//! ([`Visit`]) and under a transaction's mutex ([`Parked::lock`], `Lease::access`). The one rule that the types
//! cannot state: a `Lease` is gone when its transaction's TXN_CLOSE is re-enabled.
//!
//! Public for the examples in it that must not compile; nothing outside this crate uses it.

#![expect(unsafe_code, reason = "safe types over the C interface")]

mod access;
mod address;
mod certificates;
mod continuation;
mod header;
mod host;
mod log;
mod mutex;
mod parked;
pub(crate) mod records;
mod session;
mod socket;
mod statistic;
mod text;
mod thread;
mod txn;
mod url;
mod vconn;

pub(crate) use access::Lease;
pub use access::{Access, Locked, Txn};
pub(crate) use address::Endpoint;
pub(crate) use certificates::Whose;
pub(crate) use continuation::{
    Hook, HookContinuation, HookHandler, Lifecycle, Timer, TimerHandler, Work, lifecycle_hook, post,
    post_after, post_in_turn, post_task, reason,
};
pub(crate) use header::{Edit, WellKnown};
pub use header::{Header, HeaderMut};
pub(crate) use host::{config_dir, config_fraction, config_integer, prepare, runtime_dir, version};
pub(crate) use log::{error, note, warning};
pub use parked::{Event, Next, Parked, Visit};
pub(crate) use session::{ClientSession, ClientSessionHandler, client_session_hook};
pub(crate) use socket::Socket;
pub(crate) use statistic::Statistic;
pub(crate) use thread::{EventThread, is_server_thread, name_thread, spawn};
pub(crate) use txn::{ArgSlot, OverridableKey};
pub use url::{UrlMut, UrlRef};
pub(crate) use vconn::VConn;
