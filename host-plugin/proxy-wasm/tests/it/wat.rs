//! Filters written as text, with every function of the ABI imported.

use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use wasmdbg_proxy_wasm::{Action, Callback, FastVm, Letter, Outcome, Settings};

use crate::double::{Loaded, Request, load_yaml};

/// Every host function of 0.2.1 with its type; a mistake here or there does not link.
const IMPORTS: &[(&str, &str)] = &[
    ("proxy_done", "(result i32)"),
    ("proxy_set_effective_context", "(param i32) (result i32)"),
    ("proxy_log", "(param i32 i32 i32) (result i32)"),
    ("proxy_get_log_level", "(param i32) (result i32)"),
    ("proxy_get_current_time_nanoseconds", "(param i32) (result i32)"),
    ("proxy_set_tick_period_milliseconds", "(param i32) (result i32)"),
    ("proxy_set_buffer_bytes", "(param i32 i32 i32 i32 i32) (result i32)"),
    ("proxy_get_buffer_bytes", "(param i32 i32 i32 i32 i32) (result i32)"),
    ("proxy_get_buffer_status", "(param i32 i32 i32) (result i32)"),
    ("proxy_get_header_map_size", "(param i32 i32) (result i32)"),
    ("proxy_get_header_map_pairs", "(param i32 i32 i32) (result i32)"),
    ("proxy_set_header_map_pairs", "(param i32 i32 i32) (result i32)"),
    ("proxy_get_header_map_value", "(param i32 i32 i32 i32 i32) (result i32)"),
    ("proxy_add_header_map_value", "(param i32 i32 i32 i32 i32) (result i32)"),
    ("proxy_replace_header_map_value", "(param i32 i32 i32 i32 i32) (result i32)"),
    ("proxy_remove_header_map_value", "(param i32 i32 i32) (result i32)"),
    ("proxy_continue_stream", "(param i32) (result i32)"),
    ("proxy_close_stream", "(param i32) (result i32)"),
    ("proxy_send_local_response", "(param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)"),
    ("proxy_get_property", "(param i32 i32 i32 i32) (result i32)"),
    ("proxy_set_property", "(param i32 i32 i32 i32) (result i32)"),
    ("proxy_get_status", "(param i32 i32 i32) (result i32)"),
    ("proxy_http_call", "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)"),
    ("proxy_grpc_call", "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)"),
    ("proxy_grpc_stream", "(param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)"),
    ("proxy_grpc_send", "(param i32 i32 i32 i32) (result i32)"),
    ("proxy_grpc_cancel", "(param i32) (result i32)"),
    ("proxy_grpc_close", "(param i32) (result i32)"),
    ("proxy_set_shared_data", "(param i32 i32 i32 i32 i32) (result i32)"),
    ("proxy_get_shared_data", "(param i32 i32 i32 i32 i32) (result i32)"),
    ("proxy_register_shared_queue", "(param i32 i32 i32) (result i32)"),
    ("proxy_resolve_shared_queue", "(param i32 i32 i32 i32 i32) (result i32)"),
    ("proxy_enqueue_shared_queue", "(param i32 i32 i32) (result i32)"),
    ("proxy_dequeue_shared_queue", "(param i32 i32 i32) (result i32)"),
    ("proxy_define_metric", "(param i32 i32 i32 i32) (result i32)"),
    ("proxy_record_metric", "(param i32 i64) (result i32)"),
    ("proxy_increment_metric", "(param i32 i64) (result i32)"),
    ("proxy_get_metric", "(param i32 i32) (result i32)"),
    ("proxy_call_foreign_function", "(param i32 i32 i32 i32 i32 i32) (result i32)"),
    ("pthread_equal", "(param i32 i32) (result i32)"),
    ("emscripten_notify_memory_growth", "(param i32)"),
];

/// The WASI functions with a result that matters.
const WASI: &[(&str, &str)] = &[
    ("fd_write", "(param i32 i32 i32 i32) (result i32)"),
    ("fd_read", "(param i32 i32 i32 i32) (result i32)"),
    ("fd_close", "(param i32) (result i32)"),
    ("fd_seek", "(param i32 i64 i32 i32) (result i32)"),
    ("fd_fdstat_get", "(param i32 i32) (result i32)"),
    ("fd_prestat_get", "(param i32 i32) (result i32)"),
    ("path_open", "(param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)"),
    ("clock_time_get", "(param i32 i64 i32) (result i32)"),
    ("random_get", "(param i32 i32) (result i32)"),
    ("environ_sizes_get", "(param i32 i32) (result i32)"),
    ("environ_get", "(param i32 i32) (result i32)"),
    ("args_sizes_get", "(param i32 i32) (result i32)"),
    ("args_get", "(param i32 i32) (result i32)"),
    ("poll_oneoff", "(param i32 i32 i32 i32) (result i32)"),
    ("sched_yield", "(result i32)"),
    ("proc_exit", "(param i32)"),
];

/// Where the heap begins: everything a probe allocates is in the part of memory it shows.
const HEAP: u32 = 0x1800;
/// How much of its memory a probe shows.
const SHOWN: u32 = 0x4000;

/// A module with all imports, a memory, an allocator and the text of `body`.
pub(crate) fn module(body: &str) -> Vec<u8> {
    wat::parse_str(text(body)).unwrap_or_else(|error| panic!("{error}"))
}

