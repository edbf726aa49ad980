//! One virtual machine: its contexts, what it may use, how it is entered, and how it ends. Both lanes stand on
//! it; the fast one is here.

pub(crate) mod callbacks;
pub(crate) mod contexts;
mod deadlines;
pub(crate) mod entry;
pub(crate) mod fast;
pub(crate) mod guest;
pub(crate) mod lent;
pub(crate) mod lifecycle;
pub(crate) mod limits;
mod log;
pub(crate) mod mailbox;
pub(crate) mod output;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod trap;
mod waits;

pub use self::entry::Callback;
pub use self::fast::FastVm;
pub use self::mailbox::Letter;
pub use self::start::StartError;
pub use self::trap::{TrapFrame, TrapKind, TrapReport};
