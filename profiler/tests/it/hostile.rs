//! Targets that want to exhaust or to mislead a profiler of root's: each has a limit, a message, and an end.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;
use wasmdbg_profiler::limits::{Budget, Cancel};
use wasmdbg_profiler::target::Target;
use wasmdbg_profiler::target::space::{Limits, Object, Piece, Space};
use wasmdbg_tests::process::{resident, signal};
use wasmdbg_tests::scratch::{PATIENCE, wait_for};

use crate::support::{Embedder, Folder, Remove, command, fixture, json, share};

/// `record` under way, with what it says.
fn spawn(arguments: &[&str]) -> Child {
    command(&[&["record"], arguments].concat()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until a recording has so many samples.
fn wait_for_samples(file: &Path, count: usize) {
    let has = || {
        let bytes = fs::read(file).unwrap_or_default();
        let recording = wasmdbg_profiler::recording::Recording::parse(&bytes).ok()?;
        (recording.samples.len() >= count).then_some(())
    };
    wait_for("samples", PATIENCE, has).unwrap();
}

/// It waits for an answer that never comes; nothing has been made yet that would have to end well.
#[test]
fn a_proxy_that_never_greets_does_not_keep_the_recorder_from_ending() {
    let (embedder, folder) = (Embedder::start(), Folder::new());
    let socket = folder.path("wasmdbg.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let accept = || wait_for("the recorder", PATIENCE, || listener.accept().ok()).unwrap().0;
    let (out, pid) = (folder.path("out.wasmprof"), embedder.pid());
    let arguments =
        ["-p", &pid, "--socket", socket.to_str().unwrap(), "-F", "999", "-o", out.to_str().unwrap()];
    for end in [Signal::SIGTERM, Signal::SIGINT] {
        let mut recorder = spawn(&arguments);
        let mut connection = accept();
        // It has said who it is, and waits.
        connection.read_exact(&mut [0; 8]).unwrap();
        signal(recorder.id(), end).unwrap();
        assert_eq!(recorder.wait().unwrap().signal(), Some(end as i32));
        assert!(!out.exists());
    }
    // Left alone it says so, and records without the names of filters.
    let recorder = spawn(&[&arguments[..], &["--samples", "300"]].concat());
    let _silent = accept();
    let output = recorder.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the proxy does not name its filters") && said.contains("within 10 s"), "{said}");
    assert!(share(&json(&out), "functions", "half") > 10.0);
}

/// A sparse map of 1 TB in the target's own name: it costs no more than a line may have, and samples are taken.
#[test]
fn a_huge_perf_map_is_left_out_with_words() {
    let (embedder, folder) = (Embedder::start(), Folder::new());
    let map = Remove(format!("/tmp/perf-{}.map", embedder.pid()).into());
    fs::write(&map.0, "1000 10 name\n").unwrap();
    fs::File::options().write(true).open(&map.0).unwrap().set_len(1 << 40).unwrap();
    let (pid, out) = (embedder.pid(), folder.path("out.wasmprof"));
    let recorder = spawn(&["-p", &pid, "-F", "999", "-d", "0", "-o", out.to_str().unwrap()]);
    wait_for_samples(&out, 300);
    let memory = resident(recorder.id()).unwrap();
    signal(recorder.id(), Signal::SIGTERM).unwrap();
    let output = recorder.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(memory < 200 << 20, "{memory} bytes");
    let wanted = format!("{}: what it describes after its first", map.0.display());
    assert!(said.contains(&wanted) && said.contains("more than 16 MiB"), "{said}");
    assert!(share(&json(&out), "functions", "half") > 10.0);
}

/// The first signal ends the recording; one that comes while it is finished ends the program.
#[test]
fn a_second_signal_ends_what_the_first_one_began() {
    let (embedder, folder) = (Embedder::start(), Folder::new());
    let (pid, out) = (embedder.pid(), folder.path("out.svg"));
    let mut recorder = spawn(&["-p", &pid, "-F", "999", "-d", "0", "-o", out.to_str().unwrap()]);
    wait_for_samples(&folder.path("out.wasmprof"), 50);
    // Nobody reads the graph: it waits there.
    nix::unistd::mkfifo(&out, nix::sys::stat::Mode::S_IRWXU).unwrap();
    signal(recorder.id(), Signal::SIGINT).unwrap();
    let said = BufReader::new(recorder.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> = said.take_while(|line| !line.starts_with("innermost frame")).collect();
    assert!(said[0].contains("(interrupted)"), "{said:?}");
    signal(recorder.id(), Signal::SIGTERM).unwrap();
    assert_eq!(recorder.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
    let report = command(&["report", folder.path("out.wasmprof").to_str().unwrap()]).output().unwrap();
    assert!(report.status.success() && report.stderr.is_empty(), "the recording is whole");
}

/// Another user's folder, where he has laid links to a file of root's.
#[test]
fn links_of_another_user_are_not_followed() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can make a link of another user");
        assert!(std::env::var("CI").is_err(), "CI runs as root");
        return;
    }
    let (embedder, folder) = (Embedder::start(), Folder::new());
    let (pid, precious) = (embedder.pid(), folder.path("precious"));
    let out = folder.path("out.svg");
    let lay = |name: &str| {
        for before in ["out.svg", "out.svg.part", "out.wasmprof"] {
            let _ = fs::remove_file(folder.path(before));
        }
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, folder.path(name)).unwrap();
        std::os::unix::fs::lchown(folder.path(name), Some(65_534), Some(65_534)).unwrap();
    };
    for name in ["out.svg.part", "out.wasmprof", "out.svg"] {
        lay(name);
        let recorder = spawn(&["-p", &pid, "-F", "999", "--samples", "50", "-o", out.to_str().unwrap()]);
        let output = recorder.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious", "{name}");
        let refused = format!("{} is a link of another user", folder.path(name).display());
        assert_eq!(output.status.success(), !said.contains(&refused), "{name}: {said}");
        assert_eq!(output.status.success(), name == "out.svg.part", "{name}: {said}");
    }
}

#[test]
fn what_a_look_at_a_target_leaves_out_is_said() {
    let embedder = Embedder::start();
    let target = Target::open(embedder.pid().parse().unwrap()).unwrap();
    let look = |limits: Limits, cancel: &Cancel| {
        let mut space = Space::within(limits);
        space.refresh(&target, cancel, |_, _| {}).unwrap();
        let is_module = |piece: &&Piece| matches!(piece.object, Some(Object::Wasm(_)));
        let modules = space.pieces().iter().filter(is_module).count();
        (modules, space.notes().iter().collect::<Vec<_>>().join("; "))
    };
    let go = Cancel::default();
    assert_eq!(look(Limits::default(), &go), (2, String::new()));
    let (modules, said) = look(Limits { images: Budget::new(1000, 1 << 30), ..Limits::default() }, &go);
    assert!(modules == 0 && said.contains("is left out: it has") && said.contains("1000 bytes"), "{said}");
    let (modules, said) = look(Limits { images: Budget::new(1 << 30, 1000), ..Limits::default() }, &go);
    assert!(modules == 0 && said.contains("more than the 1000 bytes"), "{said}");
    let (modules, said) = look(Limits { probes: 1, ..Limits::default() }, &go);
    assert!(modules < 2 && said.contains("its header was not found at 1 places"), "{said}");
    let (modules, said) = look(Limits { tables: Budget::new(4096, 1 << 30), ..Limits::default() }, &go);
    assert!(modules == 2 && said.contains("its unwind tables are left out"), "{said}");
    go.cancel();
    assert_eq!(look(Limits::default(), &go), (0, String::new()), "nothing is read for who has had enough");
}

/// Perl makes memory that looks like very many large images, and burns time.
const IMAGES: &str = r#"
    use strict;
    my ($count, $size) = map { $_ + 0 } @ARGV;
    # mmap; mprotect: a readable page with a header before an executable one
    my $header = "\x7fELF\x02\x01\x01\xc8" . "\0" x 8 . pack("SSLQQQLSSSSSS", 3, 62, 1, 0, 0, $size - 64, 0, 64, 0, 0, 64, 1, 0);
    for (1 .. $count) {
        my $at = syscall(9, 0, $size, 3, 0x4022, -1, 0);
        die "mmap: $!" if $at == -1;
        my $page = $header . "\0" x (4096 - length $header);
        # process_vm_writev into itself
        my $local = pack("QQ", unpack("Q", pack("P", $page)), 4096);
        my $remote = pack("QQ", $at, 4096);
        syscall(311, $$ + 0, $local, 1, $remote, 1, 0) == 4096 or die "write: $!";
        syscall(10, $at + 4096, 4096, 5) == 0 or die "mprotect: $!";
    }
    $| = 1;
    print "ready\n";
    my $x = 0;
    while (1) { $x = ($x * 31 + 7) % 1000003 }
"#;

/// 200 headers that claim 200 MB each: read in vain up to the limit of all, once, and no samples are missing for it.
#[test]
fn many_large_images_that_are_none_are_read_up_to_a_limit() {
    let folder = Folder::new();
    let mut target = std::process::Command::new("perl")
        .args(["-e", IMAGES, "200", "200000000"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("perl is there on every Debian");
    let mut line = String::new();
    BufReader::new(target.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let (pid, out) = (target.id().to_string(), folder.path("out.wasmprof"));
    let recorder = spawn(&["-p", &pid, "-F", "499", "--samples", "200", "-o", out.to_str().unwrap()]);
    let output = recorder.wait_with_output().unwrap();
    target.kill().unwrap();
    target.wait().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("compiled code at 0x") && said.contains("more than the 1024 MiB"), "{said}");
    let own = json(&out)["summary"]["own_cpu"].as_f64().unwrap();
    assert!(own < 5.0, "{own} s after the start");
}

/// Perl loads the image in a file; on a line of input it makes executable memory without headers below it, as an
/// engine of another kind has, and loads the image once more above all of it.
const OTHER_CODE: &str = r#"
    use strict;
    my ($file, $text, $length) = @ARGV;
    open my $in, "<:raw", $file or die "$file: $!";
    my $image = do { local $/; <$in> };
    sub map_at { my ($at, $size) = @_; syscall(9, $at, $size, 3, 0x100022, -1, 0) == $at or die "mmap: $!" }
    sub executable { syscall(10, $_[0], $_[1], 5) == 0 or die "mprotect: $!" }
    sub load {
        my ($at) = @_;
        map_at($at, length $image);
        # process_vm_writev into itself
        my $local = pack("QQ", unpack("Q", pack("P", $image)), length $image);
        my $remote = pack("QQ", $at, length $image);
        syscall(311, $$ + 0, $local, 1, $remote, 1, 0) == length $image or die "write: $!";
        executable($at + $text, $length + 0);
    }
    $| = 1;
    load(0x2000000000);
    print "ready\n";
    <STDIN>;
    for my $number (0 .. 3) {
        my $at = 0x1000000000 + $number * 0x1000000;
        map_at($at, 0x200000);
        executable($at + 0x100000, 0x1000);
    }
    load(0x3000000000);
    print "ready\n";
    <STDIN>;
"#;

/// Memory on which a look may spend all its probes hides no module that is known, and others only for some looks.
#[test]
fn code_of_another_engine_does_not_hide_modules() {
    let folder = Folder::new();
    let module = fs::read(fixture("shares_first.wasm")).unwrap();
    let bytes = wasmtime::Engine::default().precompile_module(&module).unwrap();
    let image = wasmdbg_profiler::code::image::Image::parse(&bytes).unwrap();
    fs::write(folder.path("image"), bytes).unwrap();
    let length = (image.text.end - image.text.start).next_multiple_of(4096);
    let mut child = std::process::Command::new("perl")
        .args(["-e", OTHER_CODE, folder.path("image").to_str().unwrap()])
        .args([image.text.start.to_string(), length.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("perl is there on every Debian");
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let target = Target::open(child.id()).unwrap();
    // Enough for one of the four regions in each look.
    let mut space = Space::within(Limits { probes: 300, ..Limits::default() });
    let mut look = || {
        space.refresh(&target, &Cancel::default(), |_, _| {}).unwrap();
        let modules = space.pieces().iter().filter(|piece| matches!(piece.object, Some(Object::Wasm(_))));
        modules.map(|piece| piece.range.start - image.text.start).collect::<Vec<_>>()
    };
    assert_eq!(lines.next().unwrap(), "ready");
    assert_eq!(look(), [0x20_0000_0000]);
    input.write_all(b"\n").unwrap();
    assert_eq!(lines.next().unwrap(), "ready");
    assert_eq!(look(), [0x20_0000_0000], "the probes are spent, and it is known");
    let last = (0..5).map(|_| look()).last().unwrap();
    assert_eq!(last, [0x20_0000_0000, 0x30_0000_0000]);
    drop(input);
    child.wait().unwrap();
}
