//! The debug lane: slots (virtual machines on threads of their own, compiled for debugging), the
//! transactions they serve, and how their guests stop, are looked at and go on.
//!
//! Exists only while a session is attached. Knows the control protocol's types and its clients' queues;
//! what clients ask is decided in [`crate::agent`].

mod block_on;
mod budget;
mod cache;
mod context;
pub(crate) mod engine;
mod frames;
mod handler;
mod histogram;
pub(crate) mod lane;
mod layout;
mod plant;
pub(crate) mod process;
mod query;
mod root;
pub(crate) mod rules;
pub(crate) mod session;
pub(crate) mod slot;
mod stepping;
pub(crate) mod stop;
mod stream;
mod vm;
pub(crate) mod worker;

pub use self::context::{Claim, DebugContext};
pub use self::histogram::{Measuring, WorkHistogram};
pub use self::lane::DebugLane;
pub use self::root::DebugRoot;
pub use self::rules::Candidate;
pub use self::slot::{Done, EffectSink, Ending};
