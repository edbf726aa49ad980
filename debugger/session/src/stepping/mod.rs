//! Steps by source line out of runs by pc. Says how a slot is to go on, and sends nothing.
//!
//! A step ends where a statement starts (is_stmt): in another line, another frame, or an inlined call
//! that was stepped into. In front of an inlined call the pc is the callee's first opcode already; the
//! callee's frames are then hidden, and stepping into it shows them without moving.

mod begin;
mod here;
mod library;
mod plan;
mod step;

pub(crate) use begin::begin;
pub use library::is_library;
pub(crate) use plan::{Next, Plan};
pub use step::{Libraries, Step};
