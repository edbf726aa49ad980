//! Which proposals of WebAssembly modules may use, and what is said of a module that uses another one: its name, and
//! how to compile without it. docs/CONFORMANCE.md has the table.

use wasmparser::{Validator, WasmFeatures};
use wasmtime::Config;

/// A proposal that is off.
struct Proposal {
    name: &'static str,
    features: WasmFeatures,
    /// What to do.
    instead: &'static str,
}

/// Those that modules are met with.
const OFF: [Proposal; 8] = [
    Proposal {
        name: "exceptions",
        features: WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS),
        instead: "compile C++ with -fno-exceptions, Rust with panic = \"abort\" (its default for Wasm)",
    },
    Proposal {
        name: "threads",
        features: WasmFeatures::THREADS,
        instead: "compile without -pthread and -matomics; Rust without target-feature=+atomics and not for wasm32-wasip1-threads",
    },
    Proposal {
        name: "memory64",
        features: WasmFeatures::MEMORY64,
        instead: "Proxy-Wasm has 32-bit pointers: compile for wasm32 and not for wasm64, with Emscripten without -sMEMORY64",
    },
    Proposal {
        name: "garbage collection (gc, externref)",
        features: WasmFeatures::GC.union(WasmFeatures::GC_TYPES),
        instead: "a language that manages its memory in Wasm's linear memory runs (AssemblyScript, Go); with Rust's wasm-bindgen leave out --reference-types",
    },
    Proposal {
        name: "stack switching",
        features: WasmFeatures::STACK_SWITCHING,
        instead: "compile without coroutines on stacks of the engine (with Emscripten without -sJSPI)",
    },
    Proposal {
        name: "wide arithmetic",
        features: WasmFeatures::WIDE_ARITHMETIC,
        instead: "compile without -mwide-arithmetic, Rust without target-feature=+wide-arithmetic",
    },
    Proposal {
        name: "custom page sizes",
        features: WasmFeatures::CUSTOM_PAGE_SIZES,
        instead: "link without --page-size",
    },
    Proposal {
        name: "memory control",
        features: WasmFeatures::MEMORY_CONTROL,
        instead: "compile without memory.discard",
    },
];

/// The version and layer of a component, behind the magic number.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// What both engines are told: everything that is not said here has wasmtime's default.
pub(crate) fn configure(config: &mut Config) {
    config
        .wasm_simd(true)
        .wasm_relaxed_simd(true)
        .wasm_bulk_memory(true)
        .wasm_multi_value(true)
        .wasm_tail_call(true)
        .wasm_multi_memory(true)
        .wasm_extended_const(true)
        .wasm_memory64(false);
}

/// What is off and a module needs, if that is why it cannot be compiled.
///
/// Asked when that has failed alone: the module is read once for each proposal.
pub(crate) fn needed(bytes: &[u8]) -> Option<String> {
    if bytes.starts_with(COMPONENT) {
        return Some(String::from(
            "it is a component (the component model), and filters are core modules: compile for wasm32-wasip1 and not for wasm32-wasip2, with TinyGo without -target=wasip2",
        ));
    }
    let all = OFF.iter().fold(WasmFeatures::all(), |all, off| all | off.features);
    let valid = |features| Validator::new_with_features(features).validate_all(bytes).is_ok();
    if !valid(all) {
        return None;
    }
    let needed: Vec<String> = OFF
        .iter()
        .filter(|off| !valid(all.difference(off.features)))
        .map(|off| {
            format!("it uses a proposal of WebAssembly that is off here, {}: {}", off.name, off.instead)
        })
        .collect();
    (!needed.is_empty()).then(|| needed.join("; "))
}
