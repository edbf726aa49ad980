//! What becomes of a recording when something goes wrong, and what the user is told.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Embedder, Folder, command, fail, fixture, json, run, share, succeed};
use wasmdbg_tests::process::{is_stopped, signal};
use wasmdbg_tests::scratch::{PATIENCE, wait_for};

/// Waits until the recorder has written so many samples that each function of the target is among them.
fn wait_for_samples(file: &std::path::Path) {
    let start = Instant::now();
    let has_samples = || {
        let bytes = fs::read(file).unwrap_or_default();
        wasmdbg_profiler::recording::Recording::parse(&bytes)
            .is_ok_and(|recording| recording.samples.len() > 300)
    };
    while !has_samples() {
        assert!(start.elapsed() < PATIENCE, "no samples come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn ctrl_c_keeps_what_was_recorded() {
    let embedder = Embedder::start();
    let folder = Folder::new();
    let svg = folder.path("out.svg");
    let recorder =
        command(&["record", "-p", &embedder.pid(), "-d", "0", "-F", "499", "-o", svg.to_str().unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
    wait_for_samples(&folder.path("out.wasmprof"));
    kill(Pid::from_raw(recorder.id() as i32), Signal::SIGINT).unwrap();
    let output = recorder.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("(interrupted)"), "{text}");
    assert!(fs::read_to_string(svg).unwrap().contains("inlined_third"));
}

#[test]
fn the_recorders_death_leaves_a_recording() {
    let embedder = Embedder::start();
    let folder = Folder::new();
    let file = folder.path("out.wasmprof");
    let mut recorder =
        command(&["record", "-p", &embedder.pid(), "-d", "0", "-F", "499", "-o", file.to_str().unwrap()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
    wait_for_samples(&file);
    recorder.kill().unwrap();
    recorder.wait().unwrap();
    let output = run(&["report", file.to_str().unwrap()]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("did not end well"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("shares_first::spin"), "{text}");
}

#[test]
fn the_targets_death_ends_the_recording_well() {
    let mut embedder = Embedder::start();
    let folder = Folder::new();
    let file = folder.path("out.wasmprof");
    let recorder =
        command(&["record", "-p", &embedder.pid(), "-d", "0", "-F", "499", "-o", file.to_str().unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
    wait_for_samples(&file);
    embedder.kill();
    let output = recorder.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("ended)"), "{text}");
    let profile = json(&file);
    assert_eq!(profile["summary"]["ended"], "exit");
    assert!(share(&profile, "functions", "half") > 30.0);
}

#[test]
fn errors_say_what_to_do() {
    let folder = Folder::new();
    let path = |name: &str| folder.path(name).display().to_string();
    let gone = fail(&["record", "-p", "4194303", "-o", &path("x.svg")]);
    assert!(gone.contains("there is no process 4194303"), "{gone}");
    let own = std::process::id().to_string();
    let folderless = fail(&["record", "-p", &own, "-o", &path("missing/x.svg")]);
    assert!(folderless.contains("cannot write") && folderless.contains("missing/x.wasmprof"), "{folderless}");
    fs::write(folder.path("empty.wasmprof"), b"").unwrap();
    let empty = fail(&["report", &path("empty.wasmprof")]);
    assert!(empty.contains("neither a recording of wasmprof nor a perf.data"), "{empty}");
    // A thread's id is taken for a pid easily: top -H shows it.
    let (tell, told) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        tell.send(nix::unistd::gettid()).unwrap();
        ended.recv().unwrap_err();
    });
    let thread_id = told.recv().unwrap().to_string();
    let error = fail(&["record", "-p", &thread_id, "-o", &path("x.svg")]);
    assert!(error.contains(&format!("is a thread of process {own}: use -p {own}")), "{error}");
    drop(end);
    thread.join().unwrap();
    for (arguments, wanted) in [
        (["-F", "many"], "--frequency wants a number, not \"many\""),
        (["--samples", "0"], "--samples must be at least 1"),
        (["-d", "inf"], "is no number of seconds"),
        (["-o", "-"], "wants a file of its own"),
        (["-o", "/dev/null"], "wants a file of its own"),
        (["--delay", "-1"], "--delay -1 waits for what --control says"),
        (["--delay", "-2"], "the delay must be milliseconds, or -1"),
        (["--module", "Cargo.toml"], "neither a Wasm module (.wasm) nor a source map"),
        (["--control", "fifo:a,a"], "cannot be both pipes"),
        (["--control", "pipe"], "--control wants fifo:COMMANDS or fifo:COMMANDS,ANSWERS"),
        (["--control", "fifo:/nowhere/pipe"], "cannot open /nowhere/pipe"),
        (["--control", "fifo:/dev/null"], "/dev/null is no named pipe"),
    ] {
        let error = fail(&[&["record", "-p", &own][..], &arguments].concat());
        assert!(error.contains(wanted), "{arguments:?}: {error}");
    }
    let event = fail(&["record", "-p", &own, "-e", "nonsense"]);
    assert!(event.contains("use cpu-clock"), "{event}");
}

/// What is no file is written to and stays what it is; what a link leads to is replaced, not the link.
#[test]
fn results_go_where_they_are_wanted() {
    let embedder = Embedder::start();
    let folder = Folder::new();
    let path = |name: &str| folder.path(name).display().to_string();
    let recording = path("out.wasmprof");
    succeed(&["record", "-q", "-p", &embedder.pid(), "-F", "999", "--samples", "50", "-o", &recording]);
    let text = succeed(&["export", &recording]);
    assert_eq!(succeed(&["export", "-o", "-", "--format", "collapsed", &recording]), text);
    fs::write(folder.path("real.folded"), "").unwrap();
    std::os::unix::fs::symlink("real.folded", folder.path("link.folded")).unwrap();
    succeed(&["export", "-o", &path("link.folded"), &recording]);
    assert_eq!(fs::read_to_string(folder.path("real.folded")).unwrap(), text);
    assert!(folder.path("link.folded").symlink_metadata().unwrap().is_symlink());
    let pipe = folder.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap()
    });
    succeed(&["export", "--format", "collapsed", "-o", &path("pipe"), &recording]);
    assert_eq!(reader.join().unwrap(), text);
    let before = fs::read(&recording).unwrap();
    let error = fail(&["export", "--format", "svg", "-o", &recording, &recording]);
    assert!(error.contains("would be replaced by what is made of it"), "{error}");
    assert_eq!(fs::read(&recording).unwrap(), before);
}

#[test]
fn two_recorders_do_not_write_one_file() {
    let mut embedder = Embedder::start();
    let folder = Folder::new();
    let recording = folder.path("out.wasmprof");
    let (pid, out) = (embedder.pid(), recording.to_str().unwrap());
    let arguments = ["record", "-q", "-p", &pid, "-F", "999", "-d", "0", "-o", out];
    let first = command(&arguments).stdout(Stdio::null()).spawn().unwrap();
    wait_for_samples(&recording);
    let error = fail(&arguments);
    assert!(error.contains("another wasmprof is recording into"), "{error}");
    embedder.kill();
    assert!(first.wait_with_output().unwrap().status.success());
    assert!(json(&recording)["summary"].is_object(), "the first one's recording is whole");
}

/// As perf keeps perf.data.old.
#[test]
fn the_recording_before_is_kept() {
    let (embedder, folder) = (Embedder::start(), Folder::new());
    let (file, old) = (folder.path("out.wasmprof"), folder.path("out.wasmprof.old"));
    let name = file.to_str().unwrap();
    let record = |further: &[&str]| {
        let fixed = ["record", "-q", "-p", &embedder.pid(), "-F", "999", "-o", name];
        run(&[&fixed, further].concat())
    };
    assert!(record(&["--samples", "50"]).status.success());
    let first = fs::read(&file).unwrap();
    // One that comes to nothing leaves the file as it was.
    signal(embedder.pid().parse().unwrap(), Signal::SIGSTOP).unwrap();
    let failed = record(&["-d", "0.2", "-o", folder.path("out.svg").to_str().unwrap()]);
    assert!(!failed.status.success());
    assert!(fs::read(&file).unwrap() == first && !old.exists());
    signal(embedder.pid().parse().unwrap(), Signal::SIGCONT).unwrap();
    assert!(record(&["--samples", "60"]).status.success());
    assert!(fs::read(&old).unwrap() == first && fs::read(&file).unwrap() != first);
}

#[test]
fn sampling_begins_after_the_delay() {
    let (embedder, folder) = (Embedder::start(), Folder::new());
    let out = folder.path("out.wasmprof");
    let start = Instant::now();
    succeed(&[
        "record",
        "-q",
        "-p",
        &embedder.pid(),
        "-F",
        "999",
        "-D",
        "700",
        // However long it takes on a busy machine: half a second of its time.
        "--samples",
        "500",
        "-d",
        "300",
        "-o",
        out.to_str().unwrap(),
    ]);
    let (wall, seconds) = (start.elapsed().as_secs_f64(), json(&out)["summary"]["seconds"].as_f64().unwrap());
    assert!(seconds > 0.4 && wall - seconds > 0.6, "{seconds} s of {wall}");
}

#[test]
fn a_jitdump_of_another_process_is_said_to_be_one() {
    let (embedder, folder) = (Embedder::start(), Folder::new());
    let out = folder.path("out.svg").display().to_string();
    let dump = fixture("../corpus/jitdump/v8.dump").display().to_string();
    let output =
        run(&["record", "-p", &embedder.pid(), "-F", "999", "--samples", "50", "--code", &dump, "-o", &out]);
    let said = String::from_utf8_lossy(&output.stderr);
    let pid = embedder.pid();
    assert!(output.status.success());
    assert!(said.contains(&format!("describes the code of process 77, not of {pid}")), "{said}");
}

#[test]
fn a_full_disk_is_an_error_and_no_panic() {
    let embedder = Embedder::start();
    let folder = Folder::new();
    let link = folder.path("out.wasmprof");
    std::os::unix::fs::symlink("/dev/full", &link).unwrap();
    let error = fail(&["record", "-p", &embedder.pid(), "-d", "1", "-o", link.to_str().unwrap()]);
    assert!(error.contains("cannot write") && error.contains("No space left"), "{error}");
}

#[test]
fn an_idle_process_gives_no_flame_graph_and_says_why() {
    let mut idle = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    // Its start takes CPU: it sleeps in clock_nanosleep.
    let call = format!("/proc/{}/syscall", idle.id());
    wait_for("sleep to sleep", PATIENCE, || {
        fs::read_to_string(&call).ok().filter(|call| call.starts_with("230 "))
    })
    .unwrap();
    let folder = Folder::new();
    let svg = folder.path("out.svg");
    let pid = idle.id().to_string();
    let error = fail(&["record", "-p", &pid, "-d", "0.3", "-o", svg.to_str().unwrap()]);
    idle.kill().unwrap();
    idle.wait().unwrap();
    assert!(error.contains("used hardly any CPU in this time"), "{error}");
    assert!(!svg.exists());
}

#[test]
fn a_stopped_process_is_said_to_be_stopped() {
    let (embedder, folder) = (Embedder::start(), Folder::new());
    let (pid, svg) = (embedder.pid(), folder.path("out.svg").display().to_string());
    let number = pid.parse().unwrap();
    signal(number, Signal::SIGSTOP).unwrap();
    wait_for("its stop", PATIENCE, || is_stopped(number).then_some(())).unwrap();
    let error = fail(&["record", "-p", &pid, "-d", "0.3", "-o", &svg]);
    assert!(error.contains(&format!("no samples: process {pid} is stopped")), "{error}");
}

#[test]
fn stacks_that_are_cut_off_are_said_to_be() {
    let (embedder, folder) = (Embedder::start(), Folder::new());
    let (pid, svg) = (embedder.pid(), folder.path("out.svg").display().to_string());
    for (stack, cut) in [("1024", true), ("16384", false)] {
        let arguments = ["record", "-p", &pid, "-F", "999", "--samples", "200", "--stack", stack, "-o", &svg];
        let output = run(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.contains("stacks are cut off") && said.contains("a larger --stack"), cut, "{said}");
    }
}

#[test]
fn doctor_tries_what_a_recording_needs() {
    let text = succeed(&["doctor"]);
    assert!(text.contains("event cpu-clock: works"), "{text}");
    assert!(text.contains("kernel.perf_event_paranoid"), "{text}");
}

#[test]
fn a_reader_that_leaves_early_costs_nothing() {
    let embedder = Embedder::start();
    let folder = Folder::new();
    let svg = folder.path("out.svg");
    let mut recorder = command(&["record", "-p", &embedder.pid(), "-d", "1", "-o", svg.to_str().unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(recorder.stdout.take());
    assert!(recorder.wait().unwrap().success());
    assert!(svg.exists(), "the flame graph is written all the same");
}
