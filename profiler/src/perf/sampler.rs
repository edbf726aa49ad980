//! Samples all threads of a process, with one ring per processor. The target is not stopped.
//!
//! Where the kernel allows it, the clocks of the processors on which the process may run make the samples, and
//! a filter in the kernel lets those of the process pass. Else there is an event for each thread on each
//! processor.
//!
//! New threads are then followed by the kernel's records and by looking at /proc. Inheritance would be
//! quicker, but a thread made while events are being opened could be counted twice.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use super::attributes::{Event, attributes, of_processor};
use super::filter;
use super::record::{Record, parse};
use super::ring::Ring;
use super::sys::{self, Attributes};
use crate::target::permission::Facts;

/// How to sample.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What makes a sample.
    pub event: Event,
    /// Samples a second.
    pub frequency: u64,
    /// Bytes of the stack that a sample holds; a multiple of 8, below 64 KiB.
    pub stack: u32,
    /// Whether to sample the kernel too, if allowed.
    pub kernel: bool,
    /// Whether to have events of the process's threads alone, although the clocks of the processors are
    /// allowed: each interrupts whatever runs there.
    pub by_thread: bool,
}

/// Why sampling is not possible.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel says no.
    #[error("{0}")]
    Denied(String),
    /// No such counter here.
    #[error("this machine has no counter for {0}: use --event cpu-clock")]
    NoCounter(Event),
    /// Out of descriptors.
    #[error(
        "too many open files: {needed} events are needed ({threads} threads on {cpus} processors) and the limit is {limit}: raise it (ulimit -n {needed})"
    )]
    Descriptors {
        /// Descriptors.
        needed: u64,
        /// Threads of the target.
        threads: usize,
        /// Processors.
        cpus: usize,
        /// RLIMIT_NOFILE.
        limit: u64,
    },
    /// There are none.
    #[error("process {0} has no threads: it has ended")]
    Gone(u32),
    /// The ring cannot be mapped.
    #[error("no memory for the ring buffers: raise kernel.perf_event_mlock_kb or ulimit -l: {0}")]
    Ring(io::Error),
    /// Something else.
    #[error("perf_event_open: {0}")]
    Other(io::Error),
}

/// What went by beside samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records that did not fit into a ring.
    pub lost: u64,
    /// Times that the kernel slowed sampling down.
    pub throttled: u64,
    /// Records that could not be read.
    pub broken: u64,
    /// New threads, or processors that a thread moved to, that could not be sampled: descriptors ran out.
    pub unfollowed: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Sampler {
    pid: u32,
    /// Those that have an event.
    cpus: Vec<i32>,
    attributes: Attributes,
    rings: Vec<Ring>,
    /// By processor: the event that owns its ring.
    owners: Vec<OwnedFd>,
    /// The thread of the owners, which is in no other list.
    first: i32,
    /// Of the processors' clocks. With it the owners are all events that there are: they count for all threads.
    filter: Option<OwnedFd>,
    events: HashMap<i32, Vec<OwnedFd>>,
    running: bool,
    interval: Duration,
    kernel: bool,
    tally: Tally,
}

/// Ring sizes to try. The smallest but one is what `perf_event_mlock_kb` leaves to any user.
const RINGS: [usize; 5] = [4 << 20, 2 << 20, 1 << 20, 512 << 10, 128 << 10];

