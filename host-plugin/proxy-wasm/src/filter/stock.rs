//! Virtual machines that are configured and wait for an event thread, and the transactions that wait
//! for one. Its lock is held for moves only, never while a guest runs.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::vm::fast::FastVm;
use crate::vm::start::StartError;

/// After a failed start the next one waits this long, and what takes the place of one that died without a request.
pub const RETRY: Duration = Duration::from_secs(1);

/// Why there is no virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The filter could not be loaded.
    #[error("the filter is inactive")]
    Inactive,
    /// A virtual machine did not start.
    #[error("no virtual machine could be started: {0}")]
    Start(String),
}

/// Called once, on the thread that built the virtual machine.
pub type Waiter = Box<dyn FnOnce(Result<FastVm, Unavailable>) + Send>;

/// See the module.
pub(crate) struct Stock {
    shelf: Mutex<Shelf>,
}

struct Shelf {
    ready: Vec<FastVm>,
    waiting: VecDeque<Waiter>,
    building: usize,
    /// What shall be ready beside those that are in use.
    spare: usize,
    /// What nobody waits for is put there.
    keeps: bool,
    failed: Option<(Instant, String)>,
}

impl Shelf {
    /// How many builds to start now.
    fn missing(&mut self) -> usize {
        if self.failed.as_ref().is_some_and(|(when, _)| when.elapsed() < RETRY) {
            return 0;
        }
        let wanted = self.spare + self.waiting.len();
        let missing = wanted.saturating_sub(self.ready.len() + self.building);
        self.building += missing;
        missing
    }
}

impl Stock {
    pub(crate) fn new(spare: usize) -> Self {
        let (ready, waiting) = (Vec::new(), VecDeque::new());
        let shelf = Shelf { ready, waiting, building: 0, spare, keeps: true, failed: None };
        Self { shelf: Mutex::new(shelf) }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one there, or hands it to who waits for it.
    pub(crate) fn add(&self, vm: FastVm) {
        let mut shelf = self.lock();
        match shelf.waiting.pop_front() {
            Some(waiter) => {
                drop(shelf);
                waiter(Ok(vm));
            }
            None if shelf.keeps => shelf.ready.push(vm),
            // It is dropped after the lock, which was taken later.
            None => {}
        }
    }

    /// Keeps none any more but for who waits, and returns those that are there.
    pub(crate) fn close(&self) -> Vec<FastVm> {
        let mut shelf = self.lock();
        (shelf.spare, shelf.keeps) = (0, false);
        std::mem::take(&mut shelf.ready)
    }

    /// One that is ready, and how many builds to start.
    pub(crate) fn take(&self) -> (Option<FastVm>, usize) {
        let mut shelf = self.lock();
        let vm = shelf.ready.pop();
        (vm, shelf.missing())
    }

    /// Calls `waiter` at once if one is ready or none can be made now, else when one is built. Returns
    /// how many builds to start.
    pub(crate) fn wait(&self, waiter: Waiter) -> usize {
        let mut shelf = self.lock();
        let answer = match shelf.ready.pop() {
            Some(vm) => Ok(vm),
            None => {
                shelf.waiting.push_back(waiter);
                let missing = shelf.missing();
                if shelf.building > 0 {
                    return missing;
                }
                // Nothing is being built: a start has just failed.
                let reason = shelf.failed.as_ref().map(|(_, reason)| reason.clone());
                let Some(waiter) = shelf.waiting.pop_back() else { return 0 };
                drop(shelf);
                waiter(Err(Unavailable::Start(reason.unwrap_or_default())));
                return missing;
            }
        };
        let missing = shelf.missing();
        drop(shelf);
        waiter(answer);
        missing
    }

    /// A build that was asked for has ended. Returns how many to start now: after a failed one nobody did.
    pub(crate) fn built(&self, result: Result<FastVm, StartError>) -> usize {
        let mut shelf = self.lock();
        shelf.building = shelf.building.saturating_sub(1);
        match result {
            Ok(vm) => {
                shelf.failed = None;
                drop(shelf);
                self.add(vm);
                self.lock().missing()
            }
            Err(error) => {
                let reason = error.to_string();
                shelf.failed = Some((Instant::now(), reason.clone()));
                let waiting = std::mem::take(&mut shelf.waiting);
                drop(shelf);
                for waiter in waiting {
                    waiter(Err(Unavailable::Start(reason.clone())));
                }
                0
            }
        }
    }
}
