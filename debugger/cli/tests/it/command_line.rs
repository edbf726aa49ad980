//! Batches: exit codes, and what is said when something is not as it should be.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::proxy::{NOBODY, Play, Proxy, can_be_nobody, repository, stderr, stdout, wasmdbg};

#[test]
fn a_batch_stops_looks_and_lets_go() {
    let proxy = Proxy::start(Play::Stop);
    let output =
        proxy.batch(&["-ex", "break judge", "-ex", "continue", "-ex", "bt", "-ex", "list", "-ex", "info b"]);
    let (out, err) = (stdout(&output), stderr(&output));
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{out}");
    for line in [
        "Breakpoint 1 at rust_token::judge, examples/rust-token/src/lib.rs:",
        "  x-wasmdbg: 5c0e17",
        "  curl -H 'x-wasmdbg: 5c0e17' http://PROXY/PATH",
        "a stopped request goes on after 30s without a command",
        "GET /path #17 stopped: breakpoint 1",
        "note: this virtual machine is the debugger's own",
        "#0  rust_token::judge (text=",
    ] {
        assert!(out.lines().any(|found| found.starts_with(line)), "no line {line:?} in:\n{out}");
    }
    assert!(out.contains(", 1 hit\n"), "{out}");
    assert!(out.contains(" ->\t"), "`list` marks the line that runs next: {out}");
    assert!(out.ends_with("Detached; 1 stopped callback goes on\n"), "{out}");
    assert!(!out.contains('\x1b'), "plain text when it is no terminal");
    // The last line of bt names the request.
    let bt = out.rsplit("#0  ").next().unwrap();
    assert_eq!(bt.lines().nth(1), Some("GET /path #17"), "{out}");
}

