//! What a recording of several filters holds, and what it costs to draw it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;

use crate::ats::{Ats, Filter};
use crate::bench::rounds::median;
use crate::bench::table::{Row, Verdict};
use crate::http::Request;
use crate::load::{Load, Plan};
use crate::process::{cpu_seconds, product, signal};
use crate::scratch::{Scratch, wait_for};

/// As many as the profilers were given that this one is compared with.
const SAMPLES: u64 = 143_000;
/// A second of the server's CPU time: half a minute for all of them.
const HERTZ: u64 = 4999;
const DRAWN: usize = 5;

/// The rows of a recording and of a perf.data of so many samples.
///
/// # Errors
/// When one cannot be made, or a request is not answered with 200.
pub fn rows() -> Result<Vec<Row>> {
    let folder = Scratch::new("bench")?;
    let server = Ats::options()
        .filter(Filter::example("rust-token", "release").configuration("token quiet"))
        .filter(Filter::example("cpp-headers", "release"))
        .filter(Filter::new("rust-debug", &crate::ats::example("rust-token", "debug")).configuration("token"))
        .filter(Filter::new("cpp-debug", &crate::ats::example("cpp-headers", "debug")))
        .start()?;
    let request = Request::get("/cache/100/bench").header("token", "9973").header("accept", "text/html");
    server.fetch(&request)?;
    let load = Load::start(server.address(), &Plan::new(4, request));
    let recording = folder.path().join("bench.wasmprof");
    let said = record(&server, &recording)?;
    let data = folder.path().join("perf.data");
    let dump = jitdump(&server)?;
    let perf = perf_record(&server, &data);
    let lap = load.stop();
    ensure!(lap.errors == 0, "{:?}", lap.first_error);
    let svg = folder.path().join("bench.svg");
    let drawn = perf.and_then(|()| Ok((draw(&folder, &recording, &svg)?, draw(&folder, &data, &svg)?)));
    std::fs::remove_file(&dump).with_context(|| dump.clone())?;
    let (own, of_perf) = drawn?;
    let mut rows =
        vec![own.row("a recording of several filters"), of_perf.row("perf record -g and a jitdump")];
    rows.extend(coverage(&said, &own.said)?);
    Ok(rows)
}

/// What `wasmprof record` says of so many samples.
fn record(server: &Ats, out: &Path) -> Result<String> {
    let (pid, hertz, samples) = (server.pid().to_string(), HERTZ.to_string(), SAMPLES.to_string());
    let out = out.display().to_string();
    wasmprof(&["record", "-q", "-p", &pid, "-F", &hertz, "--samples", &samples, "-d", "600", "-o", &out])
}

/// Has the server write a jitdump; its path.
fn jitdump(server: &Ats) -> Result<String> {
    let said = wasmprof(&["jitdump", &server.pid().to_string()])?;
    Ok(said.split_once(": ").context("jitdump names no file")?.0.to_owned())
}

/// The same number of samples by perf.
fn perf_record(server: &Ats, data: &Path) -> Result<()> {
    let (pid, hertz) = (server.pid().to_string(), HERTZ.to_string());
    let start = cpu_seconds(server.pid())?;
    let mut recorder = Command::new("perf")
        .args(["record", "-q", "-g", "-k", "mono", "-e", "cpu-clock", "-F", &hertz, "-p", &pid, "-o"])
        .arg(data)
        .spawn()
        .context("cannot run perf: `tests/setup/install.sh bench` installs it")?;
    #[allow(clippy::cast_precision_loss)]
    let seconds = SAMPLES as f64 / HERTZ as f64;
    let waited = wait_for("so much CPU time of the server", Duration::from_secs(600), || {
        cpu_seconds(server.pid()).is_ok_and(|used| used - start > seconds).then_some(())
    });
    signal(recorder.id(), Signal::SIGINT)?;
    recorder.wait()?;
    waited
}

/// What it took to draw a graph.
struct Drawing {
    said: String,
    /// CPU seconds.
    cpu: f64,
    /// Peak of resident memory in MB.
    peak: f64,
}

