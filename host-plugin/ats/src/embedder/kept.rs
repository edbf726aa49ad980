//! Threads of the server that are kept: each does one job after the other, for the life of the process.
//!
//! The server's object of a thread opens a descriptor that nothing closes, `TSThreadDestroy` neither, and
//! without a free one its constructor ends the process. So a job gets a thread that waits for one, and a new
//! thread is made only while enough descriptors are free. There are never more of them than there were jobs at
//! once.
//!
//! A thread is the same for its next job as for its first: what a job leaves behind is in its own captures,
//! which are dropped with it, panic or not. Of this crate's thread-locals `transaction::InHook` puts itself
//! back, and the others are of event threads.

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::resource::{Resource, getrlimit};
use wasmdbg_proxy_wasm::ThreadHandle;

use crate::ts;

/// Descriptors that must be free before a thread takes one more. The server sheds connections when it has
/// fewer than some 200 left, so they are there unless the limit is very low or something else leaks.
const RESERVE: u64 = 64;

/// The name of a thread that waits for a job.
const WAITING: &str = "[WASMDBG_IDLE]";

type Body = Box<dyn FnOnce() + Send>;

/// Makes a thread with this name; [`ts::spawn`] but for tests.
type Make = fn(&str, Body) -> Result<(), String>;

/// Threads of the server that wait for their next job; never more than ran at once.
#[derive(Debug)]
pub(crate) struct KeptThreads {
    make: Make,
    waiting: Waiting,
}

/// The threads without a job, by the way to each.
type Waiting = Arc<Mutex<Vec<Sender<Job>>>>;

struct Job {
    name: String,
    body: Body,
    /// Dropped at the job's end.
    running: Sender<()>,
}

/// A job under way.
pub(crate) struct Running(Receiver<()>);

impl ThreadHandle for Running {
    fn join(self: Box<Self>) {
        // Nothing is ever sent: this ends when the job does.
        let _ = self.0.recv();
    }
}

impl KeptThreads {
    /// None yet.
    pub(crate) fn new(make: Make) -> Self {
        Self { make, waiting: Waiting::default() }
    }

    /// Runs `body` on a thread that is called `name` meanwhile.
    ///
    /// # Errors
    /// All threads have a job, and there can be no further one; says what to do.
    pub(crate) fn run(&self, name: &str, body: Body) -> Result<Running, String> {
        let (running, ended) = mpsc::channel();
        let mut job = Job { name: name.to_owned(), body, running };
        // The lock is not held while the server makes a thread.
        while let Some(thread) = lock(&self.waiting).pop() {
            match thread.send(job) {
                Ok(()) => return Ok(Running(ended)),
                // Its thread is gone, which none ever is.
                Err(unsent) => job = unsent.0,
            }
        }
        room()?;
        let waiting = Arc::clone(&self.waiting);
        (self.make)(name, Box::new(move || serve(&waiting, job)))?;
        Ok(Running(ended))
    }
}

/// The life of a thread: its first job, and all that come later.
fn serve(waiting: &Waiting, mut job: Job) {
    let (own, jobs) = mpsc::channel();
    loop {
        let Job { name, body, running } = job;
        ts::name_thread(&name);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
            complain(&name, &panic);
        }
        ts::name_thread(WAITING);
        // Before its end is known: who waits for that finds this thread ready for another job.
        lock(waiting).push(own.clone());
        drop(running);
        match jobs.recv() {
            Ok(next) => job = next,
            // `own` is alive, so this cannot be.
            Err(mpsc::RecvError) => return,
        }
    }
}

#[cfg(not(test))]
fn complain(name: &str, panic: &Box<dyn Any + Send>) {
    ts::error(&format!("a job of thread {name} ended by a panic: {}", ts::reason(panic)));
}

/// There is no server whose log could be written to.
#[cfg(test)]
fn complain(_: &str, _: &Box<dyn Any + Send>) {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the process has descriptors enough for one more thread.
fn room() -> Result<(), String> {
    let unknown = |error: String| format!("the descriptors of this process cannot be counted: {error}");
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|error| unknown(error.to_string()))?;
    let open = match fs::read_dir("/proc/self/fd") {
        // One of them is this look's own.
        Ok(listed) => listed.count() as u64,
        Err(error) if error.raw_os_error() == Some(libc::EMFILE) => limit,
        Err(error) => return Err(unknown(error.to_string())),
    };
    enough(open, limit)
}

