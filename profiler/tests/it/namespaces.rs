//! Targets in pid and mount namespaces of their own, as in a container: their pid is another one inside, and
//! what they wrote and loaded is there for them alone.

use std::path::Path;
use std::process::Command;

use wasmdbg_profiler::recording::{ObjectInfo, Recording};
use wasmdbg_profiler::target::Target;
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::http::Request;
use wasmdbg_tests::load::{Load, Plan};
use wasmdbg_tests::scratch::{PATIENCE, wait_for};

use crate::other_engines::{Node, assert_shares, record_to_the_end};
use crate::support::{
    Embedder, Folder, command, fixture, json, program_of_examples, share, succeed, turn,
    without_custom_sections,
};

/// Runs what follows it in new namespaces, and ends it with itself.
const UNSHARE: [&str; 5] = ["unshare", "--pid", "--mount", "--fork", "--kill-child"];

/// Lays the folder `$1` over `$2`, for this namespace, and becomes the rest.
const OVERLAY: &str = r#"mount --bind "$1" "$2" && cd "$2" && shift 2 && exec "$@""#;

/// New namespaces in which `inside` shows what is in `outside`. None, said aloud, when this is not root.
fn namespace(outside: &Path, inside: &Path) -> Option<Command> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root may make namespaces");
        assert!(std::env::var("CI").is_err(), "CI runs as root");
        return None;
    }
    let mut command = Command::new(UNSHARE[0]);
    command.args(&UNSHARE[1..]).args(["sh", "-c", OVERLAY, "sh"]).args([outside, inside]);
    Some(command)
}

/// The only child of a process.
fn child_of(parent: u32) -> u32 {
    let list = format!("/proc/{parent}/task/{parent}/children");
    wait_for("the process in the namespace", PATIENCE, || {
        std::fs::read_to_string(&list).ok()?.trim().parse().ok()
    })
    .unwrap()
}

/// A folder with these files of the fixtures, and an empty one.
fn two_folders(files: &[&str]) -> (Folder, Folder) {
    let (full, empty) = (Folder::new(), Folder::new());
    for file in files {
        std::fs::copy(fixture(file), full.path(file)).unwrap();
    }
    (full, empty)
}

#[test]
fn modules_that_only_the_target_sees() {
    let (full, empty) = two_folders(&["shares_first.wasm", "shares_second.wasm"]);
    let Some(mut command) = namespace(&full.path(""), &empty.path("")) else { return };
    let _turn = turn();
    let modules = ["shares_first.wasm", "shares_second.wasm"].map(|name| empty.path(name));
    let embedder = Embedder::spawn(command.arg(program_of_examples("embedder")).args(&modules));
    assert!(!modules[0].exists(), "it is there inside alone");
    let pid = child_of(embedder.pid().parse().unwrap());
    assert_eq!(Target::open(pid).unwrap().inner_pid(), 1);
    let folder = Folder::new();
    let out = folder.path("out.wasmprof");
    let (pid, out_name) = (pid.to_string(), out.to_str().unwrap());
    succeed(&["record", "-p", &pid, "-F", "3999", "--samples", "16000", "-d", "300", "-o", out_name]);
    let profile = json(&out);
    for (name, truth) in [("inlined_third", 30.0), ("half", 50.0), ("fifth", 20.0)] {
        let found = share(&profile, "functions", name);
        assert!((found - truth).abs() <= 2.0, "{name}: {found:.2} % instead of {truth} %");
    }
    assert!(share(&profile, "filters", "filter shares_first.wasm") > 70.0, "the module's file is known");
    let coverage = |field: &str| profile["coverage"][field].as_f64().unwrap();
    assert!(coverage("line") >= coverage("wasm") * 0.99, "{}", profile["coverage"]);
    let summary = |field: &str| profile["summary"][field].as_f64().unwrap();
    assert!(summary("wasm_rooted") >= summary("wasm") * 0.99, "{}", profile["summary"]);
}

/// node with its own /tmp, in which all of its files are.
fn node_in_its_own_tmp(option: &str) -> Option<(Folder, Node, u32)> {
    let (full, _) = two_folders(&["embedder.mjs", "shares_first.wasm", "shares_second.wasm"]);
    let mut command = namespace(&full.path(""), Path::new("/tmp"))?;
    let files = ["embedder.mjs", "shares_first.wasm", "shares_second.wasm"];
    let node = Node::spawn(command.args(["node", option]).args(files));
    let pid = child_of(node.pid());
    Some((full, node, pid))
}

