//! The facts of one filter that its virtual machines of both lanes share. Nothing here changes but
//! counters and what they have shown of themselves; no lock is held while anything else runs.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use wasmdbg_control::filters::FilterCounters;
use wasmdbg_control::{FilterId, ModuleHash};

use super::log_rate::{Kind, LeftOut, LogRate};
use super::role::{Refused, Role};
use super::runtime::Runtime;
use crate::abi::version::AbiVersion;
use crate::config::FilterConfig;
use crate::config::Limits;
use crate::embedder::{Level, Status};
use crate::shared::SharedData;
use crate::shared::metrics::{MetricKind, Metrics};
use crate::vm::contexts::Overdue;
use crate::vm::entry::Entry;
use crate::vm::trap::{Death, TrapKind, TrapReport};
use wasmdbg_control::TransactionId;

/// What a frame of a trap takes in the log: a function's name, a file, a line.
const FRAME: usize = 60;

/// See the module.
pub(crate) struct FilterCore {
    pub(crate) id: FilterId,
    pub(crate) config: FilterConfig,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) module: ModuleHash,
    pub(crate) limits: Limits,
    pub(crate) start_timeout: Duration,
    pub(crate) counters: Counters,
    pub(crate) shared_data: Arc<SharedData>,
    pub(crate) metrics: Metrics,
    /// A virtual machine wanted ticks, or messages of a queue, when it was configured.
    pub(crate) unprompted: AtomicBool,
    pub(crate) role: Role,
    /// Set once, when the module has been read.
    pub(crate) version: OnceLock<AbiVersion>,
    log_rate: LogRate,
    said: Mutex<BTreeSet<String>>,
}

impl FilterCore {
    pub(crate) fn new(runtime: Arc<Runtime>, id: FilterId, config: FilterConfig, module: ModuleHash) -> Self {
        let limits = config.limits.over(runtime.settings.limits);
        let start_timeout = runtime.settings.start_timeout;
        let counters = Counters::default();
        let log_rate = LogRate::new(limits.log_rate);
        let shared_data = runtime.shared.data(&config.vm_id);
        let (unprompted, role, said) = (AtomicBool::new(false), Role::new(config.http), Mutex::default());
        let version = OnceLock::new();
        Self {
            id,
            config,
            runtime,
            module,
            limits,
            start_timeout,
            counters,
            shared_data,
            metrics: Metrics::default(),
            unprompted,
            role,
            version,
            log_rate,
            said,
        }
    }

    /// Whether its module was built for 0.1.0 of the ABI.
    pub(crate) fn is_oldest(&self) -> bool {
        self.version.get() == Some(&AbiVersion::V0_1_0)
    }

    /// Writes to the host's log under the filter's name.
    pub(crate) fn log(&self, level: Level, transaction: Option<TransactionId>, message: &str) {
        self.runtime.log(level, &self.config.name, transaction, message);
    }

    /// As [`FilterCore::log`], for one line that the guest wrote: only as many as `limits.log_rate` allows.
    pub(crate) fn log_line(&self, level: Level, transaction: Option<TransactionId>, line: &str) {
        match self.log_rate.admit(Kind::Line, line.len()) {
            Ok(left_out) => {
                self.say_left_out(left_out);
                self.runtime.embedder.log(level, &self.config.name, transaction, line);
            }
            Err(()) => self.counters.not_logged(line.len() as u64),
        }
    }

    fn say_left_out(&self, left_out: Option<LeftOut>) {
        if let Some(left_out) = left_out {
            self.log(Level::Warn, None, &left_out.to_string());
        }
    }

    /// As [`FilterCore::log`], but the same `message` only once in the life of the process.
    pub(crate) fn log_once(&self, level: Level, message: &str) {
        let new = {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            !said.contains(message) && said.insert(message.to_owned())
        };
        if new {
            self.log(level, None, message);
        }
    }

    /// The place of a metric. A new one is shown by the host soon.
    ///
    /// # Errors
    /// BAD_ARGUMENT: see [`Metrics::define`]; said once.
    pub(crate) fn define_metric(&self, kind: MetricKind, name: &[u8]) -> Result<u32, Status> {
        let defined = self.metrics.define(kind, name).inspect_err(|_| {
            let text = "it defines more than 10,000 metrics, or one with a name of more than 1,024 bytes: it gets BAD_ARGUMENT";
            self.log_once(Level::Warn, text);
        });
        let (place, new) = defined?;
        if new {
            self.runtime.wake_agent();
        }
        Ok(place)
    }

    /// Something was not kept for all virtual machines, as `limits.NAME` does not allow more bytes: counted, and said
    /// once. What the filter gets.
    #[cold]
    pub(crate) fn shared_refused(&self, name: &str, limit: u64) -> Status {
        self.counters.shared_refused.fetch_add(1, Relaxed);
        self.log_once(
            Level::Warn,
            &format!(
                "limits.{name} allows {limit} bytes in all: a value is not kept, the filter gets BAD_ARGUMENT; further ones are counted as shared_refused"
            ),
        );
        Status::BadArgument
    }

