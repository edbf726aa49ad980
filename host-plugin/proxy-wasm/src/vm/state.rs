//! The data of one virtual machine's store, the same in both lanes. Holds what host functions work on;
//! never enters the guest.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use wasmdbg_control::{ContextId, TransactionId};
use wasmtime::{Memory, TypedFunc};

use crate::embedder::{Level, Status};
use crate::filter::core::FilterCore;
use crate::filter::engine::LongEntry;
use crate::outcome::{Action, Outcome};
use crate::shared::metrics::Metric;
use crate::shared::postbox::{Postbox, Wake};
use crate::vm::contexts::{Contexts, Overdue};
use crate::vm::entry::Entry;
use crate::vm::limits::{CpuBudget, MemoryLimit};
use crate::vm::mailbox::{Letter, Mailbox};
use crate::vm::output::{GuestOutput, LogAllowance};
use crate::vm::trap::Death;

/// Local responses that one callback may leave: it can answer every parked transaction.
const RESPONSE_BYTES: usize = 16 << 20;

/// Gets each line that the guest logs.
pub(crate) type LogListener = Box<dyn Fn(Level, Option<TransactionId>, &str) + Send>;

/// See the module.
pub(crate) struct VmState {
    pub(crate) core: Arc<FilterCore>,
    pub(crate) contexts: Contexts,
    /// The guest's memory, once the module is instantiated.
    pub(crate) memory: Option<Memory>,
    /// `proxy_on_memory_allocate`, else `malloc`.
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    /// Bytes that a host function leaves for the guest.
    pub(crate) scratch: Vec<u8>,
    /// Lengths while pairs are serialized.
    pub(crate) lengths: Vec<(u32, u32)>,
    /// What waits for the root context.
    pub(crate) mailbox: Mailbox,
    /// Where other threads put what is for the mailbox.
    pub(crate) postbox: Arc<Postbox>,
    /// The filter's metrics, as far as this virtual machine has looked.
    pub(crate) metrics: Vec<Arc<Metric>>,
    /// It has registered a queue.
    pub(crate) listens: bool,
    pub(crate) budget: CpuBudget,
    /// Of an entry on the fast lane that takes longer than an epoch.
    pub(crate) long: Option<LongEntry>,
    /// Bytes of local responses of the callback that runs.
    answered: usize,
    pub(crate) limit: MemoryLimit,
    pub(crate) output: GuestOutput,
    pub(crate) allowance: LogAllowance,
    /// Also gets what the guest logs: the clients of the debug lane.
    pub(crate) listener: Option<LogListener>,
    /// It is in `proxy_on_vm_start`, of what has started it.
    pub(crate) starts: bool,
    /// The guest trapped, or a fault of the host has ended it: its memory is undefined.
    pub(crate) dead: bool,
    /// What the filter's counters know of [`Contexts::paused`].
    paused_counted: u64,
}

impl VmState {
    pub(crate) fn new(core: Arc<FilterCore>) -> Self {
        Self {
            contexts: Contexts::new(&core.limits),
            memory: None,
            allocate: None,
            scratch: Vec::new(),
            lengths: Vec::new(),
            mailbox: Mailbox::default(),
            postbox: Arc::default(),
            metrics: Vec::new(),
            listens: false,
            budget: CpuBudget::new(),
            long: None,
            answered: 0,
            limit: MemoryLimit::new(core.limits.memory),
            output: GuestOutput::default(),
            allowance: LogAllowance::new(&core.limits),
            listener: None,
            starts: false,
            dead: false,
            paused_counted: 0,
            core,
        }
    }

    /// Before an entry into the guest.
    pub(crate) fn begin(&mut self, entry: Entry) {
        self.contexts.begin(entry);
        let limits = &self.core.limits;
        self.allowance = LogAllowance::new(limits);
        self.answered = 0;
        let starting = entry.is_start();
        if starting {
            self.starts = matches!(entry, Entry::VmStart { .. });
        }
        self.budget.start(if starting { self.core.start_timeout } else { limits.cpu_per_callback });
    }

