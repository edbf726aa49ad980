//! What `wasmprof record` costs a proxy under full load, beside `perf record`, and how much of it is the
//! machine's own price for an interrupt.

use std::process::{Child, Command};

use anyhow::{Context, Result};

use crate::bench::parked::load;
use crate::bench::slices::Loaded;
use crate::bench::table::{Row, Verdict};
use crate::bench::variant::Variant;
use crate::process::{pin, product};
use crate::recorder::Recorder;
use crate::scratch::Scratch;

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
    load(server.address(), 1)?;
    let loaded = Loaded::start(&server)?;
    let idle = Idle::on(loaded.processor())?;
    let mut rows = Vec::new();
    for (hertz, must, aim) in RATES {
        let start = |who: &str, mut command: Command| {
            let name = format!("{who}-{hertz}");
            command
                .args(["-q", "-F", &hertz.to_string(), "-o"])
                .arg(folder.path().join(&name).with_extension("wasmprof"));
            Recorder::start(&mut command, folder.path(), &name)
        };
        // Told apart: an event of each thread, which perf has, costs a little even when it is disabled.
        let mut ours = [start("proxy", wasmprof(server.pid())?)?, start("idle", wasmprof(idle.0.id())?)?];
        let mut taken = loaded.compare(&mut ours)?;
        let [own, other] = ours;
        let (said, (_, of_idle, _)) = (own.stop()?.0, other.end()?);
        let mut theirs = [start("perf", perf(server.pid()))?];
        taken.extend(loaded.compare(&mut theirs)?);
        drop(theirs);
        let [own, clock, perf] = taken[..] else { unreachable!("one for each recorder") };
        let lost = own.throughput;
        rows.push(
            Row::shown(
                format!("throughput lost to `wasmprof record -F {hertz}`, whole stacks"),
                lost.to_string(),
            )
            .limits(
                format!("≤ {:.1} %", must * 100.0),
                format!("{:.1} %", aim * 100.0),
                Verdict::at_most(lost.0, must, aim),
            ),
        );
        rows.push(Row::shown("  CPU time of the proxy for a request, in addition", own.cpu.to_string()));
        if of_idle.contains("by the clock of") {
            let what =
                "  of it the clock's interrupts alone: an idle process recorded, on the proxy's processor";
            rows.push(Row::shown(what, format!("{}; CPU time {}", clock.throughput, clock.cpu)));
        }
        let what = format!("  to `perf record -g -e cpu-clock -F {hertz}`, no stacks of the host");
        rows.push(Row::shown(what, format!("{}; CPU time {}", perf.throughput, perf.cpu)));
        let parts = ["samples in", "by the clock", "in modules", "own cost", "innermost"];
        let lines = said.lines().filter(|line| parts.iter().any(|part| line.contains(part)));
        rows.extend(lines.map(|line| Row::shown(format!("  it says: {}", line.trim()), "")));
    }
    loaded.stop()?;
    Ok(rows)
}

fn wasmprof(pid: u32) -> Result<Command> {
    let mut command = Command::new(product("wasmprof")?);
    command.args(["record", "-d", "0", "-p", &pid.to_string()]);
    Ok(command)
}

fn perf(pid: u32) -> Command {
    let mut command = Command::new("perf");
    command.args(["record", "-g", "-e", "cpu-clock", "-p", &pid.to_string()]);
    command
}

/// A process that does nothing, on one processor.
struct Idle(Child);

impl Idle {
    fn on(processor: usize) -> Result<Self> {
        let idle = Self(Command::new("sleep").arg("infinity").spawn().context("cannot run sleep")?);
        pin(idle.0.id(), processor)?;
        Ok(idle)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
