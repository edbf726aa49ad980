//! What another user may do, and what he is told when he may not: each message names the user, the
//! capability or the sysctl. The kernel itself refuses here; nothing is set for the whole machine.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use wasmdbg_profiler::recording::Recording;
use wasmdbg_profiler::target::permission::paranoid;
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::http::Request;
use wasmdbg_tests::load::{Load, Plan};

use crate::support::{Embedder, Folder, command, fixture, json, program_of_examples, share, turn};

/// `nobody`
const USER: u32 = 65_534;

/// Everything that another user runs, where he may reach it.
struct User {
    folder: Folder,
}

impl User {
    /// None, said aloud, when this is not root: nobody else can become another user.
    fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root can become another user");
            assert!(std::env::var("CI").is_err(), "CI runs as root");
            return None;
        }
        let folder = Folder::new();
        std::fs::set_permissions(folder.path(""), PermissionsExt::from_mode(0o755)).unwrap();
        let own = Self { folder };
        for program in [PathBuf::from(env!("CARGO_BIN_EXE_wasmprof")), program_of_examples("embedder")] {
            own.copy(&program, 0o755);
        }
        for module in ["shares_first.wasm", "shares_second.wasm"] {
            own.copy(&fixture(module), 0o644);
        }
        std::fs::create_dir(own.path("out")).unwrap();
        std::os::unix::fs::chown(own.path("out"), Some(USER), Some(USER)).unwrap();
        Some(own)
    }

    /// By a process of its own: a child that another test starts meanwhile would inherit a descriptor open
    /// for writing, and the copy be "busy".
    fn copy(&self, file: &Path, mode: u32) {
        let to = self.folder.path(file.file_name().unwrap().to_str().unwrap());
        let copied = Command::new("cp").args([file, &to]).status().unwrap();
        assert!(copied.success(), "cp {}", file.display());
        std::fs::set_permissions(to, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    /// A file that he may write.
    fn out(&self, name: &str) -> String {
        self.path("out").join(name).display().to_string()
    }

    /// `program` of the folder as this user with `capabilities` (`+perfmon,+sys_ptrace`) beside what any user
    /// has.
    fn command(&self, capabilities: &str, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        let user = USER.to_string();
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
        if !capabilities.is_empty() {
            command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]);
        }
        command.arg(self.path(program)).args(arguments).current_dir("/");
        command
    }

    fn embedder(&self, further: &[&str]) -> Embedder {
        let modules = ["shares_first.wasm", "shares_second.wasm"].map(|name| self.path(name));
        Embedder::spawn(self.command("", "embedder", &[]).args(modules).args(further))
    }

    fn run(&self, capabilities: &str, arguments: &[&str]) -> (bool, String) {
        said(&self.command(capabilities, "wasmprof", arguments).output().unwrap())
    }
}

