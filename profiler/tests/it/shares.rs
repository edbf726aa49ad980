//! Truth by construction: modules that spend 30, 50 and 20 % of their time in three functions.

use std::path::Path;

use crate::support::{Embedder, Folder, fixture, json, run, share, succeed, turn, without_custom_sections};

/// Largest difference to the truth in points.
const NEAR: f64 = 2.0;

/// So many samples that `NEAR` is five standard errors of a share of one half.
const SAMPLES: u64 = 16_000;

/// Records `samples` samples of `pid` at `hertz` into `out`, however long they take.
fn record(pid: &str, hertz: u64, samples: u64, out: &Path, further: &[&str]) -> String {
    let (hertz, samples, out) = (hertz.to_string(), samples.to_string(), out.to_str().unwrap());
    let arguments =
        ["record", "-p", pid, "-F", &hertz, "--samples", &samples, "-d", "300", "--stack", "8192", "-o", out];
    succeed(&[&arguments[..], further].concat())
}

fn assert_near(what: &str, found: f64, truth: f64) {
    assert!((found - truth).abs() <= NEAR, "{what}: {found:.2} % instead of {truth} %");
}

/// Percent of all weight of the stacks in which `inner` is called by `outer`.
fn share_within(profile: &serde_json::Value, outer: &str, inner: &str) -> f64 {
    let of = |stack: &&serde_json::Value| {
        let mut frames = stack["frames"].as_array().unwrap().iter().map(|frame| frame.as_str().unwrap());
        frames.any(|frame| frame.ends_with(outer)) && frames.any(|frame| frame.ends_with(inner))
    };
    let stacks = profile["stacks"].as_array().unwrap().iter().filter(of);
    let weight: u64 = stacks.map(|stack| stack["weight"].as_u64().unwrap()).sum();
    weight as f64 * 100.0 / profile["total"].as_u64().unwrap() as f64
}

