//! End-to-end tests: real Traffic Server, the plugin and the debugger as users run them.

#![forbid(unsafe_code)]

mod adapter;
mod architecture;
mod bad_filters;
mod calls;
mod command_line;
mod dap_client;
mod dap_launch;
mod dap_reconnect;
mod dap_sessions;
mod dap_stops;
mod debug_lane;
mod debugger;
mod descriptors;
mod examples;
mod extension;
mod fast_lane;
mod faults;
mod framing;
mod harness;
mod hygiene;
mod installing;
mod limits;
mod lldb;
mod parking;
mod pauses;
mod releases;
mod rules;
mod run;
mod shared;
mod socket;
mod state;
mod stops;
mod stream_state;
mod ticks;
mod transactions;
mod unsafe_code;
mod values;
mod vscode;
mod wire;
