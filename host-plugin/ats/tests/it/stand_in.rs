//! The plugin in a host that has the C++ names and the records of Traffic Server 10, and in one that lacks
//! functions.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::mangled::MANGLED;

/// What `host.c` implements; it finds the symbols as `SYMBOL_…`.
const IMPLEMENTED: [&str; 16] = [
    "TSPluginRegister",
    "TSError",
    "TSWarning",
    "TSNote",
    "TSTrafficServerVersionGet",
    "TSConfigDirGet",
    "TSRuntimeDirGet",
    "TSMgmtIntGet",
    "TSMgmtFloatGet",
    "TSUserArgIndexReserve",
    "TSHttpTxnConfigFind",
    "TSContCreate",
    "TSMutexCreate",
    "TSContDataSet",
    "TSHttpHookAdd",
    "TSLifecycleHookAdd",
];

/// The names of the records of 10.2.0, one a line.
const RECORDS: &str = include_str!("../../names/records-10.txt");

/// A folder that goes when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wasmdbg-host-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A built host and its folder.
struct Host {
    folder: Folder,
}

impl Host {
    /// Builds one that exports all functions but those in `lacking`.
    fn without(lacking: &[&str]) -> Self {
        let folder = Folder::new();
        let mut stubs = String::new();
        for (name, symbol) in MANGLED {
            let symbol = if lacking.contains(name) { format!("not_{symbol}") } else { (*symbol).to_owned() };
            if IMPLEMENTED.contains(name) {
                writeln!(stubs, "#define SYMBOL_{name} \"{symbol}\"").expect("text");
            } else {
                writeln!(stubs, "STUB(stub_{name}, \"{symbol}\")").expect("text");
            }
        }
        writeln!(stubs, "static const char *const RECORDS[] = {{").expect("text");
        for name in RECORDS.lines().filter(|line| !line.starts_with('#')) {
            writeln!(stubs, "    \"{name}\",").expect("text");
        }
        writeln!(stubs, "}};").expect("text");
        std::fs::write(folder.path().join("stubs.h"), stubs).expect("stubs.h");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/host.c");
        let built = Command::new("cc")
            .args(["-rdynamic", "-w", "-I"])
            .arg(folder.path())
            .arg("-o")
            .arg(folder.path().join("host"))
            .arg(source)
            .arg("-ldl")
            .output()
            .expect("cc runs: Rust links with it");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Self { folder }
    }

    /// Loads the plugin with `arguments` and returns what the host saw.
    fn load(&self, arguments: &[&str], stack: u64) -> String {
        let output = Command::new(self.folder.path().join("host"))
            .arg(plugin())
            .args(arguments)
            .env("HOST_DIR", self.folder.path())
            .env("HOST_STACK", stack.to_string())
            .output()
            .expect("the host runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.folder.path().join(name), content).expect("a file of the host");
    }
}

/// The library beside this test's folder.
fn plugin() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.parent().expect("deps").to_owned();
    let found = [folder.clone(), folder.join("..")].map(|folder| folder.join("libwasmdbg_ats.so"));
    found.into_iter().find(|path| path.exists()).expect("cargo has built the library of this crate")
}

const FILTER: &str =
    "config:\n  name: small\n  vmConfig:\n    code:\n      local:\n        filename: small.wasm\n";

fn small() -> Vec<u8> {
    let text = r#"(module (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 64) "configured")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 16)
        (func (export "proxy_on_context_create") (param i32 i32))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $log (i32.const 2) (i32.const 64) (i32.const 10))) i32.const 1)
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) i32.const 0))"#;
    wat::parse_str(text).expect("a module")
}

#[test]
fn a_host_with_cpp_names_gets_the_plugin_with_its_filter() {
    let host = Host::without(&[]);
    host.write("small.yaml", FILTER.as_bytes());
    host.write("small.wasm", &small());
    let seen = host.load(&["small.yaml"], 1 << 20);
    assert!(seen.contains("registered: wasmdbg\n"), "{seen}");
    // READ_REQUEST_HDR and TXN_CLOSE; no SEND_RESPONSE_HDR, for which the filter exports nothing.
    assert!(seen.contains("hook: 0\n") && seen.contains("hook: 10\n"), "{seen}");
    // PORTS_READY, TASK_THREADS_READY and SHUTDOWN.
    assert!([1, 6, 7].iter().all(|hook| seen.contains(&format!("lifecycle hook: {hook}\n"))), "{seen}");
    assert!(!seen.contains("error: "), "{seen}");
    assert!(!seen.contains("no such record"), "{seen}");
    assert!(seen.contains("init returned\n"), "{seen}");
    assert!(seen.contains("unloaded: no\n"), "{seen}");
}

#[test]
fn each_event_thread_finds_a_virtual_machine() {
    let host = Host::without(&[]);
    host.write("small.yaml", FILTER.as_bytes());
    host.write("small.wasm", &small());
    let seen = host.load(&["small.yaml"], 1 << 20);
    // Eight threads, and a spare.
    assert_eq!(seen.lines().filter(|line| line.ends_with("configured")).count(), 9, "{seen}");
}

#[test]
fn a_host_that_lacks_a_function_is_told_which() {
    let host = Host::without(&["TSHttpTxnReenable"]);
    let seen = host.load(&["small.yaml"], 1 << 20);
    assert!(
        seen.contains("registered: wasmdbg\n"),
        "a plugin that does not register ends the server: {seen}"
    );
    assert!(seen.contains("the host (10.2.0) lacks TSHttpTxnReenable"), "{seen}");
    assert!(!seen.contains("hook: "), "{seen}");
    assert!(seen.contains("init returned\n"), "{seen}");
}

#[test]
fn a_filter_that_cannot_be_loaded_is_named_and_the_host_goes_on() {
    let host = Host::without(&[]);
    host.write("small.yaml", FILTER.as_bytes());
    let seen = host.load(&["small.yaml"], 1 << 20);
    assert!(seen.contains("registered: wasmdbg\n"), "{seen}");
    assert!(seen.lines().any(|line| line.starts_with("error: ") && line.contains("small.wasm")), "{seen}");
    assert!(seen.contains("init returned\n"), "{seen}");
}

#[test]
fn threads_with_too_small_a_stack_run_no_filter() {
    let host = Host::without(&[]);
    host.write("small.yaml", FILTER.as_bytes());
    host.write("small.wasm", &small());
    let seen = host.load(&["small.yaml"], 128 << 10);
    let said = seen.lines().find(|line| line.contains("proxy.config.thread.default.stacksize"));
    assert!(said.is_some_and(|line| line.starts_with("error: ")), "{seen}");
}
