//! The wasmdbg command.
fn main() {}