    /// Before a local response of so many bytes is kept. BAD_ARGUMENT when the callback has left too many.
    pub(crate) fn answer(&mut self, bytes: usize) -> Result<(), Status> {
        self.answered = self.answered.saturating_add(bytes);
        if self.answered > RESPONSE_BYTES { Err(Status::BadArgument) } else { Ok(()) }
    }

    /// After an entry into the guest that returned.
    #[inline]
    pub(crate) fn finish(&mut self, entry: Entry, result: i32) -> Action {
        self.end_log();
        self.contexts.finish(entry, result)
    }

    /// After an entry into the guest that did not return: this virtual machine is gone, and so are all
    /// its contexts. `called` is the one whose callback's outcome says so.
    pub(crate) fn fail(&mut self, called: ContextId) -> Outcome {
        let lost = self.contexts.fail_all(called);
        self.core.counters.lost(lost);
        self.leave();
        Outcome { action: Action::Failed, effects: self.contexts.take_effects() }
    }

    /// A thread owns this virtual machine from now on, and looks at what waits when `wake` is called. `single`: it
    /// gets one letter of others after the other.
    pub(crate) fn owned(&mut self, wake: Wake, single: bool) {
        self.core.runtime.shared.queues.owned(&self.postbox, wake, single);
    }

    /// What others have put into the postbox goes to the mailbox.
    #[inline]
    pub(crate) fn collect(&mut self, now: Instant) {
        self.postbox.collect(|letter| self.mailbox.admit(letter, now));
    }

    /// The guest is about to have `letter`.
    pub(crate) fn begin_letter(&mut self, letter: Letter) {
        if let Letter::QueueReady { queue } = letter {
            self.core.runtime.shared.queues.begun(queue);
        }
        self.contexts.open(Some(letter));
    }

    /// The guest has had its letter, or has died of it.
    pub(crate) fn end_letter(&mut self) {
        if let Some(Letter::QueueReady { queue }) = self.contexts.open(None) {
            self.core.runtime.shared.queues.delivered(&self.postbox, queue);
        }
        self.mailbox.delivered(Instant::now());
    }

    /// No letter is delivered any more: others hear of the messages in queues that this guest has not heard of.
    fn leave(&mut self) {
        let waiting = self.mailbox.close();
        if std::mem::take(&mut self.listens) {
            self.core.runtime.shared.queues.gone(&self.postbox, waiting);
        }
    }

    /// Tells the filter's counters how many contexts are parked.
    pub(crate) fn count_paused(&mut self) {
        let now = self.contexts.paused();
        if now != self.paused_counted {
            self.core.counters.paused.fetch_add(now.wrapping_sub(self.paused_counted), Relaxed);
            self.paused_counted = now;
        }
    }

    /// When it has something to do of itself: a letter waits or a tick is due, or a context has waited for the filter
    /// as long as it may. `None`: never.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.mailbox.next_due().into_iter().chain(self.contexts.next_deadline()).min()
    }

    /// Whether [`VmState::next_due`] has something.
    #[inline]
    pub(crate) fn is_due_ever(&self) -> bool {
        self.mailbox.is_due_ever() || self.contexts.waits()
    }

    /// A context that has waited for the filter as long as it may: counted and said. It has to be ended.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<(ContextId, Overdue)> {
        let (context, overdue) = self.contexts.overdue(now)?;
        self.core.overdue(overdue);
        Some((context, overdue))
    }

    /// What an error of an entry means.
    pub(crate) fn death(&self, error: &wasmtime::Error) -> Death {
        Death::of_error(error, self.core.module, self.limit.refused())
    }

    /// The virtual machine is dead: the death of `entry` is counted and handed to the agent.
    pub(crate) fn died(&mut self, entry: Entry, death: &Death) {
        self.dead = true;
        self.end_log();
        let transaction = self.contexts.transaction_of(entry.context()).map(|transaction| transaction.id());
        self.core.report(entry, transaction, death);
    }
}

impl Drop for VmState {
    fn drop(&mut self) {
        self.leave();
    }
}
