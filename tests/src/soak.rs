//! Everything at once, for long: what `make soak` runs.
//!
//! A Traffic Server with several filters on two event threads serves a load that is never interrupted. Beside
//! it, in rounds, requests are gathered and let go in one callback, clients leave, debuggers attach and
//! detach, are killed while requests are stopped, and the profiler records. No request may be lost; and after
//! each round the process has the threads and the descriptors that it had after the first one.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::ats::{Ats, Filter};
use crate::http::Request;
use crate::load::{Load, Plan};
use crate::process;
use crate::scratch::{PATIENCE, Scratch, wait_for};

mod control;
mod parts;
mod watch;

use control::Control;
pub use parts::Part;
use watch::{Size, Watch};

/// Descriptors more than after the first round that are not a leak: connections that are just being closed.
const SPARE_DESCRIPTORS: usize = 8;
/// `debug.max_vms`: the killed debugger finds its three slots whatever the attaches beside it have. The plugin
/// keeps so many threads at most, each with a descriptor.
const MAX_VMS: usize = 12;

/// How long, how much and what.
#[derive(Debug, Clone)]
pub struct Options {
    /// Rounds begin until it is over; there are three at least.
    pub time: Duration,
    /// Requests that are gathered and let go at once, in each of the ways.
    pub parked: usize,
    /// Attaches in each round.
    pub attaches: usize,
    /// Clients that leave in each round.
    pub leaving: usize,
    /// What happens beside the load.
    pub parts: Vec<Part>,
}

impl Default for Options {
    fn default() -> Self {
        let time = Duration::from_secs(600);
        Self { time, parked: 2000, attaches: 100, leaving: 200, parts: Part::ALL.to_vec() }
    }
}

/// Runs it and prints what it sees.
///
/// # Errors
/// A request was lost, the server crashed, or it holds more after the rounds than after the first one.
pub fn run(options: &Options) -> Result<()> {
    raise_descriptors()?;
    let scratch = Scratch::new("soak")?;
    let ats = start(&scratch)?;
    let control = Control::new(&ats)?;
    let mut parts = options.parts.clone();
    if parts.contains(&Part::Record) && !can_record(ats.pid())? {
        parts.retain(|part| *part != Part::Record);
    }
    println!("process {}, two event threads; beside the load: {parts:?}", ats.pid());
    println!("at the start: {}", Size::of(ats.pid())?);
    let watch = Watch::start(ats.pid());
    let mut soak = Soak { ats: &ats, control, scratch: &scratch, loads: loads(&ats), options, served: 0 };
    let sizes = soak.rounds(&parts, &watch)?;
    let served = soak.end()?;
    let peaks = watch.end();
    report(&sizes, &peaks, served);
    judge(&sizes)?;
    let status = ats.stop()?;
    ensure!(status.success(), "traffic_server ended with {status}");
    println!("{served} requests, 0 lost; traffic_server ended in order");
    Ok(())
}

fn start(scratch: &Scratch) -> Result<Ats> {
    let fixtures = process::repository().join("tests/fixtures");
    let gate = wat::parse_bytes(&std::fs::read(fixtures.join("gate/gate.wat"))?)?.into_owned();
    let gate = scratch.write("gate.wasm", gate)?;
    let misbehave = fixtures.join("misbehave/misbehave.release.wasm");
    Ats::options()
        .event_threads(2)
        .settings(&format!("debug:\n  max_vms: {MAX_VMS}\n"))
        .filter(Filter::new("misbehave", &misbehave).configuration("tick=20"))
        .filter(Filter::new("gate", &gate))
        .filter(Filter::example("rust-token", "release").configuration("token quiet"))
        .filter(Filter::example("cpp-headers", "release").configuration("100000"))
        // As long as a busy machine may take to gather all requests.
        .record("proxy.config.http.transaction_no_activity_timeout_in INT 600")
        .start()
}

/// What is never interrupted: requests that pass, and that fail in every way that a filter can.
fn loads(ats: &Ats) -> Vec<Load> {
    let request = |orders: &str| Request::get("/cache/1000/x").header("token", "7").header("do", orders);
    let plans = [
        (Plan::new(4, Request::get("/cache/1000/x").header("token", "7")), 2),
        (Plan::new(1, Request::get("/cache/1000/x").header("token", "8")).answered(403), 10),
        (Plan::new(1, request("request=reply:418")).answered(418), 10),
        (Plan::new(2, request("request=pause")), 10),
        (Plan::new(1, request("response=pause")), 10),
        (Plan::new(1, request("request=panic")), 50),
        (Plan::new(1, request("response=unreachable, done=bounds")), 50),
    ];
    let start = |(plan, interval): (Plan, u64)| {
        Load::start(ats.address(), &plan.within(PATIENCE).every(Duration::from_millis(interval)))
    };
    plans.map(start).into()
}

struct Soak<'a> {
    ats: &'a Ats,
    control: Control,
    scratch: &'a Scratch,
    loads: Vec<Load>,
    options: &'a Options,
    /// Answered as they must be, by the loads of the rounds before and by all parts.
    served: usize,
}

