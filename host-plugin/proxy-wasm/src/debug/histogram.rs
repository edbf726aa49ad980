//! How long event threads work for the debug lane, in CPU time of the thread. Lock-free: it is written
//! on event threads.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmdbg_control::status::Histogram;

use crate::vm::limits::thread_cpu;

/// Up to 2^19 µs, half a second; the last bucket takes the rest.
const BUCKETS: usize = 20;

/// See [`WorkHistogram::sample`].
const SAMPLED: u64 = 64;

/// Counts pieces of work.
#[derive(Debug, Default)]
pub struct WorkHistogram {
    turn: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
    max_ns: AtomicU64,
}

impl WorkHistogram {
    /// Measures from now until the guard is dropped, on this thread.
    pub fn measure(&self) -> Measuring<'_> {
        Measuring { histogram: self, started: thread_cpu() }
    }

    /// Measures one in 64 pieces of work: for what every transaction pays, because to read the
    /// thread's CPU clock is a system call.
    pub fn sample(&self) -> Option<Measuring<'_>> {
        self.turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLED).then(|| self.measure())
    }

    fn add(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let micros = nanos / 1000;
        // Bucket i holds what is below 2^i µs: the number of significant bits of the whole microseconds.
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.max_ns.fetch_max(nanos, Ordering::Relaxed);
    }

    /// As it is shown by `wasmdbg ps --json`.
    pub fn snapshot(&self) -> Histogram {
        let buckets: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let count = buckets.iter().sum();
        Histogram { buckets, max_ns: self.max_ns.load(Ordering::Relaxed), count }
    }
}

/// See [`WorkHistogram::measure`].
#[derive(Debug)]
pub struct Measuring<'a> {
    histogram: &'a WorkHistogram,
    started: Duration,
}

impl Drop for Measuring<'_> {
    fn drop(&mut self) {
        self.histogram.add(thread_cpu().saturating_sub(self.started));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_above_it() {
        let histogram = WorkHistogram::default();
        for nanos in [0, 999, 1_000, 1_999, 2_000, 3_000_000_000] {
            histogram.add(Duration::from_nanos(nanos));
        }
        let shown = histogram.snapshot();
        assert_eq!(shown.buckets[..3], [2, 2, 1]);
        assert_eq!(shown.buckets[BUCKETS - 1], 1);
        assert_eq!((shown.max_ns, shown.count), (3_000_000_000, 6));
    }
}
