//! Steps by source line over a proxy that only knows pcs.

mod plan;

pub use plan::{Libraries, Step, is_library};
pub(crate) use plan::{Next, Plan, begin};
