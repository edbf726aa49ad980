//! `wasmprof record`: samples a process and writes a flame graph.

mod args;
mod words;

use std::ffi::OsString;
use std::io::{BufWriter, IsTerminal, Seek};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use wasmdbg_profiler::descriptions::Descriptions;
use wasmdbg_profiler::limits::on_one_line;
use wasmdbg_profiler::modules::Modules;
use wasmdbg_profiler::perf::{Event, Options};
use wasmdbg_profiler::profile::Profile;
use wasmdbg_profiler::recorder::{Next, Progress, RecordError, Recorder};
use wasmdbg_profiler::recording::{Info, Recording, Writer};
use wasmdbg_profiler::target::Target;
use wasmdbg_profiler::target::permission::{self, CAPABILITIES, Facts};

use self::args::{Arguments, HELP, parse};
use self::words::{print_doubts, print_progress, print_summary, why_none};
use super::control::Control;
use super::input::print_problems;
use super::interrupt::Interrupt;
use super::output::{Format, is_special, print_coverage};
use super::place::Place;

/// Up to this frequency the kernel's own tick mostly comes first: the timer need not be set for each thread.
const SLOW: u64 = 250;

pub(super) fn run(arguments: Vec<OsString>) -> Result<()> {
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