impl Sampler {
    /// Opens the events of every thread of `pid`; [`Sampler::set_running`] starts them.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(pid: u32, options: &Options) -> Result<Self, OpenError> {
        let cpus = online_cpus();
        let threads = threads(pid);
        let Some(first) = threads.first().copied() else { return Err(OpenError::Gone(pid)) };
        raise_descriptor_limit();
        let frequency = options.frequency.min(max_rate());
        let mut kernel = options.kernel;
        let mut attributes_ = attributes(options.event, frequency, options.stack, kernel);
        // The kernel's own samples need a lower perf_event_paranoid than the program's.
        if let Err(error) = sys::open(&attributes_, first, -1)
            && is_denied(&error)
            && kernel
        {
            kernel = false;
            attributes_ = attributes(options.event, frequency, options.stack, false);
        }
        let mut sampler = Self {
            pid,
            attributes: attributes_,
            rings: Vec::new(),
            owners: Vec::new(),
            first,
            filter: None,
            events: HashMap::new(),
            running: false,
            cpus,
            interval: Duration::ZERO,
            kernel,
            tally: Tally::default(),
        };
        let clock = options.event == Event::CpuClock && !options.by_thread;
        let size = match clock.then(|| sampler.open_processors()) {
            Some(Ok(size)) => size,
            // More rights than it takes to sample a process: the other way is there for who lacks them.
            Some(Err(_)) | None => sampler.open_rings(&threads, options.event)?,
        };
        let bytes_a_second = frequency.max(1) * u64::from(options.stack + 512);
        let third = size as u64 * 300 / bytes_a_second.max(1);
        sampler.interval = Duration::from_millis(third.clamp(4, 100));
        sampler.look_again();
        Ok(sampler)
    }

    /// An event for the clock of each processor that the process may use, with the process's filter and a ring.
    fn open_processors(&mut self) -> io::Result<usize> {
        let filter = filter::of_process(self.pid)?;
        let attributes = of_processor(self.attributes);
        let cpus = usable_cpus(self.pid).unwrap_or_else(online_cpus);
        let open = |cpu: &i32| open_processor(&attributes, *cpu, &filter);
        let opened = cpus.iter().map(open).collect::<io::Result<Vec<_>>>()?;
        let (size, rings) = map_rings(&opened)?;
        (self.attributes, self.cpus, self.rings, self.owners) = (attributes, cpus, rings, opened);
        self.filter = Some(filter);
        Ok(size)
    }

    /// One event per processor, each with a ring, of the first thread that lives long enough.
    fn open_rings(&mut self, threads: &[i32], event: Event) -> Result<usize, OpenError> {
        for &tid in threads {
            let opened: Result<Vec<_>, _> =
                self.cpus.iter().map(|cpu| sys::open(&self.attributes, tid, *cpu)).collect();
            let opened = match opened {
                Ok(opened) => opened,
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => continue,
                Err(error) => return Err(self.explain(error, event, threads.len())),
            };
            let (size, rings) = map_rings(&opened).map_err(OpenError::Ring)?;
            (self.rings, self.owners, self.first) = (rings, opened, tid);
            return Ok(size);
        }
        Err(OpenError::Gone(self.pid))
    }

    fn explain(&self, error: io::Error, event: Event, threads: usize) -> OpenError {
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV) if event.is_hardware() => {
                OpenError::NoCounter(event)
            }
            Some(libc::EMFILE | libc::ENFILE) => OpenError::Descriptors {
                needed: (threads * self.cpus.len() + 64) as u64,
                threads,
                cpus: self.cpus.len(),
                limit: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |limit| limit.0),
            },
            Some(libc::ENOSYS) => OpenError::Denied(Facts::of(self.pid).sampling(&error)),
            _ if is_denied(&error) => OpenError::Denied(Facts::of(self.pid).sampling(&error)),
            _ => OpenError::Other(error),
        }
    }

    /// Opens events for threads that have come, and forgets those that are gone; or for processors that a thread
    /// may use now and none could before.
    pub fn look_again(&mut self) {
        if self.filter.is_some() {
            for cpu in usable_cpus(self.pid).unwrap_or_default() {
                if !self.cpus.contains(&cpu) {
                    self.follow_to(cpu);
                }
            }
            return;
        }
        let alive = threads(self.pid);
        self.events.retain(|tid, _| alive.contains(tid));
        for tid in alive {
            self.follow(tid);
        }
    }

    /// Opens an event for one more processor; one attempt each.
    fn follow_to(&mut self, cpu: i32) {
        let Some(filter) = &self.filter else { return };
        let opened = open_processor(&self.attributes, cpu, filter).and_then(|event| {
            let (_, mut rings) = map_rings(std::slice::from_ref(&event))?;
            if self.running {
                sys::enable(&event, true)?;
            }
            self.rings.append(&mut rings);
            Ok(event)
        });
        match opened {
            Ok(event) => {
                self.cpus.push(cpu);
                self.owners.push(event);
            }
            Err(_) => self.tally.unfollowed += 1,
        }
    }

    /// Opens events for one thread, unless it has some. One that has ended is no error.
    pub fn follow(&mut self, tid: i32) {
        if self.filter.is_some() || tid == self.first || self.events.contains_key(&tid) {
            return;
        }
        let open = |(owner, cpu): (&OwnedFd, &i32)| -> io::Result<OwnedFd> {
            let event = sys::open(&self.attributes, tid, *cpu)?;
            sys::set_output(&event, owner)?;
            if self.running {
                sys::enable(&event, true)?;
            }
            Ok(event)
        };
        let opened: io::Result<Vec<_>> = self.owners.iter().zip(&self.cpus).map(open).collect();
        match opened {
            Ok(events) => drop(self.events.insert(tid, events)),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(_) => self.tally.unfollowed += 1,
        }
    }

    /// Starts or ends sampling.
    ///
    /// # Errors
    /// When the kernel refuses, which it never does for an open event.
    pub fn set_running(&mut self, on: bool) -> io::Result<()> {
        self.running = on;
        self.owners.iter().chain(self.events.values().flatten()).try_for_each(|event| sys::enable(event, on))
    }

    /// Gives every record to `each`, in the order of time: a thread that moves between processors leaves its
    /// records in several rings, and code may have been replaced meanwhile.
    pub fn drain(&mut self, mut each: impl FnMut(Record<'_>)) {
        let Self { rings, attributes, tally, .. } = self;
        rings.iter_mut().for_each(Ring::begin);
        loop {
            let next = rings.iter_mut().filter_map(|ring| Some((ring.next_time()?, ring)));
            let Some((_, ring)) = next.min_by_key(|(time, _)| *time) else { break };
            ring.take(|bytes| match parse(bytes, attributes.sample_type) {
                Ok(Record::Lost(count)) => tally.lost += count,
                Ok(Record::Throttle) => tally.throttled += 1,
                Ok(record) => each(record),
                Err(_) => tally.broken += 1,
            });
        }
        rings.iter_mut().for_each(Ring::end);
    }

    /// How long to wait between two drains: the rings fill to a third at most.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The number of processors whose clocks make the samples; none when an event of each thread does.
    #[must_use]
    pub fn processors(&self) -> Option<usize> {
        self.filter.is_some().then_some(self.cpus.len())
    }

    /// The processors on which samples are taken.
    #[must_use]
    pub fn cpus(&self) -> &[i32] {
        &self.cpus
    }

    /// How long to wait between two calls of [`Sampler::look_again`]. New threads are known by the kernel's records
    /// sooner; that one may run elsewhere is not.
    #[must_use]
    pub fn look_after(&self) -> Duration {
        Duration::from_millis(if self.filter.is_some() { 200 } else { 1000 })
    }

    /// Whether it samples now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Whether the kernel's samples are there.
    #[must_use]
    pub fn samples_kernel(&self) -> bool {
        self.kernel
    }

    /// Samples a second that were asked of the kernel: its own maximum may be lower than what was wanted.
    #[must_use]
    pub fn frequency(&self) -> u64 {
        self.attributes.sample_period_or_freq
    }

    /// What went by so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }
}