fn enough(open: u64, limit: u64) -> Result<(), String> {
    let free = limit.saturating_sub(open);
    if free > RESERVE {
        return Ok(());
    }
    Err(format!(
        "{open} of the {limit} file descriptors that this process may have are in use, and a debug virtual machine \
         is not worth the last {RESERVE}: raise the limit (LimitNOFILE of its systemd unit, or ulimit -n), or try \
         again when it has fewer connections"
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::{self, ThreadId};

    use super::*;

    /// Threads that the tests of this module have made; each test has its own counter.
    fn std_thread(_: &str, body: Body) -> Result<(), String> {
        thread::Builder::new().spawn(body).map(drop).map_err(|error| error.to_string())
    }

    /// Runs a job to its end and says on which thread, and what that was called meanwhile.
    fn seen(threads: &KeptThreads, name: &str) -> (ThreadId, String) {
        let (tell, told) = mpsc::channel();
        let body = move || {
            let name = fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
            let _ = tell.send((thread::current().id(), name.trim_end().to_owned()));
        };
        Box::new(threads.run(name, Box::new(body)).expect("a thread")).join();
        told.recv().expect("the job ran before its end was known")
    }

    #[test]
    fn one_job_after_the_other_needs_one_thread_with_the_name_of_its_job() {
        let threads = KeptThreads::new(std_thread);
        let (first, name) = seen(&threads, "[WASMDBG 0]");
        assert_eq!(name, "[WASMDBG 0]");
        for number in 1..100 {
            let name = format!("[WASMDBG {number}]");
            assert_eq!(seen(&threads, &name), (first, name));
        }
        assert_eq!(lock(&threads.waiting).len(), 1);
    }

    #[test]
    fn jobs_at_once_have_a_thread_each_and_leave_it_to_later_ones() {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let threads = KeptThreads::new(|name, body| {
            MADE.fetch_add(1, Ordering::Relaxed);
            std_thread(name, body)
        });
        for _ in 0..50 {
            let (end, ends): (Vec<_>, Vec<_>) = (0..4).map(|_| mpsc::channel::<()>()).unzip();
            let run = |end: Receiver<()>| threads.run("job", Box::new(move || _ = end.recv()));
            let running: Vec<_> = ends.into_iter().map(|end| run(end).expect("a thread")).collect();
            drop(end);
            running.into_iter().for_each(|job| Box::new(job).join());
        }
        assert_eq!(MADE.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_job_that_panics_leaves_its_thread_to_the_next_and_nothing_else() {
        let threads = KeptThreads::new(std_thread);
        let captured = Arc::new(());
        let kept = Arc::clone(&captured);
        let (tell, told) = mpsc::channel();
        let body = move || {
            let _kept = kept;
            let _ = tell.send(thread::current().id());
            // Quiet: no message of the panic hook.
            std::panic::resume_unwind(Box::new("a fault"));
        };
        Box::new(threads.run("faulty", Box::new(body)).expect("a thread")).join();
        assert_eq!(Arc::strong_count(&captured), 1);
        assert_eq!(seen(&threads, "next"), (told.recv().expect("it ran"), "next".to_owned()));
    }

    #[test]
    fn without_a_new_thread_the_reason_is_said_and_those_there_are_serve_on() {
        static FULL: AtomicUsize = AtomicUsize::new(0);
        let threads = KeptThreads::new(|name, body| match FULL.fetch_add(1, Ordering::Relaxed) {
            0 => std_thread(name, body),
            _ => Err("no more".to_owned()),
        });
        let (end, ended) = mpsc::channel::<()>();
        let first = threads.run("first", Box::new(move || _ = ended.recv())).expect("a thread");
        let refused = threads.run("second", Box::new(|| ())).err();
        assert_eq!(refused.as_deref(), Some("no more"));
        drop(end);
        Box::new(first).join();
        seen(&threads, "second");
    }

    #[test]
    fn the_last_descriptors_are_the_servers() {
        assert_eq!(enough(100, 1024), Ok(()));
        assert_eq!(enough(100, libc::RLIM_INFINITY), Ok(()));
        assert_eq!(enough(1024 - RESERVE - 1, 1024), Ok(()));
        let refused = enough(1024 - RESERVE, 1024).expect_err("a refusal");
        assert!(refused.starts_with("960 of the 1024 file descriptors"), "{refused}");
        assert!(refused.contains("LimitNOFILE"), "{refused}");
        assert!(enough(2000, 1024).is_err(), "a limit that was lowered");
        assert_eq!(room(), Ok(()));
    }
}
