//! How much of a filter goes to the host's log: bytes a second, over all its virtual machines and both
//! lanes. Called on event threads; no lock.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What a line takes in a log besides its text: time, thread, name.
const LINE: u64 = 80;

/// Bytes a second, with a few seconds' worth at once.
///
/// One number is the whole state: when everything that was logged so far will have been paid for. It runs
/// ahead of the clock by what has been logged above the rate.
#[derive(Debug)]
pub(crate) struct LogRate {
    /// Bytes a second.
    rate: u64,
    since: Instant,
    /// Nanoseconds after `since`.
    paid_at: AtomicU64,
    lines: Gate,
    traps: Gate,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The guest's own lines.
    Line,
    /// Its deaths: of these there is room when its own lines have used up theirs.
    Trap,
}

/// Closes when too much has been logged, and opens again some time later: what is left out is one piece.
#[derive(Debug)]
struct Gate {
    closes: Duration,
    opens: Duration,
    closed: AtomicBool,
    left_out: AtomicU64,
    bytes_left_out: AtomicU64,
}

/// What was left out before a line that may be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftOut {
    kind: Kind,
    count: u64,
    bytes: u64,
    rate: u64,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, bytes, rate, .. } = self;
        let what = match self.kind {
            Kind::Line => "lines",
            Kind::Trap => "traps",
        };
        write!(
            f,
            "{count} {what} of this filter are not in the log ({} KB): limits.log_rate allows {} KB a second",
            bytes.div_ceil(1 << 10),
            rate.div_ceil(1 << 10)
        )
    }
}

impl LogRate {
    pub(crate) fn new(rate: u64) -> Self {
        let gate = |closes, opens| Gate {
            closes: Duration::from_secs(closes),
            opens: Duration::from_secs(opens),
            closed: AtomicBool::new(false),
            left_out: AtomicU64::new(0),
            bytes_left_out: AtomicU64::new(0),
        };
        Self { rate, since: Instant::now(), paid_at: AtomicU64::new(0), lines: gate(4, 2), traps: gate(5, 4) }
    }

    /// Whether so many bytes may be logged; and what was left out before, to be said once.
    ///
    /// # Errors
    /// They may not, and are counted.
    pub(crate) fn admit(&self, kind: Kind, bytes: usize) -> Result<Option<LeftOut>, ()> {
        let now = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.admit_at(now, kind, bytes as u64)
    }

    fn admit_at(&self, now: u64, kind: Kind, bytes: u64) -> Result<Option<LeftOut>, ()> {
        let gate = match kind {
            Kind::Line => &self.lines,
            Kind::Trap => &self.traps,
        };
        let cost = match self.rate {
            0 => None,
            rate => Some(bytes.saturating_add(LINE).saturating_mul(1_000_000_000) / rate),
        };
        let most = if gate.closed.load(Relaxed) { gate.opens } else { gate.closes }.as_nanos();
        let pay = |paid_at: u64| {
            let ahead = paid_at.saturating_sub(now);
            if u128::from(ahead) > most { None } else { Some((now + ahead).saturating_add(cost?)) }
        };
        if self.paid_at.fetch_update(Relaxed, Relaxed, pay).is_err() {
            gate.closed.store(true, Relaxed);
            gate.left_out.fetch_add(1, Relaxed);
            gate.bytes_left_out.fetch_add(bytes, Relaxed);
            return Err(());
        }
        if !gate.closed.load(Relaxed) {
            return Ok(None);
        }
        gate.closed.store(false, Relaxed);
        let count = gate.left_out.swap(0, Relaxed);
        let bytes = gate.bytes_left_out.swap(0, Relaxed);
        Ok((count > 0).then_some(LeftOut { kind, count, bytes, rate: self.rate }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const RATE: u64 = 100_000;

    /// Logs lines of 920 bytes (1,000 with what a line takes) as fast as can be in `seconds`.
    fn flood(rate: &LogRate, from: u64, seconds: u64, kind: Kind) -> (u64, Vec<LeftOut>) {
        let (mut admitted, mut said) = (0, Vec::new());
        for now in (from * SECOND..(from + seconds) * SECOND).step_by(1_000_000) {
            if let Ok(left_out) = rate.admit_at(now, kind, 920) {
                admitted += 1;
                said.extend(left_out);
            }
        }
        (admitted, said)
    }

    #[test]
    fn a_flood_is_cut_to_the_rate_and_said_in_a_few_lines() {
        let rate = LogRate::new(RATE);
        let (admitted, said) = flood(&rate, 0, 100, Kind::Line);
        // A hundred lines a second, and four seconds' worth at first.
        assert!((9_800..=10_500).contains(&admitted), "{admitted} of 100,000");
        assert!((20..=60).contains(&said.len()), "{} lines about it", said.len());
        let told: u64 = said.iter().map(|left_out| left_out.count).sum();
        let still = rate.lines.left_out.load(Relaxed);
        assert_eq!(admitted + told + still, 100_000, "everything is logged or counted");
        assert_eq!(said[0].bytes, said[0].count * 920);
        assert!(said[0].to_string().contains("limits.log_rate allows 98 KB a second"), "{}", said[0]);
    }

    #[test]
    fn traps_have_room_after_a_flood_of_lines() {
        let rate = LogRate::new(RATE);
        flood(&rate, 0, 10, Kind::Line);
        assert!(rate.admit_at(10 * SECOND, Kind::Trap, 1_000).is_ok());
        let (admitted, said) = flood(&rate, 10, 100, Kind::Trap);
        assert!((9_800..=10_800).contains(&admitted), "{admitted}");
        assert!(said.len() <= 110 && said[0].to_string().contains("traps"), "{}", said.len());
    }

    #[test]
    fn a_quiet_filter_may_log_a_large_piece_and_a_rate_of_zero_logs_nothing() {
        let rate = LogRate::new(RATE);
        assert_eq!(rate.admit_at(0, Kind::Line, 20 * RATE), Ok(None), "a line that is larger than all");
        assert_eq!(rate.admit_at(SECOND, Kind::Line, 1), Err(()));
        assert!(rate.admit_at(30 * SECOND, Kind::Line, 1).is_ok_and(|left_out| left_out.is_some()));
        assert_eq!(LogRate::new(0).admit_at(0, Kind::Line, 1), Err(()));
    }
}
