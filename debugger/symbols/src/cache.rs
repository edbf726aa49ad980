//! Owns what is kept between questions: answers that cost something to find, by a number.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Answers found so far. The lock is never held while one is looked for.
#[derive(Debug)]
pub(crate) struct Cache<T>(Mutex<HashMap<u32, T>>);

impl<T: Clone> Cache<T> {
    pub(crate) fn get(&self, key: u32) -> Option<T> {
        lock(&self.0).get(&key).cloned()
    }

    /// Keeps an answer and gives it back.
    pub(crate) fn keep(&self, key: u32, answer: T) -> T {
        lock(&self.0).insert(key, answer.clone());
        answer
    }
}

impl<T> Default for Cache<T> {
    fn default() -> Cache<T> {
        Cache(Mutex::default())
    }
}

impl<T> From<HashMap<u32, T>> for Cache<T> {
    /// Answers that are known from the start.
    fn from(known: HashMap<u32, T>) -> Cache<T> {
        Cache(Mutex::new(known))
    }
}

/// Locks what is kept. A thread that panicked elsewhere cannot leave it half-written: each insert is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