    /// A property was not kept, as `limits.properties` does not allow more bytes: counted, and said once. What the filter
    /// gets.
    #[cold]
    pub(crate) fn property_refused(&self) -> Status {
        self.counters.properties_refused.fetch_add(1, Relaxed);
        let limit = self.limits.properties;
        let text = format!(
            "limits.properties allows {limit} bytes a transaction under names of filters' own: a property is not kept, the filter gets BAD_ARGUMENT; further ones are counted as properties_refused"
        );
        self.log_once(Level::Warn, &text);
        Status::BadArgument
    }

    /// Counts a transaction that the filter made wait too long; the first one of a kind is said.
    pub(crate) fn overdue(&self, overdue: Overdue) {
        let (counter, name, limit) = match overdue {
            Overdue::Pause => (&self.counters.pause_timeouts, "pause", self.limits.pause),
            Overdue::Done => (&self.counters.done_timeouts, "done", self.limits.done),
        };
        counter.fetch_add(1, Relaxed);
        let limit = limit.unwrap_or_default();
        let what = match overdue {
            Overdue::Done => "was not done with a transaction that had ended: its context was taken from it",
            Overdue::Pause if self.config.fail_open => {
                "did not continue a transaction that it had paused: the transaction goes on without it"
            }
            Overdue::Pause => "did not continue a transaction that it had paused: the client gets 503",
        };
        self.log_once(
            Level::Warn,
            &format!("within {limit:?} (limits.{name}) the filter {what}; further ones are counted as {name}_timeouts"),
        );
    }

    /// A virtual machine died when a stream was to get its context: says what follows from that for all streams.
    pub(crate) fn stream_refused(&self, kind: TrapKind) {
        let trapped = "proxy_on_context_create traps for the first requests";
        match self.role.stream_refused(kind, self.config.fail_open) {
            Refused::Nothing => {}
            Refused::Doubt => self.log_once(
                Level::Error,
                &format!(
                    "{trapped}, which are refused (fail_open: false): if the filter has no HTTP contexts, write http: false into its file"
                ),
            ),
            Refused::Service => self.log(
                Level::Warn,
                None,
                &format!(
                    "{trapped}: from now on they go on without the filter, as it seems to have no HTTP contexts; write http: false into its file if that is so, else http: true"
                ),
            ),
        }
    }

    /// Counts a death and hands it to the agent, unless the log is full of them.
    pub(crate) fn report(&self, entry: Entry, transaction: Option<TransactionId>, death: &Death) {
        self.counters.traps.fetch_add(1, Relaxed);
        match self.log_rate.admit(Kind::Trap, death.message.len() + FRAME * death.frames.len()) {
            Ok(left_out) => self.say_left_out(left_out),
            Err(()) => return,
        }
        self.runtime.report(TrapReport {
            filter: self.id,
            filter_name: self.config.name.clone(),
            callback: entry.export(),
            transaction,
            kind: death.kind,
            message: death.message.clone(),
            frames: death.frames.clone(),
        });
    }
}

/// What a filter has done; see [`FilterCounters`].
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the fields of FilterCounters")]
pub struct Counters {
    pub contexts: AtomicU64,
    pub traps: AtomicU64,
    pub contexts_lost: AtomicU64,
    pub pause_timeouts: AtomicU64,
    pub done_timeouts: AtomicU64,
    pub vms_started: AtomicU64,
    pub vms: AtomicU64,
    pub hops: AtomicU64,
    pub debug_contexts: AtomicU64,
    pub debug_missed: AtomicU64,
    pub paused: AtomicU64,
    pub log_left_out: AtomicU64,
    pub shared_refused: AtomicU64,
    pub properties_refused: AtomicU64,
}

impl Counters {
    pub(crate) fn lost(&self, contexts: u64) {
        self.contexts_lost.fetch_add(contexts, Relaxed);
    }

    pub(crate) fn not_logged(&self, bytes: u64) {
        self.log_left_out.fetch_add(bytes, Relaxed);
    }

    /// As the control protocol shows them.
    pub fn snapshot(&self) -> FilterCounters {
        FilterCounters {
            contexts: self.contexts.load(Relaxed),
            traps: self.traps.load(Relaxed),
            contexts_lost: self.contexts_lost.load(Relaxed),
            pause_timeouts: self.pause_timeouts.load(Relaxed),
            done_timeouts: self.done_timeouts.load(Relaxed),
            vms_started: self.vms_started.load(Relaxed),
            vms: self.vms.load(Relaxed),
            hops: self.hops.load(Relaxed),
            debug_contexts: self.debug_contexts.load(Relaxed),
            debug_missed: self.debug_missed.load(Relaxed),
            paused: self.paused.load(Relaxed),
            log_left_out: self.log_left_out.load(Relaxed),
            shared_refused: self.shared_refused.load(Relaxed),
            properties_refused: self.properties_refused.load(Relaxed),
        }
    }
}
