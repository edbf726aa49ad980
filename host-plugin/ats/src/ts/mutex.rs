//! Locks of Traffic Server. They are recursive and belong to a thread that the server knows.

use std::marker::PhantomData;

use crate::sys::{TSMutex, api};

/// A lock held until the guard is dropped, on the same thread.
pub(crate) struct Guard {
    mutex: TSMutex,
    /// Not `Send`: the lock belongs to the thread.
    _thread: PhantomData<*const ()>,
}

impl Guard {
    /// Waits for the lock. None when there is none.
    ///
    /// The object that owns the mutex must outlive the guard.
    pub(super) fn lock(mutex: TSMutex) -> Option<Self> {
        if mutex.is_null() {
            return None;
        }
        // SAFETY: the mutex is one that the server returned for an object that is alive, and the thread
        // is an event thread or was made by TSThreadCreate.
        unsafe { (api().TSMutexLock)(mutex) };
        Some(Self { mutex, _thread: PhantomData })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // SAFETY: locked by this thread in `lock`.
        unsafe { (api().TSMutexUnlock)(self.mutex) };
    }
}