#[test]
fn waiting_for_a_stop_has_an_end_and_a_code() {
    let proxy = Proxy::start(Play::Nothing);
    let output = proxy.batch(&["-ex", "break judge", "-ex", "c --timeout 200ms", "-ex", "bt"]);
    assert_eq!(output.status.code(), Some(4), "the first failure counts: {}", stderr(&output));
    assert!(stderr(&output).starts_with("error: nothing has stopped within 200ms: did a request match"));
    let output = proxy.batch(&["--timeout", "0.1s", "-ex", "continue"]);
    assert_eq!(output.status.code(), Some(4));
    // After `continue` the request is done, and a batch waits for the next.
    let proxy = Proxy::start(Play::Stop);
    let output = proxy.batch(&["-ex", "b judge", "-ex", "c", "-ex", "c --timeout 200ms"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stdout(&output).contains("GET /path #17 is done: 200"), "{}", stdout(&output));
}

#[test]
fn a_failed_command_is_named_and_the_others_run() {
    let proxy = Proxy::start(Play::Nothing);
    let output = proxy.batch(&["-ex", "print token", "-ex", "frobnicate", "-ex", "info breakpoints"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "error: nothing is stopped: `continue` waits for the next stop, `transactions` lists what is there\n\
         error: there is no command \"frobnicate\"; `help` lists them\n"
    );
    assert!(stdout(&output).contains("no breakpoints: `break PLACE` sets one"));
}

#[test]
fn a_file_of_commands_ends_at_its_first_failure() {
    let proxy = Proxy::start(Play::Nothing);
    let script = proxy.folder().join("commands");
    std::fs::write(&script, "# a comment\n\nbreak judge\nprint token\nbreak is_prime\n").unwrap();
    let output = proxy.batch(&["-x", script.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("commands:4: nothing is stopped"), "{}", stderr(&output));
    assert!(!stdout(&output).contains("Breakpoint 2"));
    let output = proxy.batch(&["-x", "/absent/commands"]);
    assert!(stderr(&output).contains("cannot read commands from /absent/commands"), "{}", stderr(&output));
}

#[test]
fn a_proxy_that_dies_ends_the_debugger() {
    let proxy = Proxy::start(Play::Die);
    let output = proxy.batch(&["-ex", "break judge", "-ex", "continue"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("the other side ended it or is gone"), "{}", stderr(&output));
}

#[test]
fn what_strangers_wrote_does_not_move_the_cursor() {
    let proxy = Proxy::start(Play::Hostile);
    let output =
        proxy.batch(&["-ex", "break judge", "-ex", "continue", "-ex", "bt", "-ex", "c --timeout 100ms"]);
    let all = stdout(&output) + &stderr(&output);
    assert!(all.contains("GET /\\u{1b}[2J\\u{9b}31mowned #17 stopped"), "{all}");
    assert!(all.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'), "{all:?}");
}

#[test]
fn who_is_refused_learns_why() {
    let proxy = Proxy::start(Play::Refuse);
    let output = proxy.batch(&[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("is not named in `control.users`"), "{}", stderr(&output));
}

#[test]
fn a_socket_without_a_listener_or_without_a_file_is_told_apart() {
    let proxy = Proxy::start(Play::Nothing);
    let dead = proxy.folder().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    let attach = |path: &str| {
        let output = wasmdbg(&["attach", path]).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        stderr(&output)
    };
    let dead = dead.display().to_string();
    assert_eq!(
        attach(&dead),
        format!(
            "error: cannot attach to {dead}: nobody listens at {dead}: the proxy that made this socket is gone, or \
             its plugin has shut down\n"
        )
    );
    assert!(attach("/absent/wasmdbg.sock").contains("there is no socket /absent/wasmdbg.sock"));
    assert!(attach(&std::process::id().to_string()).contains("has no wasmdbg.so loaded"));
}

/// Only root can become somebody else.
#[test]
fn another_user_is_kept_out_by_the_sockets_mode() {
    if !can_be_nobody() {
        return;
    }
    let proxy = Proxy::start(Play::Nothing);
    // The build's folder may be closed to that user. Copied by a process of its own: a child that another
    // test starts meanwhile would inherit a descriptor open for writing, and the copy be "busy".
    let binary = proxy.folder().join("wasmdbg");
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_wasmdbg")).arg(&binary).status().unwrap();
    assert!(copied.success());
    for path in [proxy.folder(), &binary] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = Command::new(&binary)
        .args(["attach", &proxy.socket(), "--batch"])
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("no permission to connect to"), "{}", stderr(&output));
    assert!(stderr(&output).contains("run as the proxy's user or root"), "{}", stderr(&output));
}

#[test]
fn wrong_usage_has_a_code_of_its_own() {
    for (arguments, said) in [
        (&["attach", "--no-such-option"][..], "invalid option '--no-such-option'"),
        (&["attach", "--when", "moon:full"], "\"moon\" is no kind of rule"),
        (&["attach", "--deadline", "5"], "give a number with ms, s, m or h"),
        (&["detach"], "\"detach\" is no command"),
        (&[], "give a command"),
    ] {
        let output = wasmdbg(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = stderr(&output);
        assert!(text.contains(said) && text.contains("--help"), "{text}");
        assert_eq!(stdout(&output), "");
    }
    let help = wasmdbg(&["--help"]).output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout(&help).contains("wasmdbg attach [PID|SOCKET] [options]"));
}

#[test]
fn what_is_attached_to_and_its_deadline_are_said() {
    let proxy = Proxy::start(Play::Nothing);
    let out =
        stdout(&proxy.batch(&["--when", "header:X-Debug=1", "--when", "path:/api/", "--deadline", "2m"]));
    assert!(out.contains("Apache Traffic Server 9.2.5, process 4711, plugin 0.1.0\n"), "{out}");
    assert!(out.contains("filter token can be debugged (compiled in 1.84s)\n"), "{out}");
    assert!(out.contains("requests can stop if header X-Debug: 1, and path begins with /api/\n"), "{out}");
    assert!(out.contains("a stopped request goes on after 2m without a command\n"), "{out}");
    let out = stdout(&proxy.batch(&["--all"]));
    assert!(out.contains("every request can stop\n") && out.contains("after 30s"), "{out}");
    assert!(repository().join("examples").exists());
}
