//! What a fixed piece of work costs the event thread of a server: user instructions by the machine's
//! counters, else by callgrind, else CPU time.
//!
//! Only the thread `[ET_NET 0]` counts. What others do goes by time and not by requests, and under
//! callgrind, where a request takes fifty times as long, it would be charged fifty times.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::ats::Ats;
use crate::process;
use crate::scratch::Scratch;

/// How the cost is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `perf stat -e instructions:u` on the thread.
    Perf,
    /// The server runs under callgrind, which counts while the work is done.
    Callgrind,
    /// The kernel's account of the thread's time on a CPU.
    CpuTime,
}

impl Method {
    /// The best that this machine offers.
    #[must_use]
    pub fn best() -> Self {
        if has_counters() {
            Self::Perf
        } else if runs("valgrind", "--version") && runs("vgdb", "--help") {
            Self::Callgrind
        } else {
            Self::CpuTime
        }
    }

    /// From the words of the command line: `perf`, `callgrind` or `cpu`.
    ///
    /// # Errors
    /// When it is another word.
    pub fn parse(word: &str) -> Result<Self> {
        match word {
            "perf" => Ok(Self::Perf),
            "callgrind" => Ok(Self::Callgrind),
            "cpu" => Ok(Self::CpuTime),
            other => bail!("unknown counter {other}: perf, callgrind or cpu"),
        }
    }

    /// The unit of [`Meter::measure`].
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Perf | Self::Callgrind => "user kilo-instructions",
            Self::CpuTime => "CPU µs",
        }
    }

    /// Where the numbers come from, for the head of the table.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Perf => "user instructions of the event thread, by the CPU's counters (perf stat)",
            Self::Callgrind => {
                "user instructions of the event thread, by callgrind over a fixed number of requests \
                 (this machine has no counters for perf)"
            }
            Self::CpuTime => {
                "CPU time of the event thread (neither counters for perf nor callgrind here): noisy"
            }
        }
    }

    /// Batches of requests that one measurement takes: enough to repeat within a percent.
    #[must_use]
    pub fn batches(self) -> usize {
        match self {
            Self::Perf => 500,
            Self::Callgrind => 60,
            Self::CpuTime => 500,
        }
    }

    /// Rounds, of which the lowest counts.
    #[must_use]
    pub fn rounds(self) -> usize {
        match self {
            Self::Perf => 5,
            Self::Callgrind => 5,
            Self::CpuTime => 7,
        }
    }
}

fn has_counters() -> bool {
    let output = Command::new("perf").args(["stat", "-x,", "-e", "instructions:u", "true"]).output();
    output.is_ok_and(|output| read_perf(&String::from_utf8_lossy(&output.stderr)).is_ok())
}

fn runs(program: &str, argument: &str) -> bool {
    let status = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    // vgdb ends with 1 after its help.
    status.is_ok()
}

/// Measures servers that were started under its [`Meter::wrapper`].
#[derive(Debug)]
pub struct Meter {
    method: Method,
    scratch: Scratch,
}

impl Meter {
    /// A meter with a folder of its own.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(method: Method) -> Result<Self> {
        Ok(Self { method, scratch: Scratch::new("meter")? })
    }

    /// How it counts.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// The command that must run the server called `name`; empty for none.
    #[must_use]
    pub fn wrapper(&self, name: &str) -> Vec<String> {
        if self.method != Method::Callgrind {
            return Vec::new();
        }
        let file = self.dumps(name).display().to_string();
        ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes"]
            .map(String::from)
            .into_iter()
            .chain([format!("--callgrind-out-file={file}")])
            .collect()
    }

    /// What the event thread of the server called `name` spends on `work`, in thousands of
    /// instructions or in microseconds.
    ///
    /// # Errors
    /// When the work fails, or the counter counts nothing.
    pub fn measure(&self, name: &str, server: &Ats, work: impl FnOnce() -> Result<()>) -> Result<f64> {
        let count = match self.method {
            Method::Perf => self.by_perf(server, work),
            Method::Callgrind => self.by_callgrind(name, server, work),
            Method::CpuTime => by_time(server, work),
        }?;
        ensure!(count > 0, "the event thread of {name} did nothing: it is not the one that serves");
        #[allow(clippy::cast_precision_loss)]
        Ok(count as f64 / 1000.0)
    }

    fn dumps(&self, name: &str) -> PathBuf {
        self.scratch.path().join(format!("callgrind-{}", name.replace(' ', "-")))
    }

    fn by_callgrind(&self, name: &str, server: &Ats, work: impl FnOnce() -> Result<()>) -> Result<u64> {
        let prefix = self.dumps(name);
        for old in dump_files(&prefix)? {
            std::fs::remove_file(old)?;
        }
        vgdb(server, &["instrumentation", "on"])?;
        vgdb(server, &["zero"])?;
        let result = work();
        vgdb(server, &["dump"])?;
        vgdb(server, &["instrumentation", "off"])?;
        result?;
        // A file for each thread, numbered without its name: the one that served did by far the most.
        let mut most = 0;
        for file in dump_files(&prefix)? {
            most = most.max(read_totals(&file)?);
        }
        Ok(most)
    }

    fn by_perf(&self, server: &Ats, work: impl FnOnce() -> Result<()>) -> Result<u64> {
        let thread = event_thread(server)?;
        let mut perf = PerfStat::start(self.scratch.path(), thread)?;
        perf.command("enable")?;
        let result = work();
        perf.command("disable")?;
        let count = perf.stop()?;
        result.map(|()| count)
    }
}

