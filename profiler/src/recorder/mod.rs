//! Samples a target into a recording. Each sample is unwound as it is read from the ring; only addresses
//! are kept. Never stops the target, and keeps what it has whatever happens to it.

mod meter;

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use rustc_hash::FxBuildHasher;

use self::meter::Meter;
use crate::code::name::{DescribedKind, DescribedName};
use crate::descriptions::Descriptions;
use crate::host_names::{self, Source};
use crate::limits::{Cancel, Notes};
use crate::modules::Modules;
use crate::perf::{self, Mode, OpenError, Options, Record, Sample, Sampler};
use crate::recording::{ObjectInfo, SampleRow, Stack, Summary, Writer};
use crate::target::Target;
use crate::target::space::{KERNEL, Object, ObjectId, Space, UNKNOWN};
use crate::unwind::{CODE, End, Frames, RawFrame, Registers, Walker};

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
        let mut state = State::new(target, descriptions, cancel);
        let gone = |source| RecordError::Target { pid: target.pid(), source };
        state.refresh().map_err(gone)?;
        if let Some(refusal) = target.refusal() {
            let images = modules.images();
            if images.is_empty() && state.descriptions.is_empty() {
                return Err(RecordError::Memory(refusal));
            }
            images.into_iter().for_each(|(address, image)| state.space.serve(address, image));
            state.refresh().map_err(gone)?;
        }
        let sampler = Sampler::open(target.pid(), options)?;
        let (own, start) = (own_cpu(), Instant::now());
        Ok(Self { state, modules, sampler, meter: Meter::new(target), start, own })
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.state.progress(self.start.elapsed(), &self.sampler)
    }

    /// What the user should know of what was left out.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.state.space.notes().iter().chain(self.state.notes.iter())
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
                    state.changed = true;
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
                state.look_for_descriptions();
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
        state.cancel = Cancel::default();
        state.look_for_descriptions();
        state.descriptions.read_again();
        state.write(modules, writer).map_err(RecordError::Write)?;
        state.count_described();
        let names = state.host_names();
        writer
            .names(names.iter().map(|(frame, name)| (*frame, name.as_str())))
            .map_err(RecordError::Write)?;
        let tally = sampler.tally();
        let used = meter.used(sampler.samples_kernel());
        let summary = Summary {
            seconds: meter.seconds(),
            samples: state.count,
            lost: tally.lost,
            throttled: tally.throttled,
            unresolved: state.unresolved,
            wasm: state.wasm,
            wasm_rooted: state.wasm_rooted,
            target_cpu: Some(used),
            rate: (used > 0.0).then(|| state.count as f64 / used),
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

/// See [`State::unknown`].
struct UnknownStack {
    frames: Box<[u32]>,
    end: End,
    /// Of its first sample.
    time: u64,
    /// Samples.
    count: u64,
    /// It has frames of a module that is known.
    wasm: bool,
}

/// A stack that was seen before.
#[derive(Clone, Copy)]
struct KnownStack {
    number: u32,
    /// It has frames of a module.
    wasm: bool,
    /// It has frames of unknown code.
    unknown: bool,
    /// Its innermost frame is of unknown code.
    unresolved: bool,
}

struct State<'a> {
    target: &'a Target,
    descriptions: &'a mut Descriptions,
    space: Space,
    walker: Walker,
    /// Objects that are not in the file yet.
    new_objects: Vec<(ObjectId, Object)>,
    objects: HashMap<ObjectId, Object>,
    /// Images seen at one address.
    generations: HashMap<u64, u32>,
    frames: Frames,
    frames_written: usize,
    /// By the numbers of their frames, and why they end.
    stacks: HashMap<Box<[u32]>, KnownStack, FxBuildHasher>,
    new_stacks: Vec<Stack>,
    new_samples: Vec<SampleRow>,
    threads: HashMap<u32, String>,
    new_threads: Vec<(u32, String)>,
    written_modules: Vec<wasmdbg_control::ModuleHash>,
    /// Numbers of the frames of the sample at hand, and why they end.
    key: Vec<u32>,
    /// Stacks with frames of unknown code, which may be described later.
    unknown: HashMap<u32, UnknownStack, FxBuildHasher>,
    /// Executable memory has changed since the last look.
    changed: bool,
    looked: Instant,
    /// How long the last look took: the next one waits as long, or a target that changes its memory all the time
    /// would leave no time for samples.
    took: Duration,
    cancel: Cancel,
    notes: Notes,
    count: u64,
    unresolved: u64,
    wasm: u64,
    wasm_rooted: u64,
    last_time: u64,
}

/// How long to sleep while no samples are taken.
const WHILE_PAUSED: Duration = Duration::from_millis(500);