/// Whether it succeeded, and all that it printed.
fn said(output: &Output) -> (bool, String) {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// What a recording for a measurement needs, of `pid` into `out`.
fn recording<'a>(pid: &'a str, out: &'a str) -> Vec<&'a str> {
    let fixed = ["record", "-F", "1999", "--samples", "16000", "-d", "300"];
    [&fixed[..], &["-p", pid, "-o", out]].concat()
}

/// What a recording needs that shall have every function: so many samples, however long the target waits for a
/// processor.
fn few<'a>(pid: &'a str, out: &'a str) -> Vec<&'a str> {
    vec!["record", "-F", "999", "--samples", "400", "-p", pid, "-o", out]
}

#[test]
fn a_user_records_his_own_process_at_paranoid_2_without_the_kernel() {
    let Some(user) = User::new() else { return };
    let _turn = turn();
    let embedder = user.embedder(&[]);
    let out = user.out("own.wasmprof");
    let (done, text) = user.run("", &recording(&embedder.pid(), &out));
    let level = paranoid().unwrap();
    if level > 2 && !done {
        assert_has(&text, &["kernel.perf_event_paranoid=2", "cap_perfmon"]);
        return;
    }
    assert!(done, "{text}");
    let out = Path::new(&out);
    let profile = json(out);
    let shares = ["inlined_third", "half", "fifth"].map(|name| share(&profile, "functions", name));
    for (found, truth) in shares.iter().zip([30.0, 50.0, 20.0]) {
        assert!((found - truth).abs() <= 2.0, "{shares:?}");
    }
    assert_eq!(profile["coverage"]["named"], profile["coverage"]["wasm"]);
    let kernel = Recording::open(out).unwrap().info.kernel;
    assert_eq!(kernel, level < 2, "at level {level}");
    if !kernel {
        assert_has(&text, &["the kernel is not sampled", "sysctl kernel.perf_event_paranoid=1"]);
    }
    // Nobody is told of it who did not ask for it.
    let (done, text) =
        user.run("", &["record", "-p", &embedder.pid(), "-d", "0.2", "--user", "-o", &user.out("x.svg")]);
    assert!(done && !text.contains("the kernel is not sampled"), "{text}");
}

#[test]
fn doctor_says_what_a_user_lacks() {
    let Some(user) = User::new() else { return };
    let (done, text) = user.run("", &["doctor"]);
    assert_has(&text, &["not root: only processes of this user", "kernel.perf_event_paranoid: "]);
    match paranoid() {
        Some(2) => {
            assert!(done, "{text}");
            assert_has(&text, &["sysctl kernel.perf_event_paranoid=1", "cpu-clock: works, program only"]);
        }
        Some(level) if level > 2 => assert_has(&text, &["sysctl kernel.perf_event_paranoid=2"]),
        _ => assert_has(&text, &["cpu-clock: works, with the kernel"]),
    }
    // Who may see the kernel's addresses: kallsyms_show_value.
    let level = |name: &str| -> i64 {
        std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap().trim().parse().unwrap()
    };
    let (restrict, any) = (level("kptr_restrict"), level("perf_event_paranoid") <= 1);
    for (capabilities, shown) in [("", restrict == 0 && any), ("+perfmon,+syslog", restrict < 2)] {
        let (_, text) = user.run(capabilities, &["doctor"]);
        let line = text.lines().find(|line| line.starts_with("kernel symbols: ")).unwrap();
        assert_eq!(line == "kernel symbols: there", shown, "{capabilities}: {line}");
        assert!(shown || line.contains("cap_syslog") || line.contains("kernel.kptr_restrict=0"), "{line}");
    }
    let (done, text) = user.run("+perfmon", &["doctor"]);
    assert!(done, "{text}");
    assert_has(&text, &["with cap_perfmon: processes of all users", "cpu-clock: works, with the kernel"]);
    // Of a process of root.
    let own = std::process::id().to_string();
    let (done, text) = user.run("", &["doctor", &own]);
    assert!(!done, "{text}");
    let owner = format!("process {own} belongs to user root and you are nobody");
    assert_has(
        &text,
        &[
            "event cpu-clock: no permission to sample",
            "memory: no permission",
            &owner,
            "setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_syslog=ep",
        ],
    );
    // Of his own.
    let embedder = user.embedder(&[]);
    let (done, text) = user.run("", &["doctor", &embedder.pid()]);
    assert!(done, "{text}");
    assert_has(&text, &["event cpu-clock: works", "memory: can be read", "control socket: none"]);
}

#[test]
fn a_process_of_another_user_is_refused_with_what_to_do() {
    let Some(user) = User::new() else { return };
    let embedder = Embedder::start();
    let pid = embedder.pid();
    let out = user.out("other.svg");
    let record = few(&pid, &out);
    let (done, text) = user.run("", &record);
    assert!(!done, "{text}");
    let owner = format!("process {pid} belongs to user root and you are nobody: run wasmprof as root");
    assert_has(
        &text,
        &[
            "no permission to read the memory",
            &owner,
            "setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_syslog=ep",
        ],
    );
    assert!(!Path::new(&out).with_extension("wasmprof").exists(), "nothing is left behind");
    // With one of the two capabilities the other one is still missing.
    let (done, text) = user.run("+sys_ptrace", &record);
    let perfmon_is_needless = paranoid().is_some_and(|level| level <= 2);
    assert_eq!(done, perfmon_is_needless, "reading the memory is enough for a ptracer: {text}");
    let (done, text) = user.run("+perfmon", &record);
    assert!(!done, "{text}");
    assert_has(&text, &["no permission to read the memory", "cap_sys_ptrace"]);
    // And the advice is true.
    let (done, text) = user.run("+perfmon,+sys_ptrace", &record);
    assert!(done, "{text}");
    assert!(std::fs::read_to_string(&out).unwrap().contains("inlined_third"), "{text}");
}

#[test]
fn a_process_that_is_protected_from_its_own_user() {
    let Some(user) = User::new() else { return };
    let embedder = user.embedder(&["protected"]);
    let pid = embedder.pid();
    let out = user.out("protected.svg");
    let record = few(&pid, &out);
    let (done, text) = user.run("", &record);
    assert!(!done, "{text}");
    assert_has(
        &text,
        &[
            &format!("process {pid} is protected"),
            "run wasmprof as root",
            "setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_syslog=ep",
        ],
    );
    let (done, text) = user.run("+perfmon,+sys_ptrace", &record);
    assert!(done, "{text}");
    assert!(std::fs::read_to_string(&out).unwrap().contains("inlined_third"), "{text}");
}

#[test]
fn a_seccomp_filter_is_named_as_the_reason() {
    let embedder = Embedder::start();
    let folder = Folder::new();
    let out = folder.path("out.svg");
    let under = |errno: i32, arguments: &[&str]| {
        let wasmprof = command(&[]).get_program().to_owned();
        let mut filtered = Command::new(program_of_examples("refusing"));
        filtered.args(["perf_event_open", &errno.to_string()]);
        said(&filtered.arg(wasmprof).args(arguments).output().unwrap())
    };
    let record = ["record", "-p", &embedder.pid(), "-d", "1", "-o", out.to_str().unwrap()];
    let (done, text) = under(libc::EPERM, &record);
    assert!(!done, "{text}");
    assert_has(
        &text,
        &["no permission to sample process", "seccomp filter forbids perf_event_open", "docker run"],
    );
    let (done, text) = under(libc::ENOSYS, &record);
    assert!(!done, "{text}");
    assert_has(&text, &["perf_event_open is not there", "seccomp"]);
    let (done, text) = under(libc::EPERM, &["doctor"]);
    assert!(!done, "{text}");
    assert_has(&text, &["event cpu-clock: no permission", "seccomp"]);
}

/// Traffic Server with both modules, under load; `settings` of the plugin. Its folders may be entered by
/// anybody, so that the socket's own check stands in the way alone.
fn traffic_server(settings: &str) -> (Ats, Load) {
    let ats = Ats::options()
        .filter(Filter::new("first", &fixture("shares_first.wasm")))
        .filter(Filter::new("second", &fixture("shares_second.wasm")))
        .settings(settings)
        .start()
        .unwrap();
    for folder in [ats.folder().to_owned(), ats.folder().join("run")] {
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let load = Load::start(ats.address(), &Plan::new(2, Request::get("/cache/100/x")));
    (ats, load)
}

/// Filters, functions and lines are there, although nobody read the proxy's memory.
fn assert_resolved(out: &str) {
    let profile = json(Path::new(out));
    let parts = ["inlined_third", "half", "fifth"].map(|name| share(&profile, "functions", name));
    let all: f64 = parts.iter().sum();
    assert!(all > 50.0, "{parts:?}");
    for (part, truth) in parts.iter().zip([30.0, 50.0, 20.0]) {
        assert!((part * 100.0 / all - truth).abs() <= 2.0, "{parts:?}");
    }
    assert!(share(&profile, "filters", "filter first") > share(&profile, "filters", "filter second"));
    let coverage = |field: &str| profile["coverage"][field].as_f64().unwrap();
    assert!(coverage("named") >= coverage("wasm") * 0.99, "{}", profile["coverage"]);
    assert!(coverage("line") >= coverage("wasm") * 0.99, "{}", profile["coverage"]);
}

#[test]
fn who_may_sample_but_not_read_gets_the_code_over_the_control_socket() {
    let Some(user) = User::new() else { return };
    let _turn = turn();
    let (ats, load) = traffic_server(&format!("control:\n  users: [{USER}]\n"));
    let pid = ats.pid().to_string();
    let out = user.out("socket.wasmprof");
    let (done, text) = user.run("+perfmon", &recording(&pid, &out));
    assert!(done, "{text}");
    assert_has(
        &text,
        &[
            "no permission to read the memory",
            "cap_sys_ptrace",
            "code is named by what the process itself gives out",
        ],
    );
    assert_resolved(&out);
    // The host's own files can be read: callers of the filters are there, with the names of their functions.
    let caller =
        share(&json(Path::new(&out)), "functions", "wasmdbg_proxy_wasm::vm::lifecycle::Machine>::enter");
    assert!(caller > 80.0, "{caller:.1} %");
    let (done, text) = user.run("+perfmon", &["doctor", &pid]);
    assert!(done, "{text}");
    assert_has(&text, &["memory: no permission", "control socket: answers, and gives the code of 2 filters"]);
    assert_eq!(load.stop().errors, 0);
}

/// Records `pid` into `out` where the recorder may not open `files` of /proc/PID: one without permissions
/// lies over each, in a mount namespace of the recorder's, which is a root that heeds permissions. A filter
/// refuses the system call that reads memory.
fn record_behind_a_wall(user: &User, pid: &str, out: &str, files: &str) -> String {
    let wall = user.path("wall");
    std::fs::write(&wall, "").unwrap();
    std::fs::set_permissions(&wall, PermissionsExt::from_mode(0o000)).unwrap();
    let script = r#"for file in $3; do mount --bind "$1" "/proc/$2/$file" || exit; done; shift 3
        exec setpriv --bounding-set -dac_override,-dac_read_search "$@""#;
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([wall.to_str().unwrap(), pid, files])
        .arg(program_of_examples("refusing"))
        .args(["process_vm_readv", &libc::EPERM.to_string()])
        .arg(user.path("wasmprof"))
        .args(recording(pid, out))
        .output()
        .unwrap();
    let (done, text) = said(&output);
    assert!(done, "{text}");
    assert_has(&text, &["no permission to read the memory"]);
    text
}

#[test]
fn code_comes_over_the_socket_too_where_the_map_can_be_read() {
    let Some(user) = User::new() else { return };
    let _turn = turn();
    let (ats, load) = traffic_server("");
    let pid = ats.pid().to_string();
    // As Yama does it to one's own processes.
    let out = user.path("map.wasmprof").display().to_string();
    record_behind_a_wall(&user, &pid, &out, "mem");
    assert_resolved(&out);
    // The host's files are there by the map: stacks are whole.
    let profile = json(Path::new(&out));
    let summary = |field: &str| profile["summary"][field].as_f64().unwrap();
    assert!(summary("wasm_rooted") >= summary("wasm") * 0.98, "{}", profile["summary"]);
    // Older kernels give CAP_PERFMON no map either. Filters have their names, callers in the host none.
    record_behind_a_wall(&user, &pid, &out, "mem maps");
    assert_resolved(&out);
    assert_eq!(load.stop().errors, 0);
}

#[test]
fn a_socket_that_is_closed_to_a_user_names_the_setting() {
    let Some(user) = User::new() else { return };
    let (ats, load) = traffic_server("");
    let pid = ats.pid().to_string();
    let socket = ats.socket().unwrap().display().to_string();
    let out = user.out("closed.svg");
    let (done, text) = user.run("+perfmon", &["record", "-p", &pid, "-d", "1", "-o", &out]);
    assert!(!done, "{text}");
    assert_has(&text, &["the proxy does not name its filters", "`control.users`", "cap_sys_ptrace"]);
    let (done, text) = user.run("", &["jitdump", "--socket", &socket]);
    assert!(!done, "{text}");
    assert_has(&text, &["no permission to connect", "`control.users`"]);
    let (done, text) = user.run("", &["perfmap", &pid]);
    assert!(!done, "{text}");
    assert_has(&text, &["no permission to look into process", "run as root"]);
    assert_eq!(load.stop().errors, 0);
    drop(ats);
    // A socket of another process than the one that is recorded.
    let (ats, load) = traffic_server("");
    let own = std::process::id().to_string();
    let socket = ats.socket().unwrap().display().to_string();
    let out = user.out("another.svg");
    let (_, text) = said(
        &command(&["record", "-p", &own, "--socket", &socket, "-d", "0.2", "-o", &out]).output().unwrap(),
    );
    assert_has(&text, &[&format!("is the socket of process {}, not of process {own}", ats.pid())]);
    assert_eq!(load.stop().errors, 0);
}
