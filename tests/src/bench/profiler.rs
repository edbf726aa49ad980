//! What `wasmprof record` costs a proxy under load, beside `perf record` in the same rounds.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::ats::Ats;
use crate::bench::parked::load;
use crate::bench::rounds::median;
use crate::bench::table::{Row, Verdict};
use crate::bench::variant::Variant;
use crate::process::{product, signal};
use crate::scratch::{PATIENCE, Scratch, wait_for};

/// Many short ones: a shared machine is faster or slower for some seconds at a time.
const ROUNDS: usize = 20;
const SECONDS: u32 = 1;
/// Samples a second of CPU time, with the part of the throughput that may be lost: must and aim.
const RATES: [(u32, f64, f64); 2] = [(99, 0.01, 0.004), (999, 0.02, 0.015)];

/// The rows: throughput with a recording under way against without, and the last recording's own account.
///
/// # Errors
/// When a recording fails, or a request is not answered with 200.
pub fn rows() -> Result<Vec<Row>> {
    let folder = Scratch::new("bench")?;
    let server = Variant::Wasm.options(folder.path())?.start()?;
    Variant::Wasm.check(&server)?;
    // Not counted: fills the RAM cache.
    load(server.address(), SECONDS)?;
    let mut rows = Vec::new();
    for (rate, must, aim) in RATES {
        let mut measured = Rate { server: &server, folder: folder.path(), hertz: rate, said: String::new() };
        let lost = measured.lost()?;
        rows.push(
            Row::shown(
                format!("throughput lost to `wasmprof record -F {rate}`, whole stacks"),
                percent(lost[0]),
            )
            .limits(
                format!("≤ {}", percent(must)),
                percent(aim),
                Verdict::at_most(lost[0], must, aim),
            ),
        );
        let perf = format!("  to `perf record -g -e cpu-clock -F {rate}`, no stacks of the host");
        rows.push(Row::shown(perf, percent(lost[1])));
        for line in measured.said.lines().filter(|line| {
            ["samples in", "in modules", "own cost", "innermost"].iter().any(|part| line.contains(part))
        }) {
            rows.push(Row::shown(format!("  it says: {}", line.trim()), ""));
        }
    }
    Ok(rows)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A rate of sampling, measured.
struct Rate<'a> {
    server: &'a Ats,
    folder: &'a Path,
    hertz: u32,
    /// What wasmprof printed last.
    said: String,
}

impl Rate<'_> {
    /// The parts of the throughput that wasmprof and perf take.
    fn lost(&mut self) -> Result<[f64; 2]> {
        let mut ratios = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            // The order changes, so that a machine that gets slower or faster favours none.
            let mut rates = [0.0; 3];
            for turn in 0..rates.len() {
                let recorder = (round + turn) % rates.len();
                rates[recorder] = self.throughput(recorder)?;
            }
            ratios[0].push(rates[1] / rates[0]);
            ratios[1].push(rates[2] / rates[0]);
        }
        Ok(ratios.map(|ratios| 1.0 - median(&ratios)))
    }

    /// Requests per second while 0: nobody, 1: wasmprof, 2: perf records.
    fn throughput(&mut self, recorder: usize) -> Result<f64> {
        let pid = self.server.pid().to_string();
        let hertz = self.hertz.to_string();
        let (mut command, out) = match recorder {
            0 => return load(self.server.address(), SECONDS),
            1 => {
                let mut command = Command::new(product("wasmprof")?);
                command.args(["record", "-q", "-d", "0", "-p", &pid, "-F", &hertz]);
                (command, self.folder.join("bench.wasmprof"))
            }
            _ => {
                let mut command = Command::new("perf");
                command.args(["record", "-q", "-g", "-e", "cpu-clock", "-p", &pid, "-F", &hertz]);
                (command, self.folder.join("perf.data"))
            }
        };
        command.arg("-o").arg(&out);
        self.under(&mut command, &out, recorder == 1)
    }

    fn under(&mut self, command: &mut Command, out: &PathBuf, is_ours: bool) -> Result<f64> {
        let _ = std::fs::remove_file(out);
        let recorder = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let begun = || std::fs::metadata(out).ok().filter(|data| data.len() > 0);
        // The first load is not counted: the recorder learns the process's code.
        let requests = wait_for("the recording to begin", PATIENCE, begun)
            .and_then(|_| load(self.server.address(), SECONDS))
            .and_then(|_| load(self.server.address(), SECONDS));
        signal(recorder.id(), Signal::SIGINT)?;
        let output = recorder.wait_with_output()?;
        // perf ends as if the signal had killed it.
        let well = output.status.success() || output.status.signal() == Some(Signal::SIGINT as i32);
        ensure!(well, "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        if is_ours {
            self.said = String::from_utf8_lossy(&output.stdout).into_owned();
        }
        requests
    }
}