impl Soak<'_> {
    /// The size of the process after each round.
    fn rounds(&mut self, parts: &[Part], watch: &Watch) -> Result<Vec<Size>> {
        let start = Instant::now();
        let mut sizes: Vec<Size> = Vec::new();
        while sizes.len() < 3 || start.elapsed() < self.options.time {
            let round = sizes.len() + 1;
            self.round(parts).with_context(|| format!("round {round}: {}", self.ats.output()))?;
            sizes.push(self.settle(sizes.first(), watch).with_context(|| format!("after round {round}"))?);
        }
        Ok(sizes)
    }

    /// All parts once, at the same time.
    fn round(&mut self, parts: &[Part]) -> Result<()> {
        let scene = parts::Scene {
            ats: self.ats,
            control: &self.control,
            folder: self.scratch.path(),
            options: self.options,
        };
        let served = std::thread::scope(|scope| -> Result<usize> {
            let running: Vec<_> = parts.iter().map(|part| (part, scope.spawn(|| part.run(&scene)))).collect();
            let mut served = 0;
            for (part, running) in running {
                let result = running.join().unwrap_or_else(|_| bail!("it panicked"));
                served += result.with_context(|| format!("{part:?}"))?;
            }
            Ok(served)
        })?;
        self.served += served;
        for load in &mut self.loads {
            let lap = load.lap();
            ensure!(lap.errors == 0, "{} requests were lost: {:?}", lap.errors, lap.first_error);
            self.served += lap.requests;
        }
        ensure!(self.ats.is_running(), "traffic_server is gone");
        Ok(())
    }

    /// The size when what a round did is over: at most that of `first`, which is waited for.
    fn settle(&self, first: Option<&Size>, watch: &Watch) -> Result<Size> {
        let pid = self.ats.pid();
        let mut last = Size::of(pid)?;
        let mut equal = 0;
        wait_for("the end of all sessions and their connections", PATIENCE, || {
            let (status, size) = match self.control.status().and_then(|status| Ok((status, Size::of(pid)?))) {
                Ok(seen) => seen,
                Err(error) => return Some(Err(error)),
            };
            let settled = match first {
                Some(first) => {
                    size.threads <= first.threads
                        && size.kept <= MAX_VMS
                        && size.descriptors - size.kept <= first.descriptors - first.kept + SPARE_DESCRIPTORS
                }
                None => {
                    let same = (size.threads, size.descriptors) == (last.threads, last.descriptors);
                    equal = if same { equal + 1 } else { 0 };
                    equal > 100
                }
            };
            last = size;
            (status.sessions.is_empty() && settled).then_some(Ok(()))
        })
        .flatten()
        .with_context(|| format!("{last} at the end, {first:?} after the first round"))?;
        watch.settled(self.served);
        Ok(last)
    }

    /// Ends the loads; how many requests were served in all. Nothing may be left of any.
    fn end(mut self) -> Result<usize> {
        for load in self.loads.drain(..) {
            let lap = load.stop();
            ensure!(lap.errors == 0, "{} requests were lost: {:?}", lap.errors, lap.first_error);
            self.served += lap.requests;
        }
        wait_for("the end of all transactions", PATIENCE, || {
            (self.control.status().ok()?.transactions == 0).then_some(())
        })?;
        Ok(self.served)
    }
}

/// Whether this machine lets the profiler record the process. With `CI=true` it must.
fn can_record(pid: u32) -> Result<bool> {
    let output = std::process::Command::new(process::product("wasmprof")?)
        .args(["doctor", &pid.to_string()])
        .output()
        .context("cannot run wasmprof")?;
    if output.status.success() {
        return Ok(true);
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(std::env::var("CI").is_err(), "wasmprof cannot record here:\n{said}");
    println!("no recording: `wasmprof doctor` says what is missing");
    Ok(false)
}

/// The server and its clients have thousands of connections.
fn raise_descriptors() -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(20_000);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).context("cannot raise the limit of open files")?;
    }
    Ok(())
}

fn report(sizes: &[Size], peaks: &[watch::Minute], served: usize) {
    println!(
        "{:<24}{:>10}{:>12}{:>10}{:>8}{:>14}",
        "", "requests", "RSS (MB)", "threads", "kept", "descriptors"
    );
    for (minute, peak) in peaks.iter().enumerate() {
        let Size { resident, threads, kept, descriptors } = peak.size;
        let name = format!("minute {}, at most", minute + 1);
        println!(
            "{name:<24}{:>10}{:>12}{threads:>10}{kept:>8}{descriptors:>14}",
            peak.served,
            resident >> 20
        );
    }
    let middle = sizes.len() / 2;
    for (name, size) in
        [("after round 1", sizes.first()), ("in the middle", sizes.get(middle)), ("at the end", sizes.last())]
    {
        let Some(Size { resident, threads, kept, descriptors }) = size else { continue };
        println!("{name:<24}{:>10}{:>12}{threads:>10}{kept:>8}{descriptors:>14}", "", resident >> 20);
    }
    println!("{} rounds, {served} requests", sizes.len());
}

/// Threads and descriptors were looked at after each round; memory may grow while caches and allocators fill,
/// and is then flat: the last round against the end of the first fifth.
fn judge(sizes: &[Size]) -> Result<()> {
    let warm = sizes.get(sizes.len() / 5).context("no round")?.resident;
    let last = sizes.last().context("no round")?.resident;
    let bound = warm + warm / 4 + (16 << 20);
    ensure!(last <= bound, "RSS grew from {} to {} MB", warm >> 20, last >> 20);
    Ok(())
}

/// Where a part may write a file.
fn file(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}