impl Drawing {
    fn row(&self, what: &str) -> Row {
        let samples = self.said.split(' ').next().unwrap_or_default();
        let (cpu, peak) = (Verdict::at_most(self.cpu, 0.20, 0.10), Verdict::at_most(self.peak, 30.0, 20.0));
        let (what, result) = (
            format!("{samples} samples of {what} to a symbolised SVG"),
            format!("{:.2} CPU s, {:.0} MB", self.cpu, self.peak),
        );
        Row::shown(what, result).limits("≤ 0.20 CPU s, ≤ 30 MB", "0.10, 20", cpu.and(peak))
    }
}

/// Draws `input` some times; the medians.
fn draw(folder: &Scratch, input: &Path, svg: &Path) -> Result<Drawing> {
    let measured = folder.path().join("peak");
    let (mut times, mut peaks, mut said) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..DRAWN {
        let before = children_cpu()?;
        let output = Command::new("time")
            .args(["-f", "%M", "-o"])
            .arg(&measured)
            .arg(product("wasmprof")?)
            .args(["flamegraph", "-o"])
            .args([svg, input])
            .output()
            .context("cannot run time: `tests/setup/install.sh bench` installs it")?;
        times.push(children_cpu()? - before);
        ensure!(output.status.success(), "wasmprof: {}", String::from_utf8_lossy(&output.stderr));
        said = String::from_utf8_lossy(&output.stdout).into_owned();
        let peak: f64 = std::fs::read_to_string(&measured)?.trim().parse().context("time's %M")?;
        peaks.push(peak / 1000.0);
    }
    Ok(Drawing { said, cpu: median(&times), peak: median(&peaks) })
}

/// CPU seconds of all processes that were started and have ended.
fn children_cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    #[allow(clippy::cast_precision_loss)]
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// The rows of what the recorder and the graph say of samples in modules.
fn coverage(recorded: &str, drawn: &str) -> Result<Vec<Row>> {
    let named = number_before(drawn, " % with a function")?;
    let lines = number_before(drawn, " % with a line")?;
    let rooted = number_before(recorded, " % of them with the whole stack")?;
    let both = Verdict::at_least(named, 99.0, 100.0).and(Verdict::at_least(lines, 99.0, 100.0));
    let mut rows = vec![
        Row::shown(
            "samples in modules with function / line; attached late, no flags",
            format!("{named:.2} / {lines:.2} %"),
        )
        .limits("≥ 99 / 99 %", "100 / 100 %", both),
        Row::shown(
            "samples in modules whose stack reaches the thread's root, through Debian's Traffic Server",
            format!("{rooted:.1} %"),
        )
        .limits("≥ 98 %", "100 %", Verdict::at_least(rooted, 98.0, 100.0)),
    ];
    let said = recorded.lines().chain(drawn.lines());
    let figures = said.filter(|line| line.starts_with("in modules") || line.starts_with("innermost"));
    rows.extend(figures.map(|line| Row::shown(format!("  it says: {}", line.trim()), "")));
    Ok(rows)
}

/// The number that stands before these words.
fn number_before(text: &str, words: &str) -> Result<f64> {
    let before = text.split_once(words).with_context(|| format!("nothing{words} in:\n{text}"))?.0;
    let number = before.rsplit([' ', '\n']).next().unwrap_or_default();
    number.parse().with_context(|| format!("{number:?} is no number"))
}

fn wasmprof(arguments: &[&str]) -> Result<String> {
    let output = Command::new(product("wasmprof")?).args(arguments).output()?;
    ensure!(output.status.success(), "wasmprof: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_from_what_is_said() {
        let recorded =
            "143043 samples in 9 s\nin modules: 98 samples (68.7 %), 99.9 % of them with the whole stack\n";
        let drawn = "143043 samples, 28 s\ninnermost frame in a module: 100.00 % with a function, 99.45 % with a line (8.60 % approximate)\n";
        let rows = coverage(recorded, drawn).unwrap();
        assert_eq!((rows[0].result.as_str(), rows[1].result.as_str()), ("100.00 / 99.45 %", "99.9 %"));
        assert!(rows.iter().all(|row| !row.is_missed()) && rows.len() == 4);
        assert!(coverage("nothing", drawn).is_err());
    }
}
