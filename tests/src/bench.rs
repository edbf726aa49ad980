//! What `make bench` measures, one module for each part of its table.
//!
//! Everything is compared within one run: variants take turns (interleaved rounds), and what is
//! printed is a ratio of them, or a number of instructions that repeats. A measurement that cannot
//! be taken is an error, never a number.

pub mod batch;
pub mod counter;
pub mod editor;
pub mod heavy;
pub mod jitdump;
pub mod large;
pub mod light;
pub mod machine;
pub mod parked;
pub mod profiler;
pub mod recording;
pub mod rounds;
pub mod session;
pub mod slices;
pub mod table;
pub mod untouched;
pub mod variant;
