//! What the `wasmdbg` command can do: one file for each subcommand.

pub(crate) mod attach;
pub(crate) mod connect;
pub(crate) mod dap;
pub(crate) mod gdb_server;
pub(crate) mod lldb;
pub(crate) mod ps;
pub(crate) mod run;