fn open_processor(attributes: &Attributes, cpu: i32, filter: &OwnedFd) -> io::Result<OwnedFd> {
    let event = sys::open(attributes, -1, cpu)?;
    sys::set_filter(&event, filter)?;
    Ok(event)
}

/// A ring for each event, as large as can be had.
fn map_rings(events: &[OwnedFd]) -> io::Result<(usize, Vec<Ring>)> {
    let mut last = io::Error::other("no size fits");
    for size in RINGS {
        match events.iter().map(|event| Ring::map(event, size)).collect() {
            Ok(rings) => return Ok((size, rings)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn is_denied(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM))
}

/// kernel.perf_event_max_sample_rate; a higher frequency is refused.
fn max_rate() -> u64 {
    let text = fs::read_to_string("/proc/sys/kernel/perf_event_max_sample_rate").unwrap_or_default();
    text.trim().parse().unwrap_or(100_000)
}

fn threads(pid: u32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The processors on which one of the process's threads may run: affinities and cpusets keep it from others,
/// which then need not be interrupted. None when nobody says: the process has ended, or there are more
/// processors than such a set can tell.
fn usable_cpus(pid: u32) -> Option<Vec<i32>> {
    let sets: Vec<CpuSet> =
        threads(pid).into_iter().filter_map(|tid| sched_getaffinity(Pid::from_raw(tid)).ok()).collect();
    let is_in = |set: &CpuSet, cpu: i32| usize::try_from(cpu).is_ok_and(|cpu| set.is_set(cpu) == Ok(true));
    let usable: Vec<i32> =
        online_cpus().into_iter().filter(|cpu| sets.iter().any(|set| is_in(set, *cpu))).collect();
    (!usable.is_empty()).then_some(usable)
}

/// Those that are there.
pub fn online_cpus() -> Vec<i32> {
    let text = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let cpus = cpu_list(&text);
    if cpus.is_empty() { vec![0] } else { cpus }
}

/// Reads `0-3,8`.
fn cpu_list(text: &str) -> Vec<i32> {
    let range = |part: &str| -> Option<std::ops::RangeInclusive<i32>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// An event is a descriptor: take as many as the hard limit gives.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // The open fails with a message of its own when this was not enough.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

#[cfg(test)]
mod tests {
    use super::cpu_list;

    #[test]
    fn processors_are_listed_by_ranges() {
        assert_eq!(cpu_list("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(cpu_list(""), [0; 0]);
    }
}
