//! Addresses, lines, functions, scopes and types of a Wasm module.
