//! Background load: clients on keep-alive connections that count what they get.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::http::{Connection, Request};

/// What the load is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Clients, each a thread with one connection.
    pub clients: usize,
    /// What they ask for.
    pub request: Request,
    /// The status that is no error.
    pub status: u16,
    /// Time from the start of one request of a client to the start of its next; zero for as fast
    /// as it can.
    pub interval: Duration,
    /// A response that takes longer is an error.
    pub limit: Duration,
}

impl Plan {
    /// GETs that expect 200, each within ten seconds.
    #[must_use]
    pub fn new(clients: usize, request: Request) -> Self {
        Self { clients, request, status: 200, interval: Duration::ZERO, limit: Duration::from_secs(10) }
    }

    /// The same with another limit for a response.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The same with another status that is no error.
    #[must_use]
    pub fn answered(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same with a pause between requests.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }
}

/// What came of the load in one stretch of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Lap {
    /// Answered as planned.
    pub requests: usize,
    /// Everything else.
    pub errors: usize,
    /// The first error, for the one who reads the failed test.
    pub first_error: Option<String>,
    /// Length of the stretch.
    pub time: Duration,
    /// Half of the requests took at most this.
    pub p50: Duration,
    /// 99 of 100 requests took at most this.
    pub p99: Duration,
    /// The slowest.
    pub max: Duration,
}

#[derive(Debug, Default)]
struct Counts {
    times: Vec<Duration>,
    errors: usize,
    first_error: Option<String>,
}

/// A running load; it ends when dropped.
#[derive(Debug)]
pub struct Load {
    counts: Arc<Mutex<Counts>>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    lap_start: Instant,
}

impl Load {
    /// Starts the clients.
    #[must_use]
    pub fn start(address: SocketAddr, plan: &Plan) -> Self {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let ended = Arc::new(AtomicBool::new(false));
        let threads = (0..plan.clients)
            .map(|_| {
                let (plan, counts, ended) = (plan.clone(), Arc::clone(&counts), Arc::clone(&ended));
                std::thread::spawn(move || run_client(address, &plan, &counts, &ended))
            })
            .collect();
        Self { counts, ended, threads, lap_start: Instant::now() }
    }

    /// Requests answered since the last lap.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).times.len()
    }

    /// Ends the stretch of time since the start or the last lap, and begins the next.
    pub fn lap(&mut self) -> Lap {
        let counts = std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        let start = std::mem::replace(&mut self.lap_start, Instant::now());
        summarize(counts, self.lap_start - start)
    }

    /// Ends the load and returns the last lap.
    #[must_use]
    pub fn stop(mut self) -> Lap {
        self.end();
        self.lap()
    }

    fn end(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

fn run_client(address: SocketAddr, plan: &Plan, counts: &Mutex<Counts>, ended: &AtomicBool) {
    let mut connection = None;
    while !ended.load(Ordering::SeqCst) {
        let start = Instant::now();
        let result = exchange(&mut connection, address, plan);
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => counts.times.push(start.elapsed()),
            Err(error) => {
                connection = None;
                counts.errors += 1;
                counts.first_error.get_or_insert(format!("{error:#}"));
            }
        }
        drop(counts);
        if let Some(rest) = plan.interval.checked_sub(start.elapsed()) {
            std::thread::sleep(rest);
        }
    }
}

fn exchange(connection: &mut Option<Connection>, address: SocketAddr, plan: &Plan) -> anyhow::Result<()> {
    let open = match connection.take() {
        Some(open) => open,
        None => Connection::open(address, plan.limit)?,
    };
    let open = connection.insert(open);
    let response = open.exchange(&plan.request)?;
    anyhow::ensure!(response.status == plan.status, "status {}: {}", response.status, response.text());
    if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
        *connection = None;
    }
    Ok(())
}

fn summarize(mut counts: Counts, time: Duration) -> Lap {
    counts.times.sort();
    // Nearest rank: the smallest time that at least `percent` of all do not exceed.
    let percentile = |percent: usize| {
        let rank = (counts.times.len() * percent).div_ceil(100).max(1);
        counts.times.get(rank - 1).copied().unwrap_or_default()
    };
    Lap {
        requests: counts.times.len(),
        errors: counts.errors,
        p50: percentile(50),
        p99: percentile(99),
        max: percentile(100),
        first_error: counts.first_error,
        time,
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, summarize};
    use std::time::Duration;

    #[test]
    fn percentiles_are_nearest_rank() {
        let times = (1..=200).map(Duration::from_millis).collect();
        let lap = summarize(Counts { times, errors: 1, first_error: None }, Duration::from_secs(1));
        assert_eq!((lap.p50, lap.p99, lap.max), (ms(100), ms(198), ms(200)));
        assert_eq!((lap.requests, lap.errors), (200, 1));
        let empty = summarize(Counts::default(), Duration::ZERO);
        assert_eq!((empty.p50, empty.max), (Duration::ZERO, Duration::ZERO));
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }
}
