//! The flame graph in a real Chromium: what it shows is what the recording has.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use serde_json::{Value, json};
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::browser;
use wasmdbg_tests::http::Request;
use wasmdbg_tests::load::{Load, Plan};
use wasmdbg_tests::scratch::Scratch;

use crate::support::{succeed, turn};

/// Trial division goes up to 63,245.
const PRIME: &str = "3999999979";
const SAMPLES: &str = "6000";

/// Percent of the weight of all stacks in which a frame's name is taken.
fn percent(profile: &Value, takes: impl Fn(&str) -> bool) -> f64 {
    let stacks = profile["stacks"].as_array().unwrap().iter();
    let taken =
        stacks.filter(|stack| names(stack).any(&takes)).map(|stack| stack["weight"].as_u64().unwrap());
    taken.sum::<u64>() as f64 * 100.0 / profile["total"].as_u64().unwrap() as f64
}

fn names(stack: &Value) -> impl Iterator<Item = &str> {
    stack["frames"].as_array().unwrap().iter().map(|frame| frame.as_str().unwrap())
}

/// A search, which frames it must find, and their share.
fn search(profile: &Value, term: &str, takes: impl Fn(&str) -> bool) -> Value {
    let stacks = profile["stacks"].as_array().unwrap();
    let found: BTreeSet<&str> = stacks.iter().flat_map(names).filter(|name| takes(name)).collect();
    assert!(!found.is_empty(), "{term}");
    json!({ "term": term, "frames": found, "percent": percent(profile, takes) })
}

/// The name of the row of a table with the largest share of its own for which `takes` holds.
fn first<'a>(profile: &'a Value, table: &str, takes: impl Fn(&str) -> bool) -> &'a str {
    let names = profile[table].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap());
    names.into_iter().find(|name| takes(name)).unwrap_or_else(|| panic!("{}", profile[table]))
}

/// A function of the kernel that takes time of its own, if the kernel lets us sample it.
fn kernel_function(profile: &Value) -> Option<&str> {
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    if !nix::unistd::geteuid().is_root() && paranoid.trim().parse::<i32>().unwrap() > 1 {
        return None;
    }
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let names: HashSet<&str> = symbols.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    Some(first(profile, "functions", |name| names.contains(name)))
}

/// Records a server whose filters do what they are for.
fn record(folder: &Path) -> Value {
    let ats = Ats::options()
        .filter(Filter::example("rust-token", "release").configuration("token quiet"))
        .filter(Filter::example("cpp-headers", "release").configuration("8192"))
        .start()
        .unwrap();
    let request = Request::get("/cache/100/x").header("token", PRIME).header("accept", "text/html");
    let load = Load::start(ats.address(), &Plan::new(2, request));
    let svg = folder.join("graph.svg");
    let pid = ats.pid().to_string();
    succeed(&[
        "record",
        "-p",
        &pid,
        "-F",
        "1999",
        "--samples",
        SAMPLES,
        "-d",
        "300",
        "-o",
        svg.to_str().unwrap(),
    ]);
    let lap = load.stop();
    assert_eq!(lap.errors, 0, "{:?}", lap.first_error);
    let recording = folder.join("graph.wasmprof");
    serde_json::from_str(&succeed(&["export", "--format", "json", recording.to_str().unwrap()])).unwrap()
}

#[test]
#[ignore = "needs Chromium: `make test` runs it last, by `make test-flame-graph`"]
fn a_flame_graph_in_a_browser() {
    let _turn = turn();
    let scratch = Scratch::new("flame-graph").unwrap();
    let profile = record(scratch.path());
    let callback = "proxy_on_request_headers";
    let function = "<rust_token::TokenFilter as proxy_wasm::traits::HttpContext>::on_http_request_headers";
    let line = first(&profile, "lines", |name| name.starts_with("src/lib.rs:"));
    let mut kinds = json!({
        "other": "[array_to_wasm_trampoline]", "filter, callback": "filter rust-token", "Wasm": function,
        "inlined": "rust_token::is_prime", "source line": line, "host": "EThread::execute",
    });
    let kernel = kernel_function(&profile);
    if let Some(name) = kernel {
        kinds["kernel"] = json!(name);
    }
    let seconds = profile["total"].as_f64().unwrap() / 1e9;
    let samples = profile["samples"].as_u64().unwrap();
    let plan = json!({
        "svg": scratch.path().join("graph.svg"), "title": profile["title"],
        "figures": format!("{seconds:.3} s, {samples} samples, 0 lost, 0 unresolved; recorder: "),
        "kinds": kinds,
        "exact": [function, "<wasmdbg_ats::hooks::Hooks as wasmdbg_ats::ts::continuation::HookHandler>::handle"],
        "line": { "name": line, "percent": percent(&profile, |name| name == line) },
        "searches": [
            search(&profile, "rust_token::is_prime", |name| name.contains("rust_token::is_prime")),
            search(&profile, "[traffic_server]", |name| name == "[traffic_server]"),
            search(&profile, "^proxy_on_re(quest|sponse)_h", |name| {
                name.starts_with("proxy_on_request_h") || name.starts_with("proxy_on_response_h")
            }),
        ],
        "zoom": {
            "name": "rust_token::judge", "inner": line,
            "callers": [callback, "filter rust-token", "EThread::execute"], "others": ["filter cpp-headers"],
        },
    });
    browser::drive("profiler/tests/browser/flame_graph.mjs", plan, &scratch).unwrap();
}
