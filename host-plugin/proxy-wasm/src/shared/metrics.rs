//! The metrics of one filter: numbers with names that all its virtual machines count in, in both lanes and on all
//! threads. They live here, and are exact; a host shows them elsewhere (see [`crate::Filter::metrics`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::embedder::Status;

/// So many metrics a filter has at most: each is kept as long as the process.
const MOST: usize = 10_000;
/// Bytes of a name.
const LONGEST_NAME: usize = 1 << 10;

/// `proxy_metric_type_t`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// 0: only grows.
    Counter,
    /// 1: a number that is set, or grows and shrinks.
    Gauge,
    /// 2: values that are recorded; their count and their sum are kept.
    Histogram,
}

impl MetricKind {
    pub(crate) fn of_number(number: u32) -> Option<Self> {
        [Self::Counter, Self::Gauge, Self::Histogram].get(number as usize).copied()
    }
}

/// One metric of a filter.
#[derive(Debug)]
pub struct Metric {
    kind: MetricKind,
    name: String,
    /// Of a histogram: the sum.
    value: AtomicU64,
    /// Of a histogram: how many values were recorded.
    count: AtomicU64,
}

impl Metric {
    /// What it counts.
    pub fn kind(&self) -> MetricKind {
        self.kind
    }

    /// Its name, as the filter chose it: any text.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value now; the sum of a histogram's.
    pub fn value(&self) -> u64 {
        self.value.load(Relaxed)
    }

    /// How many values a histogram has.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// `proxy_record_metric`. Adds to a counter, as in the host that SDKs were written against.
    pub(crate) fn record(&self, value: u64) {
        match self.kind {
            MetricKind::Gauge => self.value.store(value, Relaxed),
            MetricKind::Counter => _ = self.value.fetch_add(value, Relaxed),
            MetricKind::Histogram => {
                self.value.fetch_add(value, Relaxed);
                self.count.fetch_add(1, Relaxed);
            }
        }
    }

    /// `proxy_increment_metric`. BAD_ARGUMENT: a counter does not shrink, a histogram is recorded.
    pub(crate) fn increment(&self, delta: i64) -> Result<(), Status> {
        match (self.kind, delta) {
            (MetricKind::Histogram, _) | (MetricKind::Counter, ..0) => return Err(Status::BadArgument),
            // Two's complement: a negative one subtracts.
            _ => _ = self.value.fetch_add(delta.cast_unsigned(), Relaxed),
        }
        Ok(())
    }

    /// `proxy_get_metric`. BAD_ARGUMENT: a histogram is no number.
    pub(crate) fn get(&self) -> Result<u64, Status> {
        if self.kind == MetricKind::Histogram { Err(Status::BadArgument) } else { Ok(self.value()) }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    metrics: Vec<Arc<Metric>>,
    places: HashMap<(MetricKind, String), u32>,
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of a metric, which is made if there is none, and whether it was. The same name with another kind is
    /// another metric.
    ///
    /// # Errors
    /// BAD_ARGUMENT when there are too many, or its name is too long.
    pub(crate) fn define(&self, kind: MetricKind, name: &[u8]) -> Result<(u32, bool), Status> {
        if name.len() > LONGEST_NAME {
            return Err(Status::BadArgument);
        }
        let name = String::from_utf8_lossy(name).into_owned();
        let mut table = self.lock();
        let next = table.metrics.len();
        if let Some(place) = table.places.get(&(kind, name.clone())) {
            return Ok((*place, false));
        }
        if next >= MOST {
            return Err(Status::BadArgument);
        }
        let metric = Metric { kind, name: name.clone(), value: AtomicU64::new(0), count: AtomicU64::new(0) };
        table.metrics.push(Arc::new(metric));
        table.places.insert((kind, name), next as u32);
        Ok((next as u32, true))
    }

    /// Those from `place` on, in the order in which they were defined.
    pub(crate) fn from(&self, place: usize) -> Vec<Arc<Metric>> {
        self.lock().metrics.get(place..).unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(kind: MetricKind) -> Arc<Metric> {
        let metrics = Metrics::default();
        metrics.define(kind, b"name").unwrap();
        metrics.from(0).remove(0)
    }

    #[test]
    fn each_kind_counts_in_its_own_way() {
        let counter = metric(MetricKind::Counter);
        counter.increment(3).unwrap();
        counter.record(4);
        assert_eq!(
            (counter.increment(-1), counter.increment(0), counter.get()),
            (Err(Status::BadArgument), Ok(()), Ok(7))
        );
        let gauge = metric(MetricKind::Gauge);
        gauge.record(10);
        gauge.increment(-3).unwrap();
        gauge.increment(1).unwrap();
        assert_eq!(gauge.get(), Ok(8));
        gauge.record(2);
        assert_eq!(gauge.get(), Ok(2));
        let histogram = metric(MetricKind::Histogram);
        [5, 7].into_iter().for_each(|value| histogram.record(value));
        assert_eq!(
            (histogram.increment(1), histogram.get()),
            (Err(Status::BadArgument), Err(Status::BadArgument))
        );
        assert_eq!((histogram.value(), histogram.count()), (12, 2));
    }

    #[test]
    fn a_name_is_one_metric_of_each_kind_and_there_is_a_limit() {
        let metrics = Metrics::default();
        let one = metrics.define(MetricKind::Counter, b"name").unwrap();
        assert_eq!((one, metrics.define(MetricKind::Counter, b"name")), ((0, true), Ok((0, false))));
        assert_eq!(metrics.define(MetricKind::Gauge, b"name"), Ok((1, true)));
        assert_eq!(metrics.define(MetricKind::Gauge, &[b'x'; LONGEST_NAME + 1]), Err(Status::BadArgument));
        let made = (2..2 * MOST)
            .take_while(|name| metrics.define(MetricKind::Gauge, name.to_string().as_bytes()).is_ok())
            .count();
        assert_eq!((2 + made, metrics.from(MOST - 1).len(), metrics.from(MOST + 1).len()), (MOST, 1, 0));
        assert_eq!(metrics.define(MetricKind::Counter, b"name"), Ok((0, false)), "what there is is found");
    }
}
