//! When a recording samples, pauses and ends: by its own time and number of samples, by another program, or by
//! a signal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use wasmdbg_profiler::recorder::{Next, Progress};

use super::args::Arguments;
use super::words::print_progress;
use crate::command::control::Control;
use crate::command::interrupt::Interrupt;

/// How often progress is shown.
const SHOWN: Duration = Duration::from_millis(250);

/// Waits between looks at the samples, and says what comes next.
pub(super) struct Pace<'a> {
    interrupt: &'a Interrupt,
    control: Option<Control>,
    /// From the start until the first sample.
    delay: Duration,
    /// From the first sample to the last; zero: no end.
    duration: Duration,
    /// The recording ends with so many samples.
    samples: Option<u64>,
    started: Instant,
    /// When progress was shown last; none where nobody sees it.
    shown: Option<Instant>,
}

impl<'a> Pace<'a> {
    /// Begins now.
    pub(super) fn new(control: Option<Control>, arguments: &Arguments, interrupt: &'a Interrupt) -> Self {
        let started = Instant::now();
        let show = !arguments.quiet && std::io::stderr().is_terminal();
        Self {
            interrupt,
            control,
            delay: arguments.delay.unwrap_or_default(),
            duration: arguments.duration,
            samples: arguments.samples,
            started,
            shown: show.then_some(started),
        }
    }

    /// Waits for at most `interval`.
    pub(super) fn next(&mut self, interval: Duration, progress: &Progress) -> Next {
        if let Some(control) = &mut self.control {
            control.answer();
        }
        self.show(progress);
        let wait = self.wait(interval, progress);
        let signalled = self.interrupt.wait(wait, self.control.as_ref().map(Control::as_fd));
        if let Some(control) = &mut self.control {
            control.read();
        }
        let Self { delay, duration, started, .. } = *self;
        match &self.control {
            _ if signalled => Next::Interrupt,
            Some(control) if control.stopped => Next::Stop,
            _ if self.samples.is_some_and(|samples| progress.samples >= samples) => Next::Samples,
            _ if !duration.is_zero() && started.elapsed() >= delay + duration => Next::Time,
            Some(control) if !control.enabled => Next::Pause,
            _ if started.elapsed() < delay => Next::Pause,
            _ => Next::Go,
        }
    }

    fn show(&mut self, progress: &Progress) {
        if let Some(shown) = &mut self.shown
            && shown.elapsed() > SHOWN
        {
            *shown = Instant::now();
            let enabled = self.control.as_ref().is_none_or(|control| control.enabled);
            print_progress(progress, self.duration, enabled);
        }
    }

    /// As long as nothing of its own comes up.
    fn wait(&self, interval: Duration, progress: &Progress) -> Duration {
        let left = (self.delay + self.duration).checked_sub(progress.elapsed).unwrap_or_default();
        let wait = if self.duration.is_zero() { interval } else { interval.min(left) };
        match self.delay.checked_sub(progress.elapsed).filter(|delay| !delay.is_zero()) {
            Some(delay) => wait.min(delay),
            None => wait,
        }
    }

    /// All samples are written: answers what was asked last. How long it took.
    pub(super) fn end(mut self) -> Duration {
        if let Some(control) = &mut self.control {
            control.answer();
        }
        if self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
        self.started.elapsed()
    }
}
