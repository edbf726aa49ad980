//! A program that embeds wasmtime, and `wasmprof` as a user runs it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wasmdbg_profiler::target::Target;
use wasmdbg_tests::scratch::{PATIENCE, wait_for};

static TURN: Mutex<()> = Mutex::new(());

/// Two measurements at once would share the processors, and take twice as long.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A module of the tests.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A folder of one test; gone with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wasmprof-test-{}-{next}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One of this crate's examples: target/release/deps/it-… is this test, target/release/examples/NAME the
/// program.
pub(crate) fn program_of_examples(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join("examples").join(name)
}

/// The embedder with both modules, under way; it ends when dropped.
pub(crate) struct Embedder(Child);

impl Embedder {
    pub(crate) fn start() -> Self {
        Self::with(&fixture("shares_first.wasm"), &fixture("shares_second.wasm"), &[])
    }

    pub(crate) fn with(first: &Path, second: &Path, further: &[&str]) -> Self {
        Self::spawn(Command::new(program_of_examples("embedder")).args([first, second]).args(further))
    }

    /// By a command that becomes the embedder.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}: cargo test builds it"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    pub(crate) fn pid(&self) -> String {
        self.0.id().to_string()
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Embedder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmprof"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs `wasmprof` to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// As [`run`]; it must succeed. Gives what it printed.
pub(crate) fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// As [`run`]; it must fail. Gives the error.
pub(crate) fn fail(arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it succeeded: {}", String::from_utf8_lossy(&output.stdout));
    error
}

/// A JSON export.
pub(crate) fn json(recording: &Path) -> serde_json::Value {
    let text = succeed(&["export", "--format", "json", recording.to_str().unwrap()]);
    serde_json::from_str(&text).unwrap()
}

/// Percent of all weight of the rows of `table` whose name ends with `name`, anywhere in the stack.
pub(crate) fn share(profile: &serde_json::Value, table: &str, name: &str) -> f64 {
    let rows = profile[table].as_array().unwrap().iter();
    let weight: u64 = rows
        .filter(|row| row["name"].as_str().unwrap().ends_with(name))
        .map(|row| row["total"].as_u64().unwrap())
        .sum();
    weight as f64 * 100.0 / profile["total"].as_u64().unwrap() as f64
}

/// Runs `perf`; what it prints.
pub(crate) fn perf(arguments: &[&str]) -> String {
    let output = Command::new("perf").args(arguments).output();
    let output = output.expect("perf is missing: tests/setup/install.sh test installs it");
    assert!(output.status.success(), "perf {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until `pid` has used so many seconds of CPU time more.
pub(crate) fn use_cpu(pid: u32, seconds: f64) {
    let used = || Target::open(pid).unwrap().cpu_seconds().unwrap().0;
    let start = used();
    wait_for("its CPU time", Duration::from_secs(300), || (used() - start > seconds).then_some(())).unwrap();
}

/// Has `perf record` sample `pid` for so many seconds of its CPU time. `how`: the rate, and how it finds callers.
pub(crate) fn perf_record(pid: u32, data: &str, seconds: f64, how: [&str; 2]) {
    let mut recorder = Command::new("perf")
        .args(["record", "-q", "-k", "mono", "-e", "cpu-clock:u", "-F", how[0], "--call-graph", how[1]])
        .args(["-o", data, "-p"])
        .arg(pid.to_string())
        .spawn()
        .expect("perf is missing: tests/setup/install.sh test installs it");
    wait_for("perf to begin", PATIENCE, || std::fs::metadata(data).ok().filter(|data| data.len() > 0))
        .unwrap();
    use_cpu(pid, seconds);
    kill(Pid::from_raw(recorder.id() as i32), Signal::SIGINT).unwrap();
    recorder.wait().unwrap();
}

/// A file that a target leaves where the test cannot choose; gone with this.
pub(crate) struct Remove(pub(crate) PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The module with its code and nothing that names it.
pub(crate) fn without_custom_sections(module: &[u8]) -> Vec<u8> {
    let mut out = module[..8].to_vec();
    let mut at = 8;
    while at < module.len() {
        let (start, id) = (at, module[at]);
        at += 1;
        let (mut size, mut shift) = (0usize, 0);
        loop {
            let byte = module[at];
            at += 1;
            size |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        at += size;
        if id != 0 {
            out.extend(&module[start..at]);
        }
    }
    out
}
