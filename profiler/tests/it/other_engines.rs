//! Code of engines other than wasmtime, by what they write for `perf`: node runs the same modules.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use wasmdbg_tests::scratch::{PATIENCE, wait_for};

use crate::support::{
    Folder, Remove, command, fail, fixture, json, perf_record, share, succeed, turn, use_cpu,
};

/// node with both modules, under way; it ends when dropped.
pub(crate) struct Node(Child);

impl Node {
    /// `options` are V8's; what it writes for itself goes to `folder`.
    fn start(options: &[&str], folder: &Folder) -> Self {
        let files = ["embedder.mjs", "shares_first.wasm", "shares_second.wasm"].map(fixture);
        Self::spawn(Command::new("node").args(options).args(files).current_dir(folder.path("")))
    }

    /// By a command that becomes node.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap_or_else(|error| {
                panic!("{command:?}: {error}: tests/setup/install.sh npm installs node")
            });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Ends it as it wants to end: what it has not written yet is written then.
    pub(crate) fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// So many samples that two points are four standard errors of a share of one half.
const SAMPLES: &str = "16000";

/// Percent of all weight of the stacks that end with `name`.
pub(crate) fn own_share(profile: &serde_json::Value, name: &str) -> f64 {
    let ends = |stack: &&serde_json::Value| {
        let frames = stack["frames"].as_array().unwrap();
        frames.last().is_some_and(|frame| frame.as_str().unwrap().ends_with(name))
    };
    let stacks = profile["stacks"].as_array().unwrap();
    let weight: u64 = stacks.iter().filter(ends).map(|stack| stack["weight"].as_u64().unwrap()).sum();
    weight as f64 * 100.0 / profile["total"].as_u64().unwrap() as f64
}

/// Shares of the time that is spent in the three functions together. V8 inlines none of them into another,
/// but what the compiler of the module inlined is its caller's.
pub(crate) fn assert_shares(profile: &serde_json::Value) {
    let callback = "proxy_on_request_headers";
    let parts = [own_share(profile, callback), own_share(profile, "half"), own_share(profile, "fifth")];
    let all: f64 = parts.iter().sum();
    assert!(all > 80.0, "{parts:?}");
    for (part, truth) in parts.iter().zip([30.0, 50.0, 20.0]) {
        let found = part * 100.0 / all;
        assert!((found - truth).abs() <= 2.0, "{found:.2} % instead of {truth} %: {parts:?}");
    }
    // Callers are there: of the fifty parts of `half` forty come from the other callback.
    let response = share(profile, "functions", "proxy_on_response_headers") * 100.0 / all;
    assert!((response - 40.0).abs() <= 2.0, "{response:.2} % instead of 40 %");
    let functions = profile["functions"].as_array().unwrap();
    let name = |row: &serde_json::Value| row["name"].as_str().unwrap().to_owned();
    let names: Vec<String> = functions.iter().map(name).collect();
    assert!(names.iter().any(|name| name == "shares_first::half"), "demangled: {names:?}");
}

fn record(node: &Node, out: &Path, further: &[&str]) -> String {
    let (pid, out) = (node.pid().to_string(), out.to_str().unwrap());
    let arguments =
        ["record", "-p", &pid, "-F", "3999", "--samples", SAMPLES, "-d", "300", "--stack", "8192", "-o", out];
    succeed(&[&arguments[..], further].concat())
}

#[test]
fn perf_data_and_the_jitdump_of_v8() {
    let _turn = turn();
    let folder = Folder::new();
    let node = Node::start(&["--perf-prof"], &folder);
    let dump = folder.path(&format!("jit-{}.dump", node.pid()));
    let data = folder.path("perf.data");
    perf_record(node.pid(), data.to_str().unwrap(), 4.5, ["3999", "fp"]);
    node.end();
    let arguments = |out: &Path| {
        let paths = [out, &data, &dump].map(|path| path.to_str().unwrap().to_owned());
        [&["flamegraph".to_owned(), "-o".to_owned()], &paths[..]].concat()
    };
    let out = folder.path("out.json");
    let run = |out: &Path| succeed(&arguments(out).iter().map(String::as_str).collect::<Vec<_>>());
    run(&out);
    assert_shares(&serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap());
    let svg = folder.path("out.svg");
    run(&svg);
    let svg = std::fs::read_to_string(svg).unwrap();
    for text in ["shares_first::half", "shares_second::fifth", "proxy_on_response_headers"] {
        assert!(svg.contains(text), "{text}");
    }
}

