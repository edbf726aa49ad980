//! The Proxy-Wasm ABI on wasmtime: filters, virtual machines, fast and debug lane.
