//! For how long samples were taken, how much CPU time the target had meanwhile, and how much a hypervisor took.

use std::fs;
use std::time::{Duration, Instant};

use crate::target::Target;

/// How often the target is asked: /proc takes longer for the answer than a sample does.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Spans of sampling, with pauses in between.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    target: &'a Target,
    /// Of the spans that are over.
    seconds: f64,
    used: (f64, f64),
    ticks: Ticks,
    span: Option<Span>,
    asked: Instant,
}

/// Of some processors, in 1/100 s.
#[derive(Debug, Clone, Copy, Default)]
struct Ticks {
    /// They ran.
    busy: u64,
    /// They would have run, and a hypervisor ran somebody else.
    stolen: u64,
}

#[derive(Debug)]
struct Span {
    start: Instant,
    /// CPU seconds, see [`Target::cpu_seconds`], at its start and when the target was asked last.
    first: (f64, f64),
    last: (f64, f64),
    /// The processors that were sampled at its start, and their ticks then.
    cpus: Vec<i32>,
    ticks: Ticks,
}

impl<'a> Meter<'a> {
    pub(super) fn new(target: &'a Target) -> Self {
        let (ticks, asked) = (Ticks::default(), Instant::now());
        Self { target, seconds: 0.0, used: (0.0, 0.0), ticks, span: None, asked }
    }

    /// Sampling begins now, on these processors.
    pub(super) fn start(&mut self, cpus: &[i32]) {
        let used = self.target.cpu_seconds().unwrap_or_default();
        self.span = Some(Span {
            start: Instant::now(),
            first: used,
            last: used,
            cpus: cpus.to_vec(),
            ticks: ticks(cpus),
        });
    }

    /// Sampling has ended for now.
    pub(super) fn stop(&mut self) {
        self.ask();
        let Some(Span { start, first, last, cpus, ticks: before }) = self.span.take() else { return };
        let now = ticks(&cpus);
        self.ticks.busy += now.busy.saturating_sub(before.busy);
        self.ticks.stolen += now.stolen.saturating_sub(before.stolen);
        self.seconds += start.elapsed().as_secs_f64();
        self.used.0 += last.0 - first.0;
        self.used.1 += last.1 - first.1;
    }

    /// Whether the target lives, as far as was asked: now and then, or `now`.
    pub(super) fn is_alive(&mut self, now: bool) -> bool {
        if !now && self.asked.elapsed() < ASK_AGAIN {
            return true;
        }
        let alive = self.target.is_alive();
        // One that has ended says nothing of use: what it said last counts.
        if alive {
            self.ask();
        }
        alive
    }

    fn ask(&mut self) {
        self.asked = Instant::now();
        if let (Some(span), Some(used)) = (&mut self.span, self.target.cpu_seconds()) {
            span.last = used;
        }
    }

    /// Seconds of the spans that are over.
    pub(super) fn seconds(&self) -> f64 {
        self.seconds
    }

    /// The part of the time in which the processors would have run that a hypervisor took; none when there was too little of it.
    pub(super) fn stolen(&self) -> Option<f64> {
        let all = self.ticks.busy + self.ticks.stolen;
        (all >= 50).then(|| self.ticks.stolen as f64 / all as f64)
    }

    /// CPU seconds of the target in them; with what the kernel did for it or without.
    pub(super) fn used(&self, with_kernel: bool) -> f64 {
        self.used.0 + if with_kernel { self.used.1 } else { 0.0 }
    }
}

fn ticks(cpus: &[i32]) -> Ticks {
    sum(&fs::read_to_string("/proc/stat").unwrap_or_default(), cpus)
}

/// Reads `cpuN user nice system idle iowait irq softirq steal …`.
fn sum(stat: &str, cpus: &[i32]) -> Ticks {
    let mut all = Ticks::default();
    for line in stat.lines() {
        let mut fields = line.strip_prefix("cpu").unwrap_or_default().split(' ');
        let number = fields.next().and_then(|number| number.parse().ok());
        if number.is_none_or(|number| !cpus.contains(&number)) {
            continue;
        }
        let values: Vec<u64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
        if let [user, nice, system, _, _, irq, softirq, steal, ..] = values[..] {
            all.busy += user + nice + system + irq + softirq;
            all.stolen += steal;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn stolen_time_is_that_of_the_processors() {
        let stat =
            "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 100 100 4 5 6 1 0\ncpu1 10 0 0 0 0 0 0 20 0 0\nctxt 5\n";
        let of = |cpus: &[i32]| {
            let ticks = sum(stat, cpus);
            (ticks.busy, ticks.stolen)
        };
        assert_eq!((of(&[0]), of(&[1]), of(&[0, 1])), ((15, 6), (10, 20), (25, 26)));
        assert_eq!(of(&[7]), (0, 0));
    }
}
