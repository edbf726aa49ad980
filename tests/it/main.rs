//! End-to-end tests: real Traffic Server, the plugin and the debugger as users run them.

#![forbid(unsafe_code)]

mod bad_filters;
mod examples;
mod fast_lane;
mod harness;
mod hygiene;
mod state;