fn dump_files(prefix: &Path) -> Result<Vec<PathBuf>> {
    let folder = prefix.parent().context("a dump file has a folder")?;
    let start = format!("{}.", prefix.file_name().unwrap_or_default().to_string_lossy());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&start) {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn read_totals(file: &Path) -> Result<u64> {
    let text = String::from_utf8_lossy(&std::fs::read(file)?).into_owned();
    let totals = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    let totals = totals.with_context(|| format!("callgrind's {} has no totals", file.display()))?;
    totals.trim().parse().with_context(|| format!("callgrind's totals are no number: {totals}"))
}

/// Gives a command to the valgrind that runs the server.
fn vgdb(server: &Ats, words: &[&str]) -> Result<()> {
    let output = Command::new("vgdb")
        .arg(format!("--pid={}", server.pid()))
        .args(words)
        .output()
        .context("cannot run vgdb: `tests/setup/install.sh bench` installs valgrind")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "vgdb {} failed: {error}", words.join(" "));
    Ok(())
}

/// A `perf stat` on one thread, told over a pair of pipes when to count.
struct PerfStat {
    child: Child,
    control: File,
    answers: BufReader<File>,
    output: PathBuf,
}

impl PerfStat {
    fn start(folder: &Path, thread: u32) -> Result<Self> {
        let (control, answers) = (folder.join("perf-control"), folder.join("perf-answers"));
        let output = folder.join("perf-output");
        for pipe in [&control, &answers] {
            if !pipe.exists() {
                ensure!(Command::new("mkfifo").arg(pipe).status()?.success(), "mkfifo failed");
            }
        }
        let child = Command::new("perf")
            .args(["stat", "-x,", "-e", EVENT, "--delay", "-1", "-t", &thread.to_string()])
            .arg("--control")
            .arg(format!("fifo:{},{}", control.display(), answers.display()))
            .arg("--output")
            .arg(&output)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run perf")?;
        // Each waits until perf opens the other end.
        let control = File::options().write(true).open(&control)?;
        let answers = BufReader::new(File::open(&answers)?);
        Ok(Self { child, control, answers, output })
    }

    fn command(&mut self, word: &str) -> Result<()> {
        writeln!(self.control, "{word}").context("perf does not listen")?;
        // perf ends its answer with a line end and a zero byte.
        let mut answer = Vec::new();
        self.answers.read_until(b'\n', &mut answer)?;
        let text = String::from_utf8_lossy(&answer);
        ensure!(text.contains("ack"), "perf answers {text:?} to {word}");
        Ok(())
    }

    fn stop(mut self) -> Result<u64> {
        process::signal(self.child.id(), Signal::SIGINT)?;
        self.child.wait()?;
        read_perf(&std::fs::read_to_string(&self.output)?)
    }
}

impl Drop for PerfStat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const EVENT: &str = "instructions:u";

/// The count in the output of `perf stat -x,`: the first field of the event's line.
fn read_perf(text: &str) -> Result<u64> {
    let line = text.lines().find(|line| line.contains(EVENT)).context("perf counted nothing")?;
    let count = line.split(',').next().unwrap_or_default();
    count.parse().with_context(|| format!("perf has no count: {line}"))
}

fn by_time(server: &Ats, work: impl FnOnce() -> Result<()>) -> Result<u64> {
    let thread = event_thread(server)?;
    let path = format!("/proc/{}/task/{thread}/schedstat", server.pid());
    let nanoseconds = || -> Result<u64> {
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        text.split(' ').next().unwrap_or_default().parse().with_context(|| format!("no number in {path}"))
    };
    let before = nanoseconds()?;
    work()?;
    Ok(nanoseconds()?.saturating_sub(before))
}

/// The id of the thread that serves, with one event thread.
fn event_thread(server: &Ats) -> Result<u32> {
    for task in std::fs::read_dir(format!("/proc/{}/task", server.pid()))? {
        let task = task?.path();
        let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        if name.trim_end() == "[ET_NET 0]" {
            let id = task.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return id.parse().context("a thread id is a number");
        }
    }
    bail!("no thread [ET_NET 0] in process {}", server.pid())
}

#[cfg(test)]
mod tests {
    use super::read_perf;

    #[test]
    fn the_count_of_perf_is_read_and_an_absent_counter_is_an_error() {
        let counted = "# started on\n\n4021,,instructions:u,100,100.00,,\n";
        assert_eq!(read_perf(counted).unwrap(), 4021);
        let absent = "<not supported>,,instructions:u,0,100.00,,\n";
        assert!(read_perf(absent).unwrap_err().to_string().contains("not supported"));
        assert!(read_perf("").is_err());
    }
}