/// Code without a known origin is looked for again after this time.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl<'a> State<'a> {
    fn new(target: &'a Target, descriptions: &'a mut Descriptions, cancel: Cancel) -> Self {
        Self {
            target,
            descriptions,
            space: Space::new(),
            walker: Walker::default(),
            new_objects: Vec::new(),
            objects: HashMap::new(),
            generations: HashMap::new(),
            frames: Frames::default(),
            frames_written: 0,
            stacks: HashMap::default(),
            new_stacks: Vec::new(),
            new_samples: Vec::new(),
            threads: HashMap::new(),
            new_threads: Vec::new(),
            written_modules: Vec::new(),
            key: Vec::new(),
            unknown: HashMap::default(),
            changed: false,
            looked: Instant::now(),
            took: Duration::ZERO,
            cancel,
            notes: Notes::default(),
            count: 0,
            unresolved: 0,
            wasm: 0,
            wasm_rooted: 0,
            last_time: 0,
        }
    }

    fn refresh(&mut self) -> io::Result<()> {
        self.changed = false;
        let start = Instant::now();
        let new = &mut self.new_objects;
        let result =
            self.space.refresh(self.target, &self.cancel, |id, object| new.push((id, object.clone())));
        for (id, object) in &self.new_objects {
            self.objects.entry(*id).or_insert_with(|| object.clone());
        }
        self.look_for_descriptions();
        self.looked = Instant::now();
        self.took = self.looked - start;
        result
    }

    fn look_for_descriptions(&mut self) {
        self.descriptions.look(self.target, self.space.jitdumps(), &self.cancel);
        self.walker.follow_frame_pointers(!self.descriptions.is_empty());
    }

    fn progress(&self, elapsed: Duration, sampler: &Sampler) -> Progress {
        let (samples, wasm, kernel) = (self.count, self.wasm, sampler.samples_kernel());
        let (lost, processors) = (sampler.tally().lost, sampler.processors());
        Progress { elapsed, samples, lost, wasm, kernel, processors }
    }

    fn take(&mut self, record: Record<'_>, new_threads: &mut Vec<i32>) {
        match record {
            Record::Sample(sample) => self.sample(&sample),
            Record::Map { pid, .. } if pid == self.target.pid() => self.changed = true,
            Record::Name { pid, tid, name } if pid == self.target.pid() => {
                self.name(tid, String::from_utf8_lossy(name).into_owned())
            }
            Record::Fork { pid, tid } if pid == self.target.pid() => new_threads.extend(i32::try_from(tid)),
            _ => {}
        }
    }

    fn name(&mut self, tid: u32, name: String) {
        if self.threads.get(&tid) != Some(&name) {
            self.threads.insert(tid, name.clone());
            self.new_threads.push((tid, name));
        }
    }

    fn sample(&mut self, sample: &Sample<'_>) {
        if self.changed && self.looked.elapsed() >= self.took && !self.cancel.is_cancelled() {
            // The process may have ended meanwhile: what is known stays.
            let _ = self.refresh();
        }
        if !self.threads.contains_key(&sample.tid) {
            let name =
                self.target.thread_name(sample.tid).unwrap_or_else(|| format!("thread {}", sample.tid));
            self.name(sample.tid, name);
        }
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        let end = self.walk(sample, &mut key);
        self.count += 1;
        self.last_time = sample.time;
        // The same frames with another end are another stack.
        key.push(end as u32);
        let known = self.stacks.get(key.as_slice()).copied();
        let stack = known.unwrap_or_else(|| self.new_stack(&key, end));
        self.unresolved += u64::from(stack.unresolved);
        self.count_wasm(stack.wasm, end, 1);
        if stack.unknown {
            let frames = &key[..key.len() - 1];
            let new =
                || UnknownStack { frames: frames.into(), end, time: sample.time, count: 0, wasm: stack.wasm };
            self.unknown.entry(stack.number).or_insert_with(new).count += 1;
        }
        self.key = key;
        let row =
            SampleRow { time: sample.time, tid: sample.tid, stack: stack.number, weight: sample.period };
        self.new_samples.push(row);
    }

    fn walk(&mut self, sample: &Sample<'_>, out: &mut Vec<u32>) -> End {
        if sample.mode == Mode::Kernel {
            let mut kernel = |address| self.frames.number(RawFrame { object: KERNEL, address });
            out.extend(sample.kernel_frames().map(&mut kernel));
            if out.is_empty() {
                out.push(kernel(sample.ip));
            }
        }
        // A thread of the kernel has no registers of a program: its stack ends here.
        let Some(set) = sample.registers else { return End::Root };
        let registers = Registers { ip: set.get(8), sp: set.get(7), bp: set.get(6) };
        let piece = self.space.find(registers.ip);
        let known = piece.is_some_and(|piece| piece.object.is_some() || !self.descriptions.is_empty());
        let pause = LOOK_AGAIN.max(self.took);
        if !known && self.looked.elapsed() > pause && !self.cancel.is_cancelled() {
            let _ = self.refresh();
        }
        let code = |address| self.target.read(address, CODE).try_into().ok();
        self.walker.walk(&self.space, registers, sample.stack, code, &mut self.frames, out)
    }

    /// Takes what is described into account, once all of it is known: frames keep their addresses, and the
    /// reader of the recording names them.
    fn count_described(&mut self) {
        if self.descriptions.is_empty() {
            return;
        }
        for stack in std::mem::take(&mut self.unknown).into_values() {
            let kind = |index: &u32| {
                let frame = self.frames.list()[*index as usize];
                let name = self.descriptions.name_at(frame.address, stack.time)?;
                (frame.object == UNKNOWN).then(|| DescribedName::parse(name).kind)
            };
            let resolved = stack.frames.first().is_some_and(|index| kind(index).is_some());
            let is_module = |index| kind(index).is_some_and(|kind| kind != DescribedKind::Engine);
            let wasm = !stack.wasm && stack.frames.iter().any(is_module);
            self.unresolved -= if resolved { stack.count } else { 0 };
            self.count_wasm(wasm, stack.end, stack.count);
        }
    }

    fn count_wasm(&mut self, wasm: bool, end: End, samples: u64) {
        if wasm {
            self.wasm += samples;
            self.wasm_rooted += if end == End::Root { samples } else { 0 };
        }
    }

    /// `key` is the frames and the end.
    fn new_stack(&mut self, key: &[u32], end: End) -> KnownStack {
        let frames = &key[..key.len() - 1];
        let objects = || frames.iter().map(|frame| self.frames.list()[*frame as usize].object);
        let stack = KnownStack {
            number: self.stacks.len() as u32,
            wasm: objects().any(|object| matches!(self.objects.get(&object), Some(Object::Wasm(_)))),
            unknown: objects().any(|object| object == UNKNOWN),
            unresolved: objects().next().is_none_or(|object| object == UNKNOWN),
        };
        self.stacks.insert(key.into(), stack);
        self.new_stacks.push(Stack { frames: frames.to_vec(), end });
        stack
    }

    /// Writes what is new, in an order in which everything is known before it is named.
    fn write<W: Write>(&mut self, modules: &mut Modules, writer: &mut Writer<W>) -> io::Result<()> {
        for (id, object) in std::mem::take(&mut self.new_objects) {
            match object {
                Object::Host(host) => {
                    let reached = host.reached.as_ref().map(|path| path.display().to_string());
                    let build_id = host.tables.as_ref().and_then(|tables| tables.build_id.clone());
                    writer.object(id, &ObjectInfo::Host { path: host.path.clone(), reached, build_id })?;
                }
                Object::Wasm(wasm) => {
                    let mut identity = modules.identify(&wasm.image, wasm.base + wasm.image.text.start);
                    let generation = self.generations.entry(wasm.base).or_default();
                    identity.info.generation = *generation;
                    identity.info.seen = self.last_time;
                    *generation += 1;
                    if let Some((hash, bytes)) = &identity.module
                        && !self.written_modules.contains(hash)
                    {
                        self.written_modules.push(*hash);
                        writer.module(*hash, bytes)?;
                        if let Some(bytes) = &identity.debug_file {
                            writer.debug_file(*hash, bytes)?;
                        }
                    }
                    writer.object(id, &ObjectInfo::Wasm(identity.info))?;
                    writer.functions(id, &wasm.image.functions)?;
                    if let Ok(map) = &wasm.image.address_map {
                        writer.address_map(id, map)?;
                    }
                }
            }
        }
        self.descriptions.take_new(|timeline, from| writer.described(timeline, from))?;
        for (tid, name) in std::mem::take(&mut self.new_threads) {
            writer.thread(tid, &name)?;
        }
        let frames = self.frames.list();
        if self.frames_written < frames.len() {
            writer.frames(&frames[self.frames_written..])?;
            self.frames_written = frames.len();
        }
        if !self.new_stacks.is_empty() {
            writer.stacks(&std::mem::take(&mut self.new_stacks))?;
        }
        if !self.new_samples.is_empty() {
            writer.samples(&self.new_samples)?;
            self.new_samples.clear();
            writer.flush()?;
        }
        Ok(())
    }

    fn host_names(&mut self) -> Vec<(u32, String)> {
        let source = |object| match self.objects.get(&object) {
            Some(Object::Host(host)) => match (&host.reached, &host.bytes) {
                (Some(path), _) => Some(Source::File(path)),
                (None, Some(bytes)) => Some(Source::Bytes(bytes)),
                (None, None) => None,
            },
            _ => None,
        };
        let frames = self.frames.list().iter().enumerate().map(|(index, frame)| (index as u32, *frame));
        host_names::names(frames, source, &mut self.notes)
    }
}
