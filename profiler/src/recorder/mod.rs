//! Samples a target into a recording. Each sample is unwound as it is read from the ring; only addresses
//! are kept. Never stops the target, and keeps what it has whatever happens to it.

mod code;
mod meter;
mod stacks;
mod threads;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use self::code::Code;
use self::meter::Meter;
use self::stacks::Stacks;
use self::threads::Threads;
use crate::descriptions::Descriptions;
use crate::limits::{Cancel, Notes};
use crate::modules::Modules;
use crate::perf::{self, Mode, OpenError, Options, Record, Sample, Sampler};
use crate::recording::{SampleRow, Summary, Writer};
use crate::target::Target;
use crate::target::space::KERNEL;
use crate::unwind::{End, RawFrame, Registers};

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The kernel does not let us sample.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file cannot be written.
    #[error("cannot write the recording: {0}")]
    Write(io::Error),
    /// Its memory may not be read, and nobody else gives us its code.
    #[error("{0}")]
    Memory(String),
    /// The target ended before anything was sampled.
    #[error("process {pid} cannot be looked at: {source}")]
    Target {
        /// Which.
        pid: u32,
        /// Why.
        source: io::Error,
    },
}

/// What the caller decides between two drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Sample.
    Go,
    /// Take no samples until told to go on.
    Pause,
    /// The time is over.
    Time,
    /// There are enough samples.
    Samples,
    /// The user has had enough.
    Interrupt,
    /// The program that controls the recording has.
    Stop,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// Samples so far.
    pub samples: u64,
    /// Samples lost so far.
    pub lost: u64,
    /// Samples in modules so far.
    pub wasm: u64,
    /// Whether the kernel is sampled too.
    pub kernel: bool,
    /// See [`Sampler::processors`].
    pub processors: Option<usize>,
}

/// Records a target in three steps: [`Recorder::new`] looks at it, [`Recorder::sample`] takes samples, and
/// [`Recorder::finish`] names what was found.
pub struct Recorder<'a> {
    state: State<'a>,
    modules: &'a mut Modules,
    sampler: Sampler,
    meter: Meter<'a>,
    start: Instant,
    /// CPU seconds of this process at the start.
    own: f64,
}

impl std::fmt::Debug for Recorder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("sampler", &self.sampler).finish_non_exhaustive()
    }
}

/// Why sampling has ended, see [`Summary::ended`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended(&'static str);

impl<'a> Recorder<'a> {
    /// Looks at the target and opens its events. `descriptions` name code that is no known module's. Once `cancel` is
    /// cancelled, looking again at the target leaves out what takes long.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn new(
        target: &'a Target,
        modules: &'a mut Modules,
        descriptions: &'a mut Descriptions,
        options: &Options,
        cancel: Cancel,
    ) -> Result<Self, RecordError> {
        let mut code = Code::new(target, descriptions, cancel);
        let gone = |source| RecordError::Target { pid: target.pid(), source };
        code.refresh().map_err(gone)?;
        if let Some(refusal) = target.refusal() {
            let images = modules.images();
            if images.is_empty() && !code.is_described() {
                return Err(RecordError::Memory(refusal));
            }
            code.serve(images);
            code.refresh().map_err(gone)?;
        }
        let sampler = Sampler::open(target.pid(), options)?;
        let (own, start) = (own_cpu(), Instant::now());
        Ok(Self { state: State::new(code), modules, sampler, meter: Meter::new(target), start, own })
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.state.progress(self.start.elapsed(), &self.sampler)
    }

    /// What the user should know of what was left out.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.state.code.notes().iter().chain(self.state.notes.iter())
    }

    /// Takes samples until `wait` says otherwise or the target ends. `wait` sleeps for the given time; it is called once
    /// before the first sample.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn sample<W: Write>(
        &mut self,
        writer: &mut Writer<W>,
        mut wait: impl FnMut(Duration, &Progress) -> Next,
    ) -> Result<Ended, RecordError> {
        let Self { state, modules, sampler, meter, start, .. } = self;
        writer.sampled(sampler.samples_kernel(), sampler.frequency()).map_err(RecordError::Write)?;
        state.write(modules, writer).map_err(RecordError::Write)?;
        let (mut looked, mut interval) = (Instant::now(), Duration::ZERO);
        let ended = loop {
            let next = wait(interval, &state.progress(start.elapsed(), sampler));
            match next {
                Next::Go if !sampler.is_running() => {
                    // Nobody told of threads and code that came while no event was enabled.
                    sampler.look_again();
                    state.code.has_changed();
                    meter.start(sampler.cpus());
                    sampler.set_running(true).map_err(|error| RecordError::Open(OpenError::Other(error)))?;
                }
                Next::Pause if sampler.is_running() => {
                    let _ = sampler.set_running(false);
                    meter.stop();
                }
                _ => {}
            }
            interval = if sampler.is_running() { sampler.interval() } else { WHILE_PAUSED };
            let mut new_threads = Vec::new();
            sampler.drain(|record| state.take(record, &mut new_threads));
            for tid in new_threads {
                sampler.follow(tid);
            }
            if looked.elapsed() > sampler.look_after() {
                looked = Instant::now();
                sampler.look_again();
                state.code.look_for_descriptions();
                modules.heed();
            }
            state.write(modules, writer).map_err(RecordError::Write)?;
            let alive = meter.is_alive(next != Next::Go);
            match next {
                Next::Go | Next::Pause if alive => {}
                Next::Go | Next::Pause => break "exit",
                Next::Time => break "time",
                Next::Samples => break "samples",
                Next::Interrupt => break "interrupt",
                Next::Stop => break "stop",
            }
        };
        let _ = sampler.set_running(false);
        meter.stop();
        Ok(Ended(ended))
    }

    /// Writes what came last, the names, and the summary. The calling thread gives way to all others, and goes on doing so:
    /// nothing of this is urgent, and the target may need every processor.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub fn finish<W: Write>(&mut self, writer: &mut Writer<W>, ended: Ended) -> Result<Summary, RecordError> {
        let Self { state, modules, sampler, meter, own, .. } = self;
        sampler.drain(|record| state.take(record, &mut Vec::new()));
        perf::give_way();
        state.code.read_descriptions();
        state.write(modules, writer).map_err(RecordError::Write)?;
        state.stacks.count_described(&state.code);
        let names = state.code.host_names(&state.stacks.frames, &mut state.notes);
        let counts = state.stacks.tally();
        writer
            .names(names.iter().map(|(frame, name)| (*frame, name.as_str())))
            .map_err(RecordError::Write)?;
        let tally = sampler.tally();
        let used = meter.used(sampler.samples_kernel());
        let summary = Summary {
            seconds: meter.seconds(),
            samples: counts.samples,
            lost: tally.lost,
            throttled: tally.throttled,
            unresolved: counts.unresolved,
            wasm: counts.wasm,
            wasm_rooted: counts.wasm_rooted,
            target_cpu: Some(used),
            rate: (used > 0.0).then(|| counts.samples as f64 / used),
            own_cpu: own_cpu() - *own,
            ended: ended.0.to_owned(),
            processors: sampler.processors(),
            stolen: meter.stolen(),
            unfollowed: tally.unfollowed,
        };
        writer.summary(&summary).and_then(|()| writer.flush()).map_err(RecordError::Write)?;
        Ok(summary)
    }
}

