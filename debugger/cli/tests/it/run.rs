//! `wasmdbg run` as a proxy that others find and debug.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::proxy::{NOBODY, PATIENCE, can_be_nobody, wasmdbg};

const FILTER: &str = "examples/rust-token/rust-token.release.wasm";

struct Run {
    child: Child,
    folder: PathBuf,
}

impl Run {
    /// Its prompt waits for a first command. `users` are those of its settings.
    fn start(name: &str, users: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("wasmdbg-cli-run-{}-{name}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let (settings, socket) = (folder.join("settings.yaml"), folder.join("wasmdbg.sock"));
        let text = format!("control: {{socket: \"{}\", users: [{users}]}}\n", socket.display());
        std::fs::write(&settings, text).unwrap();
        let child = wasmdbg(&["run", FILTER, "--listen", "127.0.0.1:0", "--settings"])
            .arg(&settings)
            .env("HOME", &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let run = Self { child, folder };
        until("its socket is there", || run.socket().exists().then_some(()));
        run
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("wasmdbg.sock")
    }

    /// What `ps --json` says of it.
    fn listed(&self, ps: &mut Command) -> Value {
        let all: Value = serde_json::from_slice(&ps.output().unwrap().stdout).unwrap();
        let own = |entry: &&Value| entry["socket"].as_str().map(Path::new) == Some(&self.socket());
        all["proxies"].as_array().unwrap().iter().find(own).cloned().unwrap_or_default()
    }

    /// The same as the user `nobody`, for whom the folders of a build may be closed.
    fn listed_for_nobody(&self) -> Value {
        let binary = self.folder.join("wasmdbg");
        std::fs::copy(env!("CARGO_BIN_EXE_wasmdbg"), &binary).unwrap();
        for path in [&self.folder, &binary] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        self.listed(Command::new(binary).args(["ps", "--json"]).current_dir("/").uid(NOBODY).gid(NOBODY))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "not so: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_filter_under_the_debugger_is_listed_and_its_socket_goes_with_it() {
    let mut run = Run::start("listed", "");
    assert_eq!(std::fs::metadata(run.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    let entry = run.listed(&mut wasmdbg(&["ps", "--json"]));
    assert_eq!(
        (entry["pid"].as_u64(), entry["process"].as_str()),
        (Some(run.child.id().into()), Some("wasmdbg"))
    );
    assert_eq!(entry["status"]["filters"][0]["name"], "rust-token.release");
    kill(Pid::from_raw(run.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let ended = run.child.wait().unwrap();
    assert_eq!(ended.signal(), Some(Signal::SIGTERM as i32), "as every process: {ended}");
    assert!(!run.socket().exists(), "its file is left");
}

#[test]
fn users_whom_the_settings_name_may_debug_it() {
    if !can_be_nobody() {
        return;
    }
    let run = Run::start("users", "nobody, no-such-user");
    assert_eq!(std::fs::metadata(run.socket()).unwrap().permissions().mode() & 0o777, 0o666);
    let entry = run.listed_for_nobody();
    assert_eq!(entry["status"]["filters"][0]["name"], "rust-token.release", "{entry}");
    drop(run);
    let run = Run::start("others", "1234");
    let error = run.listed_for_nobody()["error"].take();
    assert!(
        error.as_str().is_some_and(|text| text.starts_with("user 65534 may not debug this proxy")),
        "{error}"
    );
}
