//! `wasmprof record`: samples a process and writes a flame graph.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufWriter, IsTerminal, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use lexopt::prelude::{Long, Short, Value, ValueExt};
use wasmdbg_profiler::descriptions::Descriptions;
use wasmdbg_profiler::limits::on_one_line;
use wasmdbg_profiler::modules::Modules;
use wasmdbg_profiler::perf::{self, Event, Options};
use wasmdbg_profiler::profile::{Folding, Lines, Profile};
use wasmdbg_profiler::recorder::{Next, Progress, RecordError, Recorder};
use wasmdbg_profiler::recording::{Info, ObjectInfo, Recording, Summary, Writer};
use wasmdbg_profiler::target::Target;
use wasmdbg_profiler::target::permission::{self, CAPABILITIES, Facts};

use crate::command::control::Control;
use crate::command::input::{number, print_missing_files};
use crate::command::interrupt::Interrupt;
use crate::command::output::{Format, is_special};
use crate::command::place::Place;
use crate::command::target::Chosen;

const HELP: &str = "\
usage: wasmprof record [-p PID | --socket SOCKET] [OPTION…]

Samples a running process; it is not stopped, restarted or changed. Without -p the only proxy there is.
Ctrl-C ends the recording and keeps it.

  -p, --pid PID         the process
      --socket PATH     the proxy with this control socket
  -F, --frequency HZ    samples a second of CPU time (99; 1 to 50000)
  -d, --duration S      seconds (10), pauses included; 0: until Ctrl-C
      --samples N       end when there are N samples or some more; the duration is a limit then, and none is
                        the default
  -o, --output FILE     out.svg, out.folded, out.json, or out.wasmprof for the recording alone
                        (wasmprof-PID.svg); the recording is kept beside it
  -e, --event EVENT     cpu-clock (the default), cycles, instructions, cache-misses, branch-misses,
                        page-faults, context-switches
      --code FILE       a jitdump or a perf map that names code of the process; those that it has mapped
                        and /tmp/perf-PID.map are found
      --module PATH     a .wasm file or a folder of them: modules that run, or unstripped copies; or a
                        source map (.map), which is also found beside its module
      --lines WHICH     innermost (the default), all, none
      --each-thread     threads whose names differ by a number apart, as [ET_NET 0] and [ET_NET 1]
      --stack BYTES     of the stack that a sample holds (32768; 1024 to 65520)
      --user            sample the program only, not the kernel
      --control fifo:COMMANDS[,ANSWERS]
                        named pipes, as for perf: enable, disable, ping and stop are read from one, each
                        is answered with ack in the other
  -D, --delay MS        wait so long before the first sample; -1: until enabled by --control
      --by-thread       sample the clocks of the process's threads, also where those of the processors
                        are allowed: these interrupt other processes too, and cost the process less
  -q, --quiet           no progress
";

/// Bytes: what the stack of one of Traffic Server's event threads needs.
const DEFAULT_STACK: u32 = 32_768;

const DEFAULT_DURATION: Duration = Duration::from_secs(10);

struct Arguments {
    chosen: Chosen,
    options: Options,
    duration: Duration,
    samples: Option<u64>,
    output: Option<PathBuf>,
    modules: Vec<PathBuf>,
    code: Vec<PathBuf>,
    folding: Folding,
    control: Option<Control>,
    /// None: sampling waits to be enabled.
    delay: Option<Duration>,
    quiet: bool,
}

/// Up to this frequency the kernel's own tick mostly comes first: the timer need not be set for each thread.
const SLOW: u64 = 250;

