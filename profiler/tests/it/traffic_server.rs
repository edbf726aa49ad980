//! The same truth in Traffic Server with the plugin: by the control socket and by a jitdump.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use wasmdbg_profiler::code::jitdump;
use wasmdbg_profiler::code::timeline::Timeline;
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::http::Request;
use wasmdbg_tests::load::{Load, Plan};
use wasmdbg_tests::scratch::{PATIENCE, wait_for};
use wasmdbg_tests::wasmdbg::Wasmdbg;

use crate::support::{Folder, fixture, json, perf, perf_record, run, share, succeed, turn};

fn start() -> (Ats, Load) {
    start_with("")
}

fn start_with(settings: &str) -> (Ats, Load) {
    let ats = Ats::options()
        .filter(Filter::new("first", &fixture("shares_first.wasm")))
        .filter(Filter::new("second", &fixture("shares_second.wasm")))
        .settings(settings)
        .start()
        .unwrap();
    let load = Load::start(ats.address(), &Plan::new(2, Request::get("/cache/100/x")));
    (ats, load)
}

/// So many samples in the filters that two points are four standard errors of a share of one half.
const SAMPLES: &str = "16000";

/// Shares of the time that is spent in the three functions together: the server takes time too.
fn assert_shares(profile: &serde_json::Value, inlined: &str) {
    let parts = [inlined, "half", "fifth"].map(|name| share(profile, "functions", name));
    let all: f64 = parts.iter().sum();
    assert!(all > 50.0, "{parts:?}");
    for (part, truth) in parts.iter().zip([30.0, 50.0, 20.0]) {
        let found = part * 100.0 / all;
        assert!((found - truth).abs() <= 2.0, "{found:.2} % instead of {truth} %: {parts:?}");
    }
}

#[test]
fn filters_by_the_control_socket() {
    let _turn = turn();
    let (ats, load) = start();
    let folder = Folder::new();
    let out = folder.path("out.wasmprof");
    let pid = ats.pid().to_string();
    let out_name = out.to_str().unwrap();
    succeed(&["record", "-p", &pid, "-F", "1999", "--samples", SAMPLES, "-d", "300", "-o", out_name]);
    assert_eq!(load.stop().errors, 0);
    let profile = json(&out);
    assert_shares(&profile, "inlined_third");
    assert!(share(&profile, "filters", "filter first") > share(&profile, "filters", "filter second"));
    let summary = |field: &str| profile["summary"][field].as_f64().unwrap();
    assert!(summary("wasm_rooted") >= summary("wasm") * 0.98, "{}", profile["summary"]);
    let stacks = profile["stacks"].as_array().unwrap();
    let hot = stacks.iter().max_by_key(|stack| stack["weight"].as_u64()).unwrap();
    let frames: Vec<&str> =
        hot["frames"].as_array().unwrap().iter().map(|frame| frame.as_str().unwrap()).collect();
    let place = |name: &str| {
        frames.iter().position(|frame| *frame == name).unwrap_or_else(|| panic!("{name}: {frames:?}"))
    };
    assert!(frames[0].starts_with("[ET_NET"), "the thread is the root: {frames:?}");
    assert!(place("EThread::execute") < place("filter first"), "{frames:?}");
    assert!(frames.iter().any(|frame| frame.starts_with("proxy_on_")), "{frames:?}");
}

#[test]
fn filters_by_a_jitdump_that_perf_reads_too() {
    let _turn = turn();
    let folder = Folder::new();
    // `perf inject` makes files beside the dump.
    let (ats, load) = start_with(&format!("perf_directory: {}\n", folder.path("").display()));
    let pid = ats.pid().to_string();
    let printed = succeed(&["jitdump", &pid]);
    let dump = PathBuf::from(printed.split(": ").next().unwrap());
    assert!(dump.starts_with(folder.path("")), "{printed}");
    let mut timeline = Timeline::default();
    jitdump::read(&std::fs::read(dump).unwrap(), &mut timeline).unwrap();
    let firsts: Vec<u64> =
        timeline.codes().iter().filter_map(|code| Some(code.lines.first()?.offset)).collect();
    assert!(firsts.len() > 10 && firsts.iter().all(|first| *first == 0), "a prologue has a line: {firsts:?}");
    let (data, injected) = (folder.path("perf.data"), folder.path("perf.jit.data"));
    let data = data.to_str().unwrap();
    perf_record(ats.pid(), data, 5.0, ["3999", "fp"]);
    assert_eq!(load.stop().errors, 0);
    let out = folder.path("out.json");
    succeed(&["flamegraph", "-o", out.to_str().unwrap(), data]);
    let profile: serde_json::Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    // A jitdump knows no inlined functions: they are part of their caller, which calls `half` too.
    let half = share(&profile, "functions", "half");
    let fifth = share(&profile, "functions", "fifth");
    let modules = share(&profile, "filters", "filter first") + share(&profile, "filters", "filter second");
    assert!((half * 100.0 / modules - 50.0).abs() <= 2.0, "half: {half}, fifth: {fifth} of {modules}");
    assert!((fifth * 100.0 / modules - 20.0).abs() <= 2.0, "half: {half}, fifth: {fifth} of {modules}");
    let injected = injected.to_str().unwrap();
    perf(&["inject", "--jit", "-i", data, "-o", injected]);
    assert_script_has(injected, &["first: ", "half", "lib.rs:"]);
}

