//! Traffic Server's objects as safe types: thin newtypes over the pointers of `crate::sys`.
//!
//! The one rule that the types cannot state: a [`Txn`] is valid from its TXN_START until its TXN_CLOSE
//! is re-enabled. Whoever keeps one (the flow of a transaction, a stream context) is gone by then.
//! Header and URL handles never leave the function that made them.

mod address;
mod continuation;
mod header;
mod host;
mod log;
mod mutex;
pub(crate) mod records;
mod session;
mod socket;
mod thread;
mod txn;
mod url;
mod vconn;

pub(crate) use address::Endpoint;
pub(crate) use continuation::{
    Event, Hook, HookContinuation, HookHandler, Timer, TimerHandler, lifecycle_hook, post, post_after,
    post_task, reason,
};
pub(crate) use header::{Edit, Header, WellKnown};
pub(crate) use host::{config_dir, config_fraction, config_integer, prepare, runtime_dir, version};
pub(crate) use log::{error, note, warning};
pub(crate) use mutex::Guard;
pub(crate) use session::{ClientSession, ClientSessionHandler, client_session_hook};
pub(crate) use socket::Socket;
pub(crate) use thread::{EventThread, is_server_thread, name_thread, spawn};
pub(crate) use txn::{ArgSlot, OverridableKey, Txn};
pub(crate) use url::Url;
