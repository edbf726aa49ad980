//! What is read: recordings, and perf.data with what names its code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use lexopt::Parser;
use lexopt::prelude::ValueExt;
use wasmdbg_profiler::code::timeline::Timeline;
use wasmdbg_profiler::import::Imported;
use wasmdbg_profiler::profile::Lines;
use wasmdbg_profiler::recording::{MAGIC, ObjectInfo, Recording};
use wasmdbg_profiler::target::space::UNKNOWN;
use wasmdbg_profiler::unwind::End;
use wasmdbg_profiler::{descriptions, import};

/// The value of an option that wants a number.
pub(super) fn number<T: FromStr>(parser: &mut Parser, option: &str) -> Result<T> {
    let text = parser.value()?.string()?;
    text.parse().map_err(|_| anyhow::anyhow!("{option} wants a number, not {text:?}"))
}

/// Reads `innermost`, `all`, `none`.
pub(super) fn lines(name: &str) -> Result<Lines> {
    Ok(match name {
        "innermost" => Lines::Innermost,
        "all" => Lines::All,
        "none" => Lines::None,
        _ => bail!("--lines wants innermost, all or none, not {name:?}"),
    })
}

/// Reads one recording or perf.data, and the jitdumps and perf maps beside it. `command`: for the hint.
pub(super) fn open(inputs: Vec<PathBuf>, command: &str) -> Result<Recording> {
    let is_described =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "map" || extension == "dump");
    let (described, data): (Vec<_>, Vec<_>) = inputs.into_iter().partition(is_described);
    let data = match data.as_slice() {
        [data] => data,
        [] => bail!("which recording or perf.data? see wasmprof {command} --help"),
        [_, other, ..] => bail!(
            "one recording or perf.data at a time: {} ends neither with .dump nor with .map",
            other.display()
        ),
    };
    let start = std::fs::File::open(data)
        .and_then(|mut file| {
            let mut start = [0; 8];
            std::io::Read::read(&mut file, &mut start).map(|_| start)
        })
        .with_context(|| format!("cannot read {}", data.display()))?;
    if &start == b"PERFILE2" {
        let Imported { recording, others, has_chains, copies, cut, strangers, notes } =
            import::perf_data(data, &described)?;
        if cut * 10 > copies {
            eprintln!(
                "wasmprof: {:.0} % of its stacks go on behind what perf copied of them: record with --call-graph dwarf,32768 (65528 at \
                 most)",
                cut as f64 * 100.0 / copies as f64
            );
        } else if !has_chains && copies == 0 {
            eprintln!("wasmprof: it has no callers: record with -g");
        }
        for note in notes.iter() {
            eprintln!("wasmprof: {note}");
        }
        for (path, of) in strangers {
            eprintln!("wasmprof: {} describes the code of process {of}, which is not in it", path.display());
        }
        let nameless = print_missing_files(&recording);
        if nameless > 0.05 {
            eprintln!(
                "wasmprof: {:.0} % of its time is in code that nobody names: wasmprof jitdump PID writes what does, as long as the \
                 process lives; name the file behind the perf.data",
                nameless * 100.0
            );
        }
        if others > 0 {
            let event = &recording.info.event;
            eprintln!("wasmprof: {others} samples of other events than {event}, the first, are left out");
        }
        return Ok(recording);
    }
    if &start != MAGIC {
        bail!(
            "{} is neither a recording of wasmprof nor a perf.data: it begins with neither WASMPROF nor PERFILE2",
            data.display()
        );
    }
    let mut recording = open_recording(data)?;
    let mut limits = descriptions::Limits::default();
    for path in described {
        let mut timeline = Timeline::default();
        let read = descriptions::read_file(&path, &mut timeline, &mut limits)?;
        if let Some(note) = read.left_out {
            eprintln!("wasmprof: {note}");
        }
        recording.describe(&timeline);
    }
    Ok(recording)
}

/// Reads a recording that has samples.
fn open_recording(path: &Path) -> Result<Recording> {
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

/// Why names or lines are missing, once for each filter.
pub(super) fn print_problems(recording: &Recording) {
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

/// Says which files stacks end in because nobody could read them, and returns the part of the weight whose innermost frame
/// is of unknown code.
pub(super) fn print_missing_files(recording: &Recording) -> f64 {
    let mut weights =
        vec![0_u64; recording.samples.iter().map(|sample| sample.stack as usize + 1).max().unwrap_or(0)];
    for sample in &recording.samples {
        weights[sample.stack as usize] += sample.weight;
    }
    let (mut ended, mut unknown, mut frames) = (BTreeMap::<&str, u64>::new(), 0, Vec::new());
    let object = |frame: Option<&u32>| frame.map(|frame| recording.frames[*frame as usize].object);
    for (stack, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
        let end = recording.stacks.get(stack as u32, &mut frames);
        if object(frames.first()) == Some(UNKNOWN) {
            unknown += weight;
        }
        if end == End::NoTables
            && let Some(ObjectInfo::Host { path, reached: None, .. }) =
                object(frames.last()).and_then(|id| recording.object(id))
        {
            *ended.entry(path).or_default() += weight;
        }
    }
    let share = |weight: u64| weight as f64 / recording.weight().max(1) as f64;
    for (path, weight) in ended.into_iter().filter(|(_, weight)| share(*weight) > 0.01) {
        eprintln!(
            "wasmprof: {:.0} % of the stacks end in {path}, a file that cannot be read: what called it is not known",
            share(weight) * 100.0
        );
    }
    share(unknown)
}
