//! End-to-end tests: real Traffic Server, the plugin and the debugger as users run them.

#![forbid(unsafe_code)]

mod examples;
mod harness;