/// The text of [`module`].
pub(crate) fn text(body: &str) -> String {
    let import = |from: &str, (name, ty): &(&str, &str)| {
        format!("(import \"{from}\" \"{name}\" (func ${name} {ty}))\n")
    };
    let imports: String = IMPORTS
        .iter()
        .map(|f| import("env", f))
        .chain(WASI.iter().map(|f| import("wasi_snapshot_preview1", f)))
        .collect();
    format!(
        r#"(module {imports}
        (memory (export "memory") 2)
        (global $heap (mut i32) (i32.const {HEAP}))
        (func (export "proxy_abi_version_0_2_1"))
        (func $allocate (export "proxy_on_memory_allocate") (param $size i32) (result i32)
            (global.get $heap)
            (global.set $heap (i32.add (global.get $heap) (local.get $size))))
        {body})"#
    )
}

/// Loads a module; `yaml` are more lines of its `config`.
pub(crate) fn load(bytes: &[u8], yaml: &str) -> Loaded {
    load_with(bytes, yaml, Settings::default())
}

/// As [`load`], with other settings.
pub(crate) fn load_with(bytes: &[u8], yaml: &str, settings: Settings) -> Loaded {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("wasmdbg-abi-{}-{number}.wasm", process::id()));
    fs::write(&path, bytes).unwrap();
    let text = format!(
        "config:\n  name: probe\n  rootId: root\n{yaml}  vmConfig:\n    vmId: vm\n    configuration: of the vm\n    environment_variables: {{key_values: {{COLOUR: red, SIZE: 7}}}}\n    code: {{local: {{filename: {}}}}}\n",
        path.display()
    );
    let loaded = load_yaml(&text, PathBuf::from("/nowhere/filter.yaml"), settings);
    fs::remove_file(&path).unwrap();
    loaded
}

/// Loads a module that must be good, and takes a virtual machine.
pub(crate) fn start(body: &str) -> (Loaded, FastVm) {
    let loaded = load(&module(body), "");
    assert_eq!(loaded.filter.inactive_reason(), None);
    let vm = loaded.filter.take_vm().unwrap();
    (loaded, vm)
}

/// A tick of `vm`, whatever its period.
pub(crate) fn tick(vm: &mut FastVm) -> Outcome {
    deliver(vm, Letter::Tick)
}

/// A letter for the root context of `vm`.
pub(crate) fn deliver(vm: &mut FastVm, letter: Letter) -> Outcome {
    assert!(vm.post(letter));
    let mut outcome = Outcome { action: Action::Continue, effects: Vec::new() };
    outcome.effects = vm.pass_time(Instant::now()).expect("a letter waits");
    if vm.is_dead() {
        outcome.action = Action::Failed;
    }
    outcome
}

/// What host functions answered and left in memory.
pub(crate) struct Probe {
    pub(crate) statuses: Vec<i32>,
    memory: Vec<u8>,
    pub(crate) request: Request,
    pub(crate) outcome: Outcome,
    pub(crate) loaded: Loaded,
}

impl Probe {
    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.memory[at..at + 4].try_into().unwrap())
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.memory[at..at + 8].try_into().unwrap())
    }

    /// The bytes that a pointer at `pointer_at` and a size at `size_at` name.
    pub(crate) fn bytes(&self, pointer_at: usize, size_at: usize) -> &[u8] {
        let (pointer, size) = (self.u32(pointer_at) as usize, self.u32(size_at) as usize);
        &self.memory[pointer..pointer + size]
    }

    pub(crate) fn memory(&self, at: usize, size: usize) -> &[u8] {
        &self.memory[at..at + size]
    }
}

/// Runs `calls`, expressions that leave a status, in `proxy_on_request_headers` of a request with
/// `headers`; `data` are data segments, best from 0x1000 on. Statuses are kept from 0 on, so results
/// go to 0x100 to 0xfff.
pub(crate) fn probe(headers: &[(&str, &str)], data: &str, calls: &[&str]) -> Probe {
    probe_of(Request::new(1, headers), data, calls)
}

/// As [`probe`], of a given request.
pub(crate) fn probe_of(request: Request, data: &str, calls: &[&str]) -> Probe {
    let mut body = String::new();
    for (index, call) in calls.iter().enumerate() {
        body += &format!("(i32.store (i32.const {}) ({call}))\n", 4 * index);
    }
    let text = format!(
        r#"{data} (data (i32.const 0x1700) "shown")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            {body}
            (drop (call $proxy_set_property
                (i32.const 0x1700) (i32.const 5) (i32.const 0) (i32.const {SHOWN})))
            (i32.const 0))"#
    );
    let (loaded, mut vm) = start(&text);
    let (context, _) = vm.create_context(request.boxed());
    let outcome = vm.call(context, Callback::RequestHeaders { end_of_stream: false });
    assert_ne!(outcome.action, Action::Failed, "{:?}", loaded.traps.try_recv());
    let memory = {
        let mut maps = request.maps.lock().unwrap();
        let (name, memory) = maps.properties.pop().unwrap();
        assert_eq!(name, "shown");
        memory
    };
    let mut probe = Probe { statuses: Vec::new(), memory, request, outcome, loaded };
    probe.statuses = (0..calls.len()).map(|index| probe.u32(4 * index) as i32).collect();
    probe
}
