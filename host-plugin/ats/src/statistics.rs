//! The metrics of filters as statistics of the server: `plugin.wasmdbg.FILTER.METRIC`. The agent's thread makes them
//! and sets those that have changed, once a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmdbg_proxy_wasm::{Filter, Level, Metric, MetricKind};

use crate::ts::Statistic;

/// How often values are set.
const PERIOD: Duration = Duration::from_secs(1);

/// What of a metric is shown.
type Number = fn(&Metric) -> u64;

/// See the module.
pub(crate) struct Statistics {
    filters: Vec<Exported>,
    /// None: no filter has a metric.
    due: Option<Instant>,
}

/// The metrics of one filter.
struct Exported {
    filter: Arc<Filter>,
    /// So many of its metrics have been seen.
    seen: usize,
    shown: Vec<Shown>,
}

/// One number.
struct Shown {
    metric: Arc<Metric>,
    read: Number,
    statistic: Statistic,
    /// The value that it has there.
    value: u64,
}

impl Statistics {
    pub(crate) fn new(filters: &[Arc<Filter>]) -> Self {
        let exported =
            |filter: &Arc<Filter>| Exported { filter: Arc::clone(filter), seen: 0, shown: Vec::new() };
        Self { filters: filters.iter().map(exported).collect(), due: None }
    }

    /// Makes those that are new and sets those that have changed, if it is time. A virtual machine that defines a new
    /// metric has the agent look, so there is nothing to do while no filter has any.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.due.is_some_and(|due| now < due) {
            return;
        }
        self.filters.iter_mut().for_each(Exported::update);
        let any = self.filters.iter().any(|filter| !filter.shown.is_empty());
        self.due = any.then(|| now + PERIOD);
    }

    /// When [`Statistics::tick`] has something to do; none: not before a filter defines a metric.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        self.due
    }
}

impl Exported {
    fn update(&mut self) {
        for metric in self.filter.metrics(self.seen) {
            self.seen += 1;
            self.show(&metric);
        }
        for shown in &mut self.shown {
            let value = (shown.read)(&shown.metric);
            if value != shown.value {
                shown.value = value;
                shown.statistic.set(value.cast_signed());
            }
        }
    }

    fn show(&mut self, metric: &Arc<Metric>) {
        let config = self.filter.config();
        let name = format!("plugin.wasmdbg.{}.{}", clean(&config.name), clean(metric.name()));
        let numbers: &[(&str, Number)] = match metric.kind() {
            MetricKind::Counter | MetricKind::Gauge => &[("", Metric::value)],
            MetricKind::Histogram => &[(".count", Metric::count), (".sum", Metric::value)],
        };
        let limit = self.filter.limits().metrics as usize;
        for (end, read) in numbers {
            let made = if self.shown.len() < limit {
                Statistic::new(&format!("{name}{end}"))
            } else {
                Err(format!("limits.metrics allows {limit}"))
            };
            match made {
                Ok(statistic) => {
                    let (metric, read) = (Arc::clone(metric), *read);
                    self.shown.push(Shown { metric, read, statistic, value: 0 });
                }
                // The filter itself counts on.
                Err(why) => self.filter.log_once(
                    Level::Warn,
                    &format!("not all of its metrics are statistics of the server: {why}"),
                ),
            }
        }
    }
}

/// A name without what readers of statistics trip over.
fn clean(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-:/=;,".contains(c);
    name.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}