/// Through the server, whose code keeps no frame pointers, and through the filter, which the jitdump describes.
#[test]
fn stacks_that_perf_copied_are_unwound() {
    let _turn = turn();
    let folder = Folder::new();
    let (ats, load) = start_with(&format!("perf_directory: {}\n", folder.path("").display()));
    succeed(&["jitdump", &ats.pid().to_string()]);
    let data = folder.path("perf.data");
    let data_name = data.to_str().unwrap();
    perf_record(ats.pid(), data_name, 4.0, ["499", "dwarf,32768"]);
    let short = folder.path("short.data").display().to_string();
    perf_record(ats.pid(), &short, 0.5, ["499", "dwarf,1024"]);
    assert_eq!(load.stop().errors, 0);
    let profile = json(&data);
    let (mut all, mut whole) = (0, 0);
    for stack in profile["stacks"].as_array().unwrap() {
        let frames: Vec<&str> =
            stack["frames"].as_array().unwrap().iter().map(|frame| frame.as_str().unwrap()).collect();
        let place = |name: &str| frames.iter().position(|frame| *frame == name);
        let Some(filter) = place("filter first").or(place("filter second")) else { continue };
        let weight = stack["weight"].as_u64().unwrap();
        all += weight;
        let is_whole = !frames.iter().any(|frame| frame.starts_with("[host:"));
        if is_whole && place("EThread::execute").is_some_and(|execute| execute < filter) {
            whole += weight;
        }
    }
    let total = profile["total"].as_u64().unwrap();
    assert!(all * 2 > total && whole * 100 >= all * 98, "{whole} of {all} of {total} ns");
    let callbacks = profile["callbacks"].as_array().unwrap();
    assert!(callbacks.iter().any(|row| row["total"].as_u64() > row["self"].as_u64()), "{callbacks:?}");
    // The file of a plugin that the server has copied is gone with the server.
    drop(ats);
    let output = run(&["report", data_name]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // Version 10 keeps the copy as long as the server runs.
    let gone = said.contains("of the stacks end in ") && said.contains("a file that cannot be read");
    assert!(gone, "{said}");
    // Too little of them: what is there is shown, and what to do.
    let output = run(&["report", &short]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("record with --call-graph dwarf,32768"), "{said}");
}

/// Reads what `perf script` prints until each of `texts` was there: all of it takes minutes.
fn assert_script_has(data: &str, texts: &[&str]) {
    let mut script = Command::new("perf")
        .args(["script", "-i", data, "-F", "ip,sym,srcline"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut missing = texts.to_vec();
    for line in BufReader::new(script.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        missing.retain(|text| !line.contains(text));
        if missing.is_empty() {
            break;
        }
    }
    script.kill().unwrap();
    script.wait().unwrap();
    assert!(missing.is_empty(), "perf script does not name {missing:?}");
}

#[test]
fn a_perf_map_from_the_start_and_a_folder_that_is_missing() {
    let folder = Folder::new();
    let settings = format!("perf: map\nperf_directory: {}\n", folder.path("").display());
    let ats = Ats::options()
        .filter(Filter::new("first", &fixture("shares_first.wasm")))
        .settings(&settings)
        .start()
        .unwrap();
    let map = folder.path(&format!("perf-{}.map", ats.pid()));
    let text = wait_for("the perf map", PATIENCE, || std::fs::read_to_string(&map).ok()).unwrap();
    assert!(text.lines().any(|line| line.ends_with("half")), "{text}");
    drop(ats);
    let ats = Ats::options()
        .filter(Filter::new("first", &fixture("shares_first.wasm")))
        .settings("perf: jitdump\nperf_directory: /nonexistent/folder\n")
        .start()
        .unwrap();
    ats.wait_for_log("no code map for perf: cannot write /nonexistent/folder/jit-").unwrap();
    assert_eq!(ats.fetch(&Request::get("/cache/10/x")).unwrap().status, 200, "the proxy serves");
}

#[test]
fn time_in_the_debug_lane_is_labelled_as_such() {
    let _turn = turn();
    let (ats, fast) = start();
    let (pid, rule) = (ats.pid().to_string(), "header:x-lane=debug");
    let mut debugger =
        Wasmdbg::start(&["attach", &pid, "--batch", "--filter", "first", "--when", rule]).unwrap();
    debugger.ask("info filters", "debug info").unwrap();
    let request = Request::get("/cache/100/x").header("x-lane", "debug");
    let debugged = Load::start(ats.address(), &Plan::new(1, request));
    let folder = Folder::new();
    let out = folder.path("out.wasmprof");
    let arguments =
        ["record", "-p", &pid, "-F", "999", "--samples", "4000", "-d", "300", "-o", out.to_str().unwrap()];
    succeed(&arguments);
    let profile = json(&out);
    let label = "filter first, debug lane";
    assert!(share(&profile, "filters", label) > 5.0, "{}", profile["filters"]);
    assert!(share(&profile, "filters", "filter first") > 5.0, "the fast lane is another row");
    // Its functions have their names, under the lane.
    let stacks = profile["stacks"].as_array().unwrap();
    let named = |stack: &serde_json::Value| {
        let frames: Vec<&str> =
            stack["frames"].as_array().unwrap().iter().map(|frame| frame.as_str().unwrap()).collect();
        let lane = frames.iter().position(|frame| *frame == label);
        lane.is_some_and(|lane| frames[lane..].iter().any(|frame| frame.ends_with("half")))
    };
    assert!(stacks.iter().any(named), "half runs in the debug lane");
    // Its stacks end where the fiber was entered, and no larger copy of one would change that.
    let noted = |note: &str| stacks.iter().any(|stack| stack["frames"][1] == note);
    assert!(noted("[host: on another stack]"));
    assert!(!noted("[host: deeper than the stack copy]"));
    assert_eq!((fast.stop().errors, debugged.stop().errors), (0, 0));
}
