//! For how long samples were taken, and how much CPU time the target had meanwhile.

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
    span: Option<Span>,
    asked: Instant,
}

#[derive(Debug)]
struct Span {
    start: Instant,
    /// CPU seconds, see [`Target::cpu_seconds`], at its start and when the target was asked last.
    first: (f64, f64),
    last: (f64, f64),
}

impl<'a> Meter<'a> {
    pub(super) fn new(target: &'a Target) -> Self {
        Self { target, seconds: 0.0, used: (0.0, 0.0), span: None, asked: Instant::now() }
    }

    /// Sampling begins now.
    pub(super) fn start(&mut self) {
        let used = self.target.cpu_seconds().unwrap_or_default();
        self.span = Some(Span { start: Instant::now(), first: used, last: used });
    }

    /// Sampling has ended for now.
    pub(super) fn stop(&mut self) {
        self.ask();
        let Some(Span { start, first, last }) = self.span.take() else { return };
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

    /// CPU seconds of the target in them; with what the kernel did for it or without.
    pub(super) fn used(&self, with_kernel: bool) -> f64 {
        self.used.0 + if with_kernel { self.used.1 } else { 0.0 }
    }
}