pub(in crate::command) fn run(arguments: Vec<OsString>) -> Result<()> {
    let Some(mut arguments) = parse(arguments)? else {
        say!("{}", HELP.trim_end());
        return Ok(());
    };
    let interrupt = Interrupt::catch()?;
    let pid = arguments.chosen.pid()?;
    let target = Target::open(pid)?;
    let output = arguments.output.clone().unwrap_or_else(|| format!("wasmprof-{pid}.svg").into());
    let file = output.with_extension("wasmprof");
    if output.is_dir() {
        bail!("{} is a folder: name a file with -o", output.display());
    }
    if output == Path::new("-") || output != file && is_special(&output) {
        bail!("{}: a recording wants a file of its own: name one with -o", output.display());
    }
    // Told before the time is spent.
    let format = if output == file { None } else { Some(Format::of(&output)?) };
    let cannot = || format!("cannot write {}", file.display());
    let place = Place::of(&file).with_context(cannot)?;
    let mut modules = find_modules(&target, &arguments)?;
    let mut descriptions = Descriptions::new();
    for path in &arguments.code {
        descriptions.add_file(path)?;
    }
    let options = &arguments.options;
    let mut recorder = Recorder::new(&target, &mut modules, &mut descriptions, options, interrupt.cancel())?;
    // A signal that came before has left nothing behind.
    interrupt.hold();
    let (mut out, old) = place.create_recording().with_context(cannot)?;
    let buffered = BufWriter::new(out.try_clone().with_context(cannot)?);
    let mut writer = Writer::new(buffered, &info(&target, options)).with_context(cannot)?;
    let start = Instant::now();
    let (mut control, delay) = (arguments.control.take(), arguments.delay.unwrap_or_default());
    let (wanted, duration) = (arguments.samples, arguments.duration);
    let show = !arguments.quiet && std::io::stderr().is_terminal();
    let mut shown = start;
    let between = |interval: Duration, progress: &Progress| {
        if let Some(control) = &mut control {
            control.answer();
        }
        if show && shown.elapsed() > Duration::from_millis(250) {
            shown = Instant::now();
            print_progress(progress, duration, control.as_ref().is_none_or(|control| control.enabled));
        }
        let left = (delay + duration).checked_sub(progress.elapsed).unwrap_or_default();
        let mut wait = if duration.is_zero() { interval } else { interval.min(left) };
        if let Some(delay) = delay.checked_sub(progress.elapsed).filter(|delay| !delay.is_zero()) {
            wait = wait.min(delay);
        }
        let signalled = interrupt.wait(wait, control.as_ref().map(Control::as_fd));
        if let Some(control) = &mut control {
            control.read();
        }
        match &control {
            _ if signalled => Next::Interrupt,
            Some(control) if control.stopped => Next::Stop,
            _ if wanted.is_some_and(|wanted| progress.samples >= wanted) => Next::Samples,
            _ if !duration.is_zero() && start.elapsed() >= delay + duration => Next::Time,
            Some(control) if !control.enabled => Next::Pause,
            _ if start.elapsed() < delay => Next::Pause,
            _ => Next::Go,
        }
    };
    let sampled = recorder.sample(&mut writer, between);
    interrupt.release();
    let ended = sampled.inspect_err(|error| {
        if matches!(error, RecordError::Open(_)) {
            place.put_back(old.as_deref());
        }
    })?;
    let progress = recorder.progress();
    let summary = recorder.finish(&mut writer, ended)?;
    let notes: Vec<String> = recorder.notes().collect();
    drop(recorder);
    if let Some(control) = &mut control {
        control.answer();
    }
    if show {
        eprint!("\r\x1b[K");
    }
    drop(writer);
    for (path, of) in descriptions.of_others(target.inner_pid()) {
        let path = path.display();
        eprintln!(
            "wasmprof: {}",
            on_one_line(&format!("{path} describes the code of process {of}, not of {pid}"))
        );
    }
    for problem in descriptions.problems() {
        eprintln!("wasmprof: code is not named by it: {problem}");
    }
    for note in modules.notes().chain(notes) {
        eprintln!("wasmprof: {note}");
    }
    if let Some(refusal) = target.refusal() {
        eprintln!("wasmprof: {refusal}");
        eprintln!(
            "wasmprof: code is named by what the process itself gives out; what it does not is unknown"
        );
    }
    if arguments.options.kernel && !progress.kernel {
        eprintln!("wasmprof: the kernel is not sampled: {}", Facts::of(pid).kernel());
    }
    let Options { event, frequency, by_thread, .. } = arguments.options;
    if event == Event::CpuClock && frequency > SLOW && progress.processors.is_none() && !by_thread {
        eprintln!(
            "wasmprof: the clocks of the threads were sampled, which above {SLOW} Hz costs the process more whenever a thread \
             sleeps: those of the processors are for root, or {CAPABILITIES}"
        );
    }
    print_summary(&summary, pid, start.elapsed());
    print_doubts(&summary, &arguments.options);
    if progress.kernel
        && let Some(why) = permission::kernel_names()
    {
        eprintln!("wasmprof: the kernel's functions have no names: {why}");
    }
    if summary.samples == 0 {
        place.put_back(old.as_deref());
        bail!("no samples: {}", why_none(&summary, &target, event));
    }
    say!("recording: {}", file.display());
    let Some(format) = format else { return Ok(()) };
    // The file that was written, whatever has its name by now.
    out.rewind().with_context(|| format!("cannot read {}", file.display()))?;
    let recording = Recording::read(&out, &file)?;
    print_problems(&recording);
    let profile = Profile::fold(&recording, arguments.folding);
    print_coverage(&profile);
    format.write_file(&profile, &output)?;
    say!("{}: {}", format.what(), output.display());
    Ok(())
}

