//! The `wasmdbg` binary against a proxy that these tests play.

mod command_line;
mod listing;
mod ports;
mod prompt;
mod proxy;
mod run;
mod terminal;