#[test]
fn a_perf_map_in_its_own_tmp() {
    let _turn = turn();
    let Some((own, node, pid)) = node_in_its_own_tmp("--perf-basic-prof") else { return };
    assert!(own.path("perf-1.map").exists(), "it goes by the inner pid");
    let folder = Folder::new();
    let out = folder.path("out.wasmprof");
    record_to_the_end(node, pid, &out);
    assert_shares(&json(&out));
}

#[test]
fn a_jitdump_in_its_own_tmp() {
    let _turn = turn();
    let Some((own, node, pid)) = node_in_its_own_tmp("--perf-prof") else { return };
    assert!(own.path("jit-1.dump").exists(), "it goes by the inner pid");
    let folder = Folder::new();
    let out = folder.path("out.wasmprof");
    record_to_the_end(node, pid, &out);
    assert_shares(&json(&out));
}

#[test]
fn traffic_server_in_namespaces() {
    let (full, empty) = two_folders(&["shares_second.wasm"]);
    let Some(command) = namespace(&full.path(""), &empty.path("")) else { return };
    let _turn = turn();
    // What runs is stripped; a copy that names it lies beside it, in the proxy's file system alone.
    let whole = std::fs::read(fixture("shares_first.wasm")).unwrap();
    std::fs::write(full.path("stripped.wasm"), without_custom_sections(&whole)).unwrap();
    std::fs::write(full.path("whole.wasm"), whole).unwrap();
    let mut wrapper = vec![command.get_program().to_owned()];
    wrapper.extend(command.get_args().map(ToOwned::to_owned));
    let wrapper: Vec<String> = wrapper.into_iter().map(|word| word.into_string().unwrap()).collect();
    let ats = Ats::options()
        .filter(Filter::new("first", &empty.path("stripped.wasm")))
        .filter(Filter::new("second", &empty.path("shares_second.wasm")))
        .settings(&format!("perf_directory: {}\n", empty.path("").display()))
        .under(&wrapper)
        .start()
        .unwrap();
    let load = Load::start(ats.address(), &Plan::new(2, Request::get("/cache/100/x")));
    let pid = child_of(ats.pid());
    let folder = Folder::new();
    let by_pid = folder.path("pid.wasmprof");
    let (name, out) = (pid.to_string(), by_pid.to_str().unwrap());
    succeed(&["record", "-p", &name, "-F", "1999", "--samples", "16000", "-d", "300", "-o", out]);
    let profile = json(&by_pid);
    let parts = ["inlined_third", "half", "fifth"].map(|name| share(&profile, "functions", name));
    let all: f64 = parts.iter().sum();
    for (part, truth) in parts.iter().zip([30.0, 50.0, 20.0]) {
        assert!((part * 100.0 / all - truth).abs() <= 2.0, "{parts:?}");
    }
    let recording = Recording::open(&by_pid).unwrap();
    assert_eq!(recording.info.pid, pid);
    let by_socket = |object: &ObjectInfo| matches!(object, ObjectInfo::Wasm(info) if info.source == "socket");
    assert!(recording.objects.values().any(by_socket), "the control socket was found");
    let summary = |field: &str| profile["summary"][field].as_f64().unwrap();
    assert!(summary("wasm_rooted") >= summary("wasm") * 0.98, "{}", profile["summary"]);
    // By its socket: the pid that the proxy says is its own is none here.
    let socket = ats.socket().unwrap();
    let by_socket = folder.path("socket.wasmprof");
    let out = by_socket.to_str().unwrap();
    succeed(&["record", "--socket", socket.to_str().unwrap(), "-d", "1", "-o", out]);
    assert_eq!(Recording::open(&by_socket).unwrap().info.pid, pid);
    // A file that the proxy writes is named so that it can be read from here.
    let printed = succeed(&["jitdump", &name]);
    let dump = Path::new(printed.split(": ").next().unwrap());
    assert!(dump.ends_with("jit-1.dump") && dump.exists(), "{printed}");
    assert_eq!(load.stop().errors, 0);
    // Its parent, which waits for it, is deaf to this.
    wasmdbg_tests::process::signal(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    ats.stop().unwrap();
}

#[test]
fn a_process_that_proc_hides_is_not_said_to_be_gone() {
    let (full, empty) = two_folders(&[]);
    let Some(mut namespace) = namespace(&full.path(""), &empty.path("")) else { return };
    std::fs::set_permissions(empty.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(full.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let copied = Command::new("cp").arg(command(&[]).get_program()).arg(full.path("wasmprof")).status();
    assert!(copied.unwrap().success());
    // The shell is process 1, and root's.
    let script = "mount -t proc -o hidepid=2 proc /proc
        setpriv --reuid 65534 --regid 65534 --clear-groups ./wasmprof record -p 1; true";
    let output = namespace.args(["sh", "-c", script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("process 1 is another user's and hidden") && text.contains("hidepid"), "{text}");
}