/// CPU seconds of this process.
fn own_cpu() -> f64 {
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    getrusage(UsageWho::RUSAGE_SELF)
        .map_or(0.0, |usage| seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// What has been seen and is not in the file yet.
struct State<'a> {
    code: Code<'a>,
    stacks: Stacks,
    threads: Threads,
    new_samples: Vec<SampleRow>,
    /// Of the last sample.
    time: u64,
    /// Numbers of the frames of the sample at hand, and why they end.
    key: Vec<u32>,
    notes: Notes,
}

/// How long to sleep while no samples are taken.
const WHILE_PAUSED: Duration = Duration::from_millis(500);

impl<'a> State<'a> {
    fn new(code: Code<'a>) -> Self {
        Self {
            code,
            stacks: Stacks::default(),
            threads: Threads::default(),
            new_samples: Vec::new(),
            time: 0,
            key: Vec::new(),
            notes: Notes::default(),
        }
    }

    fn progress(&self, elapsed: Duration, sampler: &Sampler) -> Progress {
        let (tally, kernel) = (self.stacks.tally(), sampler.samples_kernel());
        let (lost, processors) = (sampler.tally().lost, sampler.processors());
        Progress { elapsed, samples: tally.samples, lost, wasm: tally.wasm, kernel, processors }
    }

    fn take(&mut self, record: Record<'_>, new_threads: &mut Vec<i32>) {
        let own = self.code.target().pid();
        match record {
            Record::Sample(sample) => self.sample(&sample),
            Record::Map { pid, .. } if pid == own => self.code.has_changed(),
            Record::Name { pid, tid, name } if pid == own => {
                self.threads.name(tid, String::from_utf8_lossy(name).into_owned());
            }
            Record::Fork { pid, tid } if pid == own => new_threads.extend(i32::try_from(tid)),
            _ => {}
        }
    }

    fn sample(&mut self, sample: &Sample<'_>) {
        self.code.refresh_if_changed();
        self.threads.see(sample.tid, self.code.target());
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        let end = self.walk(sample, &mut key);
        let stack = self.stacks.count(&mut key, end, sample.time, &self.code);
        self.key = key;
        self.time = sample.time;
        let row = SampleRow { time: sample.time, tid: sample.tid, stack, weight: sample.period };
        self.new_samples.push(row);
    }

    fn walk(&mut self, sample: &Sample<'_>, out: &mut Vec<u32>) -> End {
        let frames = &mut self.stacks.frames;
        if sample.mode == Mode::Kernel {
            let mut kernel = |address| frames.number(RawFrame { object: KERNEL, address });
            out.extend(sample.kernel_frames().map(&mut kernel));
            if out.is_empty() {
                out.push(kernel(sample.ip));
            }
        }
        // A thread of the kernel has no registers of a program: its stack ends here.
        let Some(set) = sample.registers else { return End::Root };
        let registers = Registers { ip: set.get(8), sp: set.get(7), bp: set.get(6) };
        self.code.walk(registers, sample.stack, frames, out)
    }

    /// Writes what is new, in an order in which everything is known before it is named.
    fn write<W: Write>(&mut self, modules: &mut Modules, writer: &mut Writer<W>) -> io::Result<()> {
        self.code.write(modules, self.time, writer)?;
        self.threads.write(writer)?;
        self.stacks.write(writer)?;
        if !self.new_samples.is_empty() {
            writer.samples(&self.new_samples)?;
            self.new_samples.clear();
            writer.flush()?;
        }
        Ok(())
    }
}
