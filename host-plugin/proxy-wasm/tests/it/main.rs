//! The ABI and the fast lane, driven as a proxy drives them, without one.

mod bad_modules;
mod configuration;
mod deadlines;
mod debug_bounds;
mod debug_limits;
mod debug_sessions;
mod debug_slots;
mod debug_stage;
mod debug_steps;
mod debug_stops;
mod double;
mod examples;
mod flow;
mod headers;
mod letters;
mod lifecycle;
mod limits;
mod metrics;
mod older;
mod others;
mod service;
mod shared;
mod stock;
mod traps;
mod wasi;
mod wat;
