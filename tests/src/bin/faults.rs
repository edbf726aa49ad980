//! Puts one-line faults into a copy of the tree, one at a time, and says which of them the tests notice.
//!
//! `faults [--check] [TEXT…]`: `--check` only looks whether each fault's text is there; with texts only the
//! faults whose place or name contains one of them. The copy is `target/faults/tree`; it is built in
//! `target/faults/build`, or where `CARGO_TARGET_DIR` says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::os::unix::process::CommandExt;
use wasmdbg_tests::faults::{self, Fault};

/// Tests that run longer have noticed it.
const LIMIT: Duration = Duration::from_secs(300);
/// This share of the faults must be noticed.
const SHARE: usize = 95;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Noticed,
    Survived,
    NoBuild,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let words: Vec<String> = env::args().skip(1).collect();
    let (options, texts): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| word.starts_with("--"));
    let root = PathBuf::from(output(Path::new("."), "git", &["rev-parse", "--show-toplevel"])?.trim_end());
    let mut faults = faults::read(&root)?;
    faults.retain(|fault| {
        let named = |text: &String| fault.place.contains(text.as_str()) || fault.name.contains(text.as_str());
        texts.is_empty() || texts.iter().any(named)
    });
    ensure!(!faults.is_empty(), "no such fault");
    let lost: Vec<String> =
        faults.iter().filter_map(|fault| fault.find(&root).err()).map(|error| format!("{error:#}")).collect();
    ensure!(lost.is_empty(), "the lists do not follow the code:\n{}", lost.join("\n"));
    if options.iter().any(|option| option == "--check") {
        println!("{} faults, all found", faults.len());
        return Ok(true);
    }
    let tree = root.join("target/faults/tree");
    copy(&root, &tree)?;
    let build =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target/faults/build"), PathBuf::from);
    let commands: BTreeSet<&[String]> = faults.iter().map(|fault| fault.tests.as_slice()).collect();
    for tests in commands {
        println!("without a fault: cargo test {}", tests.join(" "));
        ensure!(try_tests(&tree, &build, tests)? == Seen::Survived, "the tests fail without a fault");
    }
    let mut counts = (0, Vec::new());
    for fault in &faults {
        let began = Instant::now();
        let seen = try_fault(fault, &tree, &build)?;
        let word = match seen {
            Seen::Noticed => "noticed",
            Seen::Survived => "SURVIVED",
            Seen::NoBuild => "DOES NOT COMPILE",
        };
        println!("{:>4} s  {word:<10} {:<22} {}", began.elapsed().as_secs(), fault.place, fault.name);
        if seen == Seen::Noticed { counts.0 += 1 } else { counts.1.push(fault) }
    }
    println!("{} of {} noticed ({} %)", counts.0, faults.len(), counts.0 * 100 / faults.len());
    for fault in counts.1 {
        println!("not noticed: {} {}", fault.place, fault.name);
    }
    Ok(counts.0 * 100 >= faults.len() * SHARE)
}

fn try_fault(fault: &Fault, tree: &Path, build: &Path) -> Result<Seen> {
    let (file, faulty) = fault.find(tree)?;
    let good = fs::read(&file)?;
    fs::write(&file, faulty)?;
    let seen = try_tests(tree, build, &fault.tests);
    fs::write(&file, good)?;
    seen
}

/// Builds and runs tests.
fn try_tests(tree: &Path, build: &Path, tests: &[String]) -> Result<Seen> {
    let cargo = || {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.arg("test").args(["--release", "--locked"]).current_dir(tree).env("CARGO_TARGET_DIR", build);
        // What they said last, for those who look into it.
        let log = fs::File::options().create(true).append(true).open(tree.with_file_name("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        anyhow::Ok(command)
    };
    fs::write(tree.with_file_name("log"), "")?;
    let words: Vec<&String> = tests.iter().take_while(|word| *word != "--").collect();
    if !cargo()?.args(words).arg("--no-run").status()?.success() {
        return Ok(Seen::NoBuild);
    }
    let mut running = cargo()?.args(tests).process_group(0).spawn()?;
    let began = Instant::now();
    loop {
        if let Some(status) = running.try_wait()? {
            return Ok(if status.success() { Seen::Survived } else { Seen::Noticed });
        }
        if began.elapsed() > LIMIT {
            killpg(Pid::from_raw(running.id().cast_signed()), Signal::SIGKILL)?;
            running.wait()?;
            return Ok(Seen::Noticed);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Copies what git knows of the tree, as it is now; leaves alone what is the same, so that it is not built anew.
fn copy(root: &Path, tree: &Path) -> Result<()> {
    let known = output(root, "git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    let known: BTreeSet<&str> = known.split('\0').filter(|name| !name.is_empty()).collect();
    for name in &known {
        let (from, to) = (root.join(name), tree.join(name));
        let Ok(content) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|there| there == content) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        fs::copy(&from, &to).with_context(|| to.display().to_string())?;
    }
    remove_others(tree, tree, &known)
}

/// Removes files of the copy that are not in the tree any more.
fn remove_others(folder: &Path, tree: &Path, known: &BTreeSet<&str>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, tree, known)?;
        } else if path.strip_prefix(tree)?.to_str().is_none_or(|name| !known.contains(name)) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn output(folder: &Path, program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program).args(words).current_dir(folder).output()?;
    ensure!(output.status.success(), "{program} {}: {}", words.join(" "), output.status);
    Ok(String::from_utf8(output.stdout)?)
}