/// Why there are no samples, and what to do.
fn why_none(summary: &Summary, target: &Target, event: Event) -> String {
    let pid = target.pid();
    if target.is_stopped() {
        format!("process {pid} is stopped (by SIGSTOP, or by a debugger)")
    } else if summary.seconds == 0.0 {
        "sampling was disabled all the time".to_owned()
    } else if summary.ended == "interrupt" && summary.seconds < 0.5 {
        format!("it was {:.1} s: record for longer", summary.seconds)
    } else if event == Event::CpuClock {
        format!(
            "process {pid} used hardly any CPU in this time (its children do not count); send it load and record again"
        )
    } else {
        format!("process {pid} had no {event} in this time (its children do not count)")
    }
}

fn parse(arguments: Vec<OsString>) -> Result<Option<Arguments>> {
    let mut parsed = Arguments {
        chosen: Chosen::default(),
        options: Options {
            event: Event::CpuClock,
            frequency: 99,
            stack: DEFAULT_STACK,
            kernel: true,
            by_thread: false,
        },
        duration: Duration::ZERO,
        samples: None,
        output: None,
        modules: Vec::new(),
        code: Vec::new(),
        folding: Folding::default(),
        control: None,
        delay: Some(Duration::ZERO),
        quiet: false,
    };
    let mut duration = None;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('p') | Long("pid") => parsed.chosen.pid = Some(number(&mut parser, "--pid")?),
            Long("socket") => parsed.chosen.socket = Some(parser.value()?.into()),
            Short('F') | Long("frequency") => {
                parsed.options.frequency = number(&mut parser, "--frequency")?;
                if !(1..=50_000).contains(&parsed.options.frequency) {
                    bail!("the frequency must be 1 to 50000 Hz");
                }
            }
            Short('d') | Long("duration") => duration = Some(seconds(&parser.value()?.string()?)?),
            Long("samples") => {
                parsed.samples = Some(number(&mut parser, "--samples")?);
                if parsed.samples == Some(0) {
                    bail!("--samples must be at least 1");
                }
            }
            Short('o') | Long("output") => parsed.output = Some(parser.value()?.into()),
            Short('e') | Long("event") => parsed.options.event = parser.value()?.string()?.parse()?,
            Long("code") => parsed.code.push(parser.value()?.into()),
            Long("module") => parsed.modules.push(parser.value()?.into()),
            Long("lines") => parsed.folding.lines = lines(&parser.value()?.string()?)?,
            Long("each-thread") => parsed.folding.each_thread = true,
            Long("stack") => {
                parsed.options.stack = number(&mut parser, "--stack")?;
                if !(1024..65_528).contains(&parsed.options.stack) || !parsed.options.stack.is_multiple_of(8)
                {
                    bail!("the stack's size must be 1024 to 65520 bytes, a multiple of 8");
                }
            }
            Long("user") => parsed.options.kernel = false,
            Long("by-thread") => parsed.options.by_thread = true,
            Long("control") => parsed.control = Some(Control::open(&parser.value()?.string()?)?),
            Short('D') | Long("delay") => {
                let delay: i64 = number(&mut parser, "--delay")?;
                parsed.delay = match u64::try_from(delay) {
                    Ok(delay) => Some(Duration::from_millis(delay)),
                    Err(_) if delay == -1 => None,
                    Err(_) => bail!("the delay must be milliseconds, or -1"),
                };
            }
            Short('q') | Long("quiet") => parsed.quiet = true,
            Short('h') | Long("help") => return Ok(None),
            Value(value) => {
                bail!("{:?} is no option: one process at a time is recorded, -p PID", value.to_string_lossy())
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let default = if parsed.samples.is_some() { Duration::ZERO } else { DEFAULT_DURATION };
    parsed.duration = duration.unwrap_or(default);
    match (&mut parsed.control, parsed.delay) {
        (None, None) => bail!("--delay -1 waits for what --control says"),
        (Some(control), None) => control.enabled = false,
        _ => {}
    }
    Ok(Some(parsed))
}

/// Reads `innermost`, `all`, `none`.
pub(in crate::command) fn lines(name: &str) -> Result<Lines> {
    Ok(match name {
        "innermost" => Lines::Innermost,
        "all" => Lines::All,
        "none" => Lines::None,
        _ => bail!("--lines wants innermost, all or none, not {name:?}"),
    })
}

fn seconds(text: &str) -> Result<Duration> {
    let Ok(number) = text.trim_end_matches('s').parse::<f64>() else {
        bail!("{text:?} is no number of seconds");
    };
    match Duration::try_from_secs_f64(number) {
        Ok(duration) => Ok(duration),
        Err(_) => bail!("{text:?} is no number of seconds: 0 records until Ctrl-C"),
    }
}

fn find_modules(target: &Target, arguments: &Arguments) -> Result<Modules> {
    let mut modules = Modules::new();
    for path in &arguments.modules {
        modules.add_file(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    match modules.ask_proxy(target, arguments.chosen.socket.as_deref()) {
        Ok(true) => {}
        Ok(false) => modules.look_at_command(target),
        // Sampling works without it; filters are then known by their code alone.
        Err(error) => eprintln!("wasmprof: the proxy does not name its filters: {error}"),
    }
    Ok(modules)
}

fn info(target: &Target, options: &Options) -> Info {
    Info {
        recorder: concat!("wasmprof ", env!("CARGO_PKG_VERSION")).to_owned(),
        pid: target.pid(),
        // The program alone: arguments may hold secrets.
        program: target.command().split(' ').next().unwrap_or_default().to_owned(),
        event: options.event.to_string(),
        unit: options.event.unit().to_owned(),
        frequency: options.frequency,
        kernel: options.kernel,
        started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
    }
}

fn print_progress(progress: &Progress, duration: Duration, enabled: bool) {
    let of = if duration.is_zero() { String::new() } else { format!(" of {:.0}", duration.as_secs_f64()) };
    eprint!(
        "\r\x1b[K{:.1}{of} s: {} samples, {} in modules, {} lost{}",
        progress.elapsed.as_secs_f64(),
        progress.samples,
        progress.wasm,
        progress.lost,
        if enabled { "" } else { "; paused" }
    );
    let _ = std::io::stderr().flush();
}

fn print_summary(summary: &Summary, pid: u32, wall: Duration) {
    let ended = match summary.ended.as_str() {
        "exit" => format!(" (process {pid} ended)"),
        "interrupt" => " (interrupted)".to_owned(),
        _ => String::new(),
    };
    say!(
        "{} samples in {:.1} s{ended}: {} lost, {} unresolved, throttled {} times",
        summary.samples,
        summary.seconds,
        summary.lost,
        summary.unresolved,
        summary.throttled
    );
    if let (Some(rate), Some(used)) = (summary.rate, summary.target_cpu) {
        say!("rate: {rate:.1} samples per CPU second ({used:.2} CPU s of the process)");
    }
    if let Some(count) = summary.processors {
        say!(
            "by the clock of {count} of {} processors, on which the process may run",
            perf::online_cpus().len()
        );
    }
    let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 * 100.0 / of as f64 };
    say!(
        "in modules: {} samples ({:.1} %), {:.1} % of them with the whole stack",
        summary.wasm,
        share(summary.wasm, summary.samples),
        share(summary.wasm_rooted, summary.wasm)
    );
    say!(
        "own cost: {:.0} ms CPU ({:.2} % of one processor)",
        summary.own_cpu * 1000.0,
        summary.own_cpu * 100.0 / wall.as_secs_f64().max(0.001)
    );
}

/// What makes a recording less than it could be.
fn print_doubts(summary: &Summary, options: &Options) {
    let asked = summary.samples + summary.lost;
    if summary.lost * 100 > asked {
        eprintln!(
            "wasmprof: {:.0} % of the samples were lost, more where there is more to say: a lower -F than {} gives right shares",
            summary.lost as f64 * 100.0 / asked as f64,
            options.frequency
        );
    }
    if let Some(stolen) = summary.stolen.filter(|stolen| *stolen > MUCH) {
        eprintln!(
            "wasmprof: a hypervisor took {:.0} % of the processors' time meanwhile, which counts where the process was interrupted: \
             shares may be far off; record again when the machine is quieter",
            stolen * 100.0
        );
    }
    if let Some(missing) = not_sampled(summary, options).filter(|missing| *missing > MUCH) {
        eprintln!(
            "wasmprof: {:.0} % of the process's CPU time has no samples: its threads moved to other processors, or lived for a \
             moment",
            missing * 100.0
        );
    }
    if summary.unfollowed > 0 {
        eprintln!(
            "wasmprof: {} threads that came meanwhile, or processors that they moved to, have no samples: raise ulimit -n",
            summary.unfollowed
        );
    }
    if options.stack < DEFAULT_STACK && summary.wasm_rooted * 10 < summary.wasm * 9 {
        eprintln!(
            "wasmprof: stacks are cut off, and what a filter calls does not count for it: use a larger --stack"
        );
    }
}

/// Shares above this one are worth a line.
const MUCH: f64 = 0.1;

/// The part of the CPU time for which there should be samples and are none, when there was enough time to tell.
fn not_sampled(summary: &Summary, options: &Options) -> Option<f64> {
    // How much of the time was the program's alone is not known so well.
    let known = options.event == Event::CpuClock && options.kernel;
    let used = summary.target_cpu.filter(|used| known && *used > 0.5)?;
    let taken = (summary.samples + summary.lost) as f64 / options.frequency as f64;
    Some(1.0 - taken / used)
}

/// How much of the time in modules has names and lines.
pub(in crate::command) fn print_coverage(profile: &Profile) {
    let coverage = profile.coverage;
    if coverage.wasm == 0 {
        return;
    }
    let share = |part: u64| part as f64 * 100.0 / coverage.wasm as f64;
    say!(
        "innermost frame in a module: {:.2} % with a function, {:.2} % with a line ({:.2} % approximate, {:.2} % \
         of a call to a function without lines)",
        share(coverage.named),
        share(coverage.line),
        share(coverage.approximate),
        share(coverage.caller)
    );
}

/// Why names or lines are missing, once for each filter.
fn print_problems(recording: &Recording) {
    let problems: BTreeSet<String> = recording
        .objects
        .values()
        .filter_map(|object| match object {
            ObjectInfo::Wasm(info) => Some(format!("{}: {}", info.label(), info.problem.as_ref()?)),
            _ => None,
        })
        .collect();
    for problem in problems {
        eprintln!("wasmprof: {problem}");
    }
    print_missing_files(recording);
}

/// For the other commands.
pub(in crate::command) fn open(path: &Path) -> Result<Recording> {
    let recording = Recording::open(path)?;
    if recording.samples.is_empty() && recording.summary.is_none() {
        bail!(
            "{} has no samples that can be read: its recorder had none yet when it ended, or the file is damaged or cut off",
            path.display()
        );
    }
    if recording.samples.is_empty() {
        bail!("{} has no samples", path.display());
    }
    if recording.summary.is_none() {
        eprintln!("wasmprof: the recorder did not end well: {} has what it wrote until then", path.display());
    }
    print_problems(&recording);
    Ok(recording)
}