#[test]
fn an_embedder_that_knows_no_profiler_by_its_memory() {
    let _turn = turn();
    let embedder = Embedder::start();
    let folder = Folder::new();
    let svg = folder.path("out.svg");
    let printed = record(&embedder.pid(), 3999, SAMPLES, &svg, &[]);
    let profile = json(&folder.path("out.wasmprof"));
    assert_near("inlined", share(&profile, "functions", "inlined_third"), 30.0);
    assert_near("called from two callbacks", share(&profile, "functions", "half"), 50.0);
    assert_near("in the other module", share(&profile, "functions", "fifth"), 20.0);
    assert_near("first module", share(&profile, "filters", "filter shares_first.wasm"), 80.0);
    assert_near("response", share(&profile, "callbacks", "proxy_on_response_headers"), 40.0);
    let coverage = |field: &str| profile["coverage"][field].as_f64().unwrap();
    assert!(coverage("named") >= coverage("wasm") * 0.99, "{}", profile["coverage"]);
    assert!(coverage("line") >= coverage("wasm") * 0.99, "{}", profile["coverage"]);
    let summary = |field: &str| profile["summary"][field].as_f64().unwrap();
    assert!(summary("wasm_rooted") >= summary("wasm") * 0.999, "{}", profile["summary"]);
    // More would be samples counted twice. A busy machine may well skip some, and time that a hypervisor takes passes
    // for the clock and not for the CPU time.
    assert!((0.5 * 3999.0..=1.5 * 3999.0).contains(&summary("rate")), "{}", profile["summary"]);
    assert!(printed.contains(", 0 unresolved"), "{printed}");
    assert!(summary("samples") >= SAMPLES as f64 && profile["summary"]["ended"] == "samples", "{printed}");
    // What the sampled lines say is what the source says.
    let source = std::fs::read_to_string(fixture("shares/lib.rs")).unwrap();
    let top = profile["lines"][0]["name"].as_str().unwrap();
    let line: usize = top.rsplit(':').next().unwrap().parse().unwrap();
    assert!(source.lines().nth(line - 1).unwrap().contains("x ^= x"), "{top}");
    let svg = std::fs::read_to_string(svg).unwrap();
    for text in ["filter shares_first.wasm", "inlined_third", "shares/lib.rs:", "id=\"legend\""] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn code_that_takes_the_place_of_other_code_is_told_apart() {
    let _turn = turn();
    let embedder = Embedder::with(&fixture("shares_first.wasm"), &fixture("shares_second.wasm"), &["reload"]);
    let folder = Folder::new();
    let out = folder.path("out.wasmprof");
    record(&embedder.pid(), 1999, SAMPLES, &out, &[]);
    let profile = json(&out);
    let filters = profile["filters"].as_array().unwrap();
    let generations = filters.iter().filter(|row| row["name"].as_str().unwrap().contains("generation"));
    assert!(filters.len() == 2 && generations.count() == 1, "one of them came second: {filters:?}");
    let parts = ["inlined_third", "half", "fifth"].map(|name| share(&profile, "functions", name));
    let first = parts[0] + parts[1];
    assert_near("inlined", parts[0] * 100.0 / first, 37.5);
    assert!(parts.iter().sum::<f64>() > 70.0, "compiling takes little: {parts:?}");
    // Both get the same time but for the last turn: there are twenty at least.
    let (first, second) = (first, parts[2]);
    assert!((0.8..=1.25).contains(&(first / second)), "both have the same time: {parts:?}");
}

#[test]
fn a_stripped_module_is_named_by_its_unstripped_copy() {
    let _turn = turn();
    let folder = Folder::new();
    let stripped = folder.path("stripped.wasm");
    let whole = std::fs::read(fixture("shares_first.wasm")).unwrap();
    std::fs::write(&stripped, without_custom_sections(&whole)).unwrap();
    let embedder = Embedder::with(&stripped, &fixture("shares_second.wasm"), &[]);
    let out = folder.path("out.wasmprof");
    let (pid, copy) = (embedder.pid(), fixture("shares_first.wasm"));
    record(&pid, 3999, 1000, &out, &[]);
    assert!(share(&json(&out), "functions", "half") == 0.0, "nothing names it");
    record(&pid, 3999, SAMPLES, &out, &["--module", copy.to_str().unwrap()]);
    assert_near("named", share(&json(&out), "functions", "half"), 50.0);
}

/// By the clocks of the processors, where that is allowed, and by those of its threads.
#[test]
fn another_process_of_the_same_program_is_not_recorded() {
    let _turn = turn();
    let folder = Folder::new();
    let (embedder, _other) = (Embedder::start(), Embedder::start());
    let out = folder.path("out.wasmprof");
    for further in [&[][..], &["--by-thread"]] {
        record(&embedder.pid(), 1999, 4000, &out, further);
        let profile = json(&out);
        // The other's code lies elsewhere.
        assert_eq!(profile["summary"]["unresolved"], 0, "{further:?}: {}", profile["summary"]);
        let first = share(&profile, "filters", "filter shares_first.wasm");
        assert!((first - 80.0).abs() <= 2.0 * NEAR, "{further:?}: {first}");
    }
}

#[test]
fn code_without_symbols_is_said_to_have_none() {
    let _turn = turn();
    let folder = Folder::new();
    let module = fixture("shares_first.wasm");
    let embedder = Embedder::with(&module, &module, &["nameless"]);
    let svg = folder.path("out.svg");
    let arguments = ["record", "-p", &embedder.pid(), "--samples", "100", "-d", "300", "-o"];
    let output = run(&[&arguments[..], &[svg.to_str().unwrap()]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("Config::debug_symbols(false)"), "{said}");
}

#[test]
fn lines_of_a_module_with_a_source_map() {
    let _turn = turn();
    let folder = Folder::new();
    let (module, map) = (folder.path("script.wasm"), folder.path("elsewhere.map"));
    std::fs::copy(fixture("shares_script.wasm"), &module).unwrap();
    std::fs::copy(fixture("shares_script.wasm.map"), &map).unwrap();
    let embedder = Embedder::with(&module, &module, &[]);
    let (pid, out) = (embedder.pid(), folder.path("out.wasmprof"));
    record(&pid, 3999, 1000, &out, &[]);
    let coverage = |profile: &serde_json::Value, field: &str| profile["coverage"][field].as_f64().unwrap();
    let profile = json(&out);
    assert!(coverage(&profile, "line") == 0.0, "no map lies beside it: {}", profile["coverage"]);
    assert!(coverage(&profile, "named") >= coverage(&profile, "wasm") * 0.99, "{}", profile["coverage"]);
    record(&pid, 3999, SAMPLES, &out, &["--module", map.to_str().unwrap()]);
    assert_lines(&json(&out));
    // Found beside the module that the command line names.
    std::fs::rename(&map, folder.path("script.wasm.map")).unwrap();
    record(&pid, 3999, SAMPLES, &out, &[]);
    std::fs::remove_file(folder.path("script.wasm.map")).unwrap();
    assert_lines(&json(&out));
    // A map that cannot serve is said, and the recording is made.
    std::fs::write(folder.path("script.wasm.map"), "{}").unwrap();
    let output = run(&["record", "-p", &pid, "--samples", "100", "-d", "300", "-o", out.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("script.wasm.map is not used: bad debug info at source map"), "{said}");
}

/// Nearly all of a script's time has a line, and its hottest lines are those of the loop.
fn assert_lines(profile: &serde_json::Value) {
    let coverage = |field: &str| profile["coverage"][field].as_f64().unwrap();
    assert!(coverage("line") >= coverage("wasm") * 0.99, "{}", profile["coverage"]);
    assert_near("third", share(profile, "functions", "shares/third"), 37.5);
    let source = std::fs::read_to_string(fixture("shares/shares.ts")).unwrap();
    // Processors differ in how much of the loop's time they show at its jump, which has no place of its own.
    let exact = |row: &&serde_json::Value| !row["name"].as_str().unwrap().starts_with('~');
    for row in profile["lines"].as_array().unwrap().iter().filter(exact).take(3) {
        let (file, line) = row["name"].as_str().unwrap().rsplit_once(':').unwrap();
        let line = source.lines().nth(line.parse::<usize>().unwrap() - 1).unwrap();
        assert!(file == "shares.ts" && (line.contains("x ^= x") || line.contains("step < steps")), "{row}");
    }
}

#[test]
fn lines_of_a_go_module_by_the_table_of_its_runtime() {
    let _turn = turn();
    let folder = Folder::new();
    let module = fixture("../../../debugger/symbols/tests/fixtures/go/go.wasm");
    let embedder = Embedder::with(&module, &module, &[]);
    let out = folder.path("out.wasmprof");
    record(&embedder.pid(), 3999, SAMPLES, &out, &[]);
    let profile = json(&out);
    // The way to a block of a function takes time too, another one in each function: only a function's own
    // parts can be compared. Four of five steps of `half` are the response's.
    let half = share(&profile, "functions", "main.half");
    let of_response = share_within(&profile, "proxy_on_response_headers", "main.half");
    assert_near("half in the response", of_response * 100.0 / half, 80.0);
    let inlined = share(&profile, "functions", "main.inlinedThird");
    assert!(half > 50.0 && inlined > 5.0 && inlined + half < 100.0, "{inlined:.2} %, {half:.2} %");
    let coverage = |field: &str| profile["coverage"][field].as_f64().unwrap();
    assert!(coverage("named") >= coverage("wasm") * 0.99, "{}", profile["coverage"]);
    assert!(coverage("line") >= coverage("wasm") * 0.99, "{}", profile["coverage"]);
    assert!(
        coverage("approximate") >= coverage("line") * 0.9,
        "loops make no calls: {}",
        profile["coverage"]
    );
    let source = std::fs::read_to_string(module.with_file_name("main.go")).unwrap();
    // The loop's body, and the way to its blocks in both functions.
    let hottest = profile["lines"].as_array().unwrap().iter().take(6);
    let text = |row: &serde_json::Value| {
        let line = row["name"].as_str().unwrap().strip_prefix("~fixture/main.go:")?.parse::<usize>().unwrap();
        source.lines().nth(line - 1)
    };
    let lines: Vec<&str> = hottest.filter_map(text).collect();
    for wanted in ["step < steps", "func half(", "func onRequestHeaders("] {
        assert!(lines.iter().any(|line| line.contains(wanted)), "{wanted}: {lines:?}");
    }
}
