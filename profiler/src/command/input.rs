//! What is read: recordings, and perf.data with what names its code.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use lexopt::Parser;
use lexopt::prelude::ValueExt;
use wasmdbg_profiler::code::timeline::Timeline;
use wasmdbg_profiler::import::Imported;
use wasmdbg_profiler::recording::{MAGIC, ObjectInfo, Recording};
use wasmdbg_profiler::space::UNKNOWN;
use wasmdbg_profiler::unwind::End;
use wasmdbg_profiler::{descriptions, import};

use super::record;

/// The value of an option that wants a number.
pub(super) fn number<T: FromStr>(parser: &mut Parser, option: &str) -> Result<T> {
    let text = parser.value()?.string()?;
    text.parse().map_err(|_| anyhow::anyhow!("{option} wants a number, not {text:?}"))
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
        let Imported { recording, others, has_chains, copies, cut, strangers } =
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
        for (path, of) in strangers {
            eprintln!("wasmprof: {} describes the code of process {of}, which is not in it", path.display());
        }
        print_missing_files(&recording);
        let nameless = share_of_unknown(&recording);
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
    let mut recording = record::open(data)?;
    for path in described {
        let mut timeline = Timeline::default();
        descriptions::read_file(&path, &mut timeline)?;
        recording.describe(&timeline);
    }
    Ok(recording)
}
/// The part of the weight whose innermost frame is of unknown code.
fn share_of_unknown(recording: &Recording) -> f64 {
    let mut unknown = 0;
    each_stack(recording, |frames, _, weight| {
        let is_unknown = |frame: &u32| recording.frames[*frame as usize].object == UNKNOWN;
        unknown += if frames.first().is_some_and(is_unknown) { weight } else { 0 };
    });
    unknown as f64 / recording.weight().max(1) as f64
}

/// Says which files stacks end in because nobody could read them.
pub(super) fn print_missing_files(recording: &Recording) {
    let mut ended: BTreeMap<&str, u64> = BTreeMap::new();
    each_stack(recording, |frames, end, weight| {
        let object = frames.last().map(|frame| recording.frames[*frame as usize].object);
        if let Some(ObjectInfo::Host { path, reached: None, .. }) = object.and_then(|id| recording.object(id))
            && end == End::NoTables
        {
            *ended.entry(path).or_default() += weight;
        }
    });
    for (path, weight) in ended {
        let share = weight as f64 / recording.weight().max(1) as f64;
        if share > 0.01 {
            eprintln!(
                "wasmprof: {:.0} % of the stacks end in {path}, a file that cannot be read: what called it is not known",
                share * 100.0
            );
        }
    }
}

/// Gives each stack with its weight once.
fn each_stack(recording: &Recording, mut each: impl FnMut(&[u32], End, u64)) {
    let mut weights: HashMap<u32, u64> = HashMap::new();
    for sample in &recording.samples {
        *weights.entry(sample.stack).or_default() += sample.weight;
    }
    let mut frames = Vec::new();
    for (stack, weight) in weights {
        let end = recording.stacks.get(stack, &mut frames);
        each(&frames, end, weight);
    }
}
