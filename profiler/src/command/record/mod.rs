//! `wasmprof record`: samples a process and writes a flame graph.

mod args;
mod pace;
mod words;

use std::ffi::OsString;
use std::io::{BufWriter, Seek};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use wasmdbg_profiler::descriptions::Descriptions;
use wasmdbg_profiler::modules::Modules;
use wasmdbg_profiler::perf::Options;
use wasmdbg_profiler::profile::Profile;
use wasmdbg_profiler::recorder::{RecordError, Recorder};
use wasmdbg_profiler::recording::{Info, Recording, Writer};
use wasmdbg_profiler::target::Target;

use self::args::{Arguments, HELP, parse};
use self::pace::Pace;
use self::words::{print_doubts, print_kernel_names, print_limits, print_summary, print_unnamed, why_none};
use super::input::print_problems;
use super::interrupt::Interrupt;
use super::output::{Format, is_special, print_coverage};
use super::place::Place;

pub(super) fn run(arguments: Vec<OsString>) -> Result<()> {
    let Some(mut arguments) = parse(arguments)? else {
        say!("{}", HELP.trim_end());
        return Ok(());
    };
    let interrupt = Interrupt::catch()?;
    let pid = arguments.chosen.pid()?;
    let target = Target::open(pid)?;
    let files = Files::new(arguments.output.clone(), pid)?;
    let cannot = || format!("cannot write {}", files.recording.display());
    let place = Place::of(&files.recording).with_context(cannot)?;
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
    let mut pace = Pace::new(arguments.control.take(), &arguments, &interrupt);
    let sampled = recorder.sample(&mut writer, |interval, progress| pace.next(interval, progress));
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
    let took = pace.end();
    drop(writer);
    print_unnamed(&descriptions, &target);
    for note in modules.notes().chain(notes) {
        eprintln!("wasmprof: {note}");
    }
    print_limits(&target, options, &progress);
    print_summary(&summary, pid, took);
    print_doubts(&summary, options);
    print_kernel_names(&progress);
    if summary.samples == 0 {
        place.put_back(old.as_deref());
        bail!("no samples: {}", why_none(&summary, &target, options.event));
    }
    say!("recording: {}", files.recording.display());
    let Some((output, format)) = files.rendered else { return Ok(()) };
    // The file that was written, whatever has its name by now.
    out.rewind().with_context(|| format!("cannot read {}", files.recording.display()))?;
    let recording = Recording::read(&out, &files.recording)?;
    print_problems(&recording);
    let profile = Profile::fold(&recording, arguments.folding);
    print_coverage(&profile);
    format.write_file(&profile, &output)?;
    say!("{}: {}", format.what(), output.display());
    Ok(())
}

/// Where results go.
struct Files {
    recording: PathBuf,
    /// What is made of the recording, if it is not all that is wanted.
    rendered: Option<(PathBuf, Format)>,
}

impl Files {
    /// What `output` asks for; said before the time is spent.
    fn new(output: Option<PathBuf>, pid: u32) -> Result<Self> {
        let output = output.unwrap_or_else(|| format!("wasmprof-{pid}.svg").into());
        let recording = output.with_extension("wasmprof");
        if output.is_dir() {
            bail!("{} is a folder: name a file with -o", output.display());
        }
        if output == Path::new("-") || output != recording && is_special(&output) {
            bail!("{}: a recording wants a file of its own: name one with -o", output.display());
        }
        let rendered = if output == recording {
            None
        } else {
            let format = Format::of(&output)?;
            Some((output, format))
        };
        Ok(Self { recording, rendered })
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