/// Records `pid`, which is node or the one process behind it, until its end: V8 writes in blocks, and only its
/// end brings the code that it compiled last.
pub(crate) fn record_to_the_end(node: Node, pid: u32, out: &Path) -> String {
    let (name, out_name) = (pid.to_string(), out.to_str().unwrap());
    let recorder =
        command(&["record", "-p", &name, "-F", "3999", "-d", "0", "--stack", "8192", "-o", out_name])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
    wait_for("the recorder to begin", PATIENCE, || std::fs::metadata(out).ok().filter(|data| data.len() > 0))
        .unwrap();
    use_cpu(pid, 4.5);
    node.end();
    let output = recorder.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && printed.contains("ended)"), "{printed}");
    printed
}

#[test]
fn a_recording_finds_the_jitdump_that_v8_has_mapped() {
    let _turn = turn();
    let folder = Folder::new();
    let node = Node::start(&["--perf-prof"], &folder);
    let out = folder.path("out.wasmprof");
    let pid = node.pid();
    let printed = record_to_the_end(node, pid, &out);
    let profile = json(&out);
    assert_shares(&profile);
    let summary = |field: &str| profile["summary"][field].as_f64().unwrap();
    assert!(summary("unresolved") < summary("samples") * 0.02, "{printed}");
    assert!(summary("wasm") > summary("samples") * 0.8, "{printed}");
    let coverage = &profile["coverage"];
    assert_eq!(coverage["named"], coverage["wasm"], "{coverage}");
}

#[test]
fn a_perf_map_is_found_and_a_copy_can_be_named() {
    let _turn = turn();
    let folder = Folder::new();
    let node = Node::start(&["--perf-basic-prof"], &folder);
    let map = Remove(PathBuf::from(format!("/tmp/perf-{}.map", node.pid())));
    let out = folder.path("out.wasmprof");
    record(&node, &out, &[]);
    assert_shares(&json(&out));
    // Where it is not found, it can be named: while recording, or afterwards.
    let copy = folder.path("copy.map");
    std::fs::rename(&map.0, &copy).unwrap();
    let copy = copy.to_str().unwrap();
    record(&node, &out, &["--code", copy]);
    assert_shares(&json(&out));
    record(&node, &out, &[]);
    let nameless = json(&out);
    assert!(own_share(&nameless, "half") == 0.0 && own_share(&nameless, "[unknown code]") > 80.0);
    let described = folder.path("described.json");
    succeed(&["flamegraph", "-o", described.to_str().unwrap(), out.to_str().unwrap(), copy]);
    let described: serde_json::Value = serde_json::from_slice(&std::fs::read(described).unwrap()).unwrap();
    assert!(own_share(&described, "half") > 40.0, "its functions have names now");
}

#[test]
fn a_file_that_describes_nothing_is_an_error() {
    let folder = Folder::new();
    let out = folder.path("out.wasmprof");
    let own = std::process::id().to_string();
    let with = |code: &Path| {
        let arguments =
            ["record", "-p", &own, "-d", "1", "-o", out.to_str().unwrap(), "--code", code.to_str().unwrap()];
        fail(&arguments)
    };
    let missing = with(&folder.path("jit-1.dump"));
    assert!(missing.contains("cannot read") && missing.contains("jit-1.dump"), "{missing}");
    let other = with(&fixture("shares_first.wasm"));
    assert!(other.contains("shares_first.wasm: this is no jitdump"), "{other}");
    let pipe = folder.path("jit-2.dump");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pipe = with(&pipe);
    assert!(pipe.contains("it is not a file"), "a pipe is not waited for: {pipe}");
}
