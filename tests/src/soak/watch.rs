//! How large the process is, all the time.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process;

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// What a process has of what can leak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Resident memory in bytes.
    pub(super) resident: u64,
    pub(super) threads: usize,
    /// Threads of debug virtual machines that wait for the next one: the plugin keeps them.
    pub(super) kept: usize,
    pub(super) descriptors: usize,
}

impl Size {
    pub(super) fn of(pid: u32) -> Result<Self> {
        let names = process::thread_names(pid)?;
        let kept = names.iter().filter(|name| *name == "[WASMDBG_IDLE]").count();
        Ok(Self {
            resident: process::resident(pid)?,
            threads: names.len() - kept,
            kept,
            descriptors: process::descriptors(pid)?,
        })
    }

    fn raise_to(&mut self, other: Self) {
        self.resident = self.resident.max(other.resident);
        self.threads = self.threads.max(other.threads);
        self.kept = self.kept.max(other.kept);
        self.descriptors = self.descriptors.max(other.descriptors);
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resident, threads, kept, descriptors } = self;
        write!(f, "{} MB, {threads} threads and {kept} kept, {descriptors} descriptors", resident >> 20)
    }
}

/// The most of each in a minute, and how many requests had been served at its last round's end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Minute {
    pub(super) size: Size,
    pub(super) served: usize,
}

/// Looks at a process until it ends.
#[derive(Debug)]
pub(super) struct Watch {
    minutes: Arc<Mutex<Vec<Minute>>>,
    start: Instant,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(pid: u32) -> Self {
        let (minutes, over, start) = (Arc::default(), Arc::new(AtomicBool::new(false)), Instant::now());
        let (seen, ended) = (Arc::clone(&minutes), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed)
                && let Ok(size) = Size::of(pid)
            {
                with_minute(&seen, start, |minute| minute.size.raise_to(size));
                std::thread::sleep(INTERVAL);
            }
        });
        Self { minutes, start, over, thread: Some(thread) }
    }

    /// A round is over; so many requests have been served since the start.
    pub(super) fn settled(&self, served: usize) {
        with_minute(&self.minutes, self.start, |minute| minute.served = served);
    }

    /// All minutes.
    pub(super) fn end(mut self) -> Vec<Minute> {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        lock(&self.minutes).clone()
    }
}

fn with_minute(minutes: &Mutex<Vec<Minute>>, start: Instant, change: impl FnOnce(&mut Minute)) {
    let index = usize::try_from(start.elapsed().as_secs() / 60).unwrap_or(usize::MAX);
    let mut minutes = lock(minutes);
    while minutes.len() <= index {
        let served = minutes.last().map_or(0, |last| last.served);
        minutes.push(Minute { served, ..Minute::default() });
    }
    change(&mut minutes[index]);
}

fn lock(minutes: &Mutex<Vec<Minute>>) -> MutexGuard<'_, Vec<Minute>> {
    minutes.lock().unwrap_or_else(PoisonError::into_inner)
}
