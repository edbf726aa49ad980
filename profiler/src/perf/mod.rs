//! Sampling by the kernel's perf events: attributes, one event per thread and processor, ring buffers,
//! records. Knows nothing of Wasm, and never stops the target.

mod attributes;
mod filter;
mod record;
mod ring;
mod sampler;
mod sys;

pub use attributes::{Event, REGISTERS, UnknownEvent};
pub use record::{Mode, Record, RegisterSet, Sample, Truncated, parse};
pub use ring::Ring;
pub use sampler::{OpenError, Options, Sampler, Tally, online_cpus};
pub(crate) use sys::give_way;
