//! What others take from a proxy under full load, by short slices of time with them and without.
//!
//! A shared machine is faster or slower for seconds at a time, by more than what is measured: so what is
//! compared lies some hundredths of a second apart, and of many such ratios the median counts.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::ats::Ats;
use crate::bench::rounds::estimate;
use crate::process::{pin, processors, signal};
use crate::recorder::Recorder;

/// A prime that takes some thousand divisions: the proxy, not its client, has the most to do.
const TOKEN: u64 = 99_999_989;
const CONNECTIONS: u32 = 32;
const ROUNDS: usize = 500;
const SLICE: Duration = Duration::from_millis(20);
/// After a recorder was told to begin or to end.
const SETTLE: Duration = Duration::from_millis(1);

/// A server on a processor of its own, under load from the others.
#[derive(Debug)]
pub struct Loaded<'a> {
    server: &'a Ats,
    client: Child,
    /// The server's.
    processor: usize,
    /// Where the caller was before.
    before: CpuSet,
}

/// The median, and the limits between which it lies with a probability of 95 %.
#[derive(Debug, Clone, Copy)]
pub struct Share(pub f64, f64, f64);

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(median, low, high) = self;
        write!(f, "{:.2} % ({:.2} to {:.2})", median * 100.0, low * 100.0, high * 100.0)
    }
}

/// What one recorder takes.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Of the requests of a second.
    pub throughput: Share,
    /// CPU time of the server for a request, in addition.
    pub cpu: Share,
}

impl<'a> Loaded<'a> {
    /// Gives the server the first processor, and everything that the caller starts from now on the others.
    ///
    /// # Errors
    /// There is one processor only, or no wrk.
    pub fn start(server: &'a Ats) -> Result<Self> {
        let own = Pid::from_raw(0);
        let before = sched_getaffinity(own)?;
        let usable = processors()?;
        let (first, others) = usable.split_first().context("no processor")?;
        ensure!(!others.is_empty(), "this needs two processors: one for the server, one for its client");
        pin(server.pid(), *first)?;
        let mut set = CpuSet::new();
        others.iter().try_for_each(|cpu| set.set(*cpu))?;
        sched_setaffinity(own, &set)?;
        let client = Command::new("wrk")
            .args(["-t1", &format!("-c{CONNECTIONS}"), "-d24h", "-H", &format!("token: {TOKEN}")])
            .arg(format!("http://{}/cache/100/bench", server.address()))
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run wrk: `tests/setup/install.sh bench` installs it")?;
        Ok(Self { server, client, processor: *first, before })
    }

    /// The server's processor.
    #[must_use]
    pub fn processor(&self) -> usize {
        self.processor
    }

    /// What each recorder takes while it records and the others do not.
    ///
    /// # Errors
    /// When one does not obey.
    pub fn compare(&self, recorders: &mut [Recorder]) -> Result<Vec<Taken>> {
        let mut ratios = vec![(Vec::new(), Vec::new()); recorders.len()];
        for round in 0..ROUNDS {
            // The order changes, so that a machine that gets slower or faster favours none.
            let turns = recorders.len() + 1;
            let mut slices = vec![Slice::default(); turns];
            for turn in 0..turns {
                let who = (round + turn) % turns;
                slices[who] = self.slice(who.checked_sub(1).map(|index| &mut recorders[index]))?;
            }
            for (slice, ratios) in slices[1..].iter().zip(&mut ratios) {
                ratios.0.push(1.0 - slice.throughput / slices[0].throughput);
                ratios.1.push(slice.cpu / slices[0].cpu - 1.0);
            }
        }
        let share = |values: &[f64]| {
            let (median, low, high) = estimate(values);
            Share(median, low, high)
        };
        Ok(ratios.iter().map(|(rates, cpus)| Taken { throughput: share(rates), cpu: share(cpus) }).collect())
    }

    fn slice(&self, mut recorder: Option<&mut Recorder>) -> Result<Slice> {
        if let Some(recorder) = &mut recorder {
            recorder.tell("enable")?;
        }
        std::thread::sleep(SETTLE);
        let (segments, used, start) = (segments()?, self.used()?, Instant::now());
        std::thread::sleep(SLICE);
        let (time, used, segments) = (start.elapsed(), self.used()? - used, self::segments()? - segments);
        if let Some(recorder) = recorder {
            recorder.tell("disable")?;
        }
        Ok(Slice { throughput: segments / time.as_secs_f64(), cpu: used / segments })
    }

    /// CPU seconds of the server, without delay.
    fn used(&self) -> Result<f64> {
        let pid = i32::try_from(self.server.pid())?;
        Ok(Duration::from(clock_gettime(clock_getcpuclockid(Pid::from_raw(pid))?)?).as_secs_f64())
    }

    /// Ends the load.
    ///
    /// # Errors
    /// When a request was not answered with 200.
    pub fn stop(mut self) -> Result<()> {
        signal(self.client.id(), Signal::SIGINT)?;
        let mut said = String::new();
        if let Some(mut out) = self.client.stdout.take() {
            std::io::Read::read_to_string(&mut out, &mut said)?;
        }
        ensure!(said.contains("Requests/sec") && !said.contains("Non-2xx"), "wrk: {said}");
        Ok(())
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
        let _ = sched_setaffinity(Pid::from_raw(0), &self.before);
    }
}

#[derive(Clone, Default)]
struct Slice {
    /// Segments a second.
    throughput: f64,
    /// CPU seconds of the server for a segment.
    cpu: f64,
}

/// TCP segments sent so far. On loopback a request and its answer are one each.
fn segments() -> Result<f64> {
    sent(&fs::read_to_string("/proc/net/snmp")?).context("no OutSegs in /proc/net/snmp")
}

/// Reads `Tcp: NAME…`, `Tcp: VALUE…`.
fn sent(text: &str) -> Option<f64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let column = lines.next()?.split(' ').position(|name| name == "OutSegs")?;
    lines.next()?.split(' ').nth(column)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Share, sent};

    #[test]
    fn segments_are_read_by_their_name() {
        let text = "Ip: A B\nIp: 1 2\nTcp: InSegs OutSegs RetransSegs\nTcp: 5 6 7\n";
        assert_eq!(sent(text), Some(6.0));
        assert_eq!(sent("Tcp: InSegs\nTcp: 5\n"), None);
    }

    #[test]
    fn a_share_has_its_limits() {
        assert_eq!(Share(0.0211, 0.018, 0.0234).to_string(), "2.11 % (1.80 to 2.34)");
    }
}
