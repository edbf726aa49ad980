//! The arguments of `wasmprof record`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use lexopt::prelude::{Long, Short, Value, ValueExt};
use wasmdbg_profiler::perf::{Event, Options};
use wasmdbg_profiler::profile::Folding;

use crate::command::control::Control;
use crate::command::input::{lines, number};
use crate::command::target::Chosen;

pub(super) const HELP: &str = "\
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
pub(super) const DEFAULT_STACK: u32 = 32_768;

const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// What was asked for.
pub(super) struct Arguments {
    pub(super) chosen: Chosen,
    pub(super) options: Options,
    pub(super) duration: Duration,
    pub(super) samples: Option<u64>,
    pub(super) output: Option<PathBuf>,
    pub(super) modules: Vec<PathBuf>,
    pub(super) code: Vec<PathBuf>,
    pub(super) folding: Folding,
    pub(super) control: Option<Control>,
    /// None: sampling waits to be enabled.
    pub(super) delay: Option<Duration>,
    pub(super) quiet: bool,
}

/// Reads them; `None`: help was asked for.
pub(super) fn parse(arguments: Vec<OsString>) -> Result<Option<Arguments>> {
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

fn seconds(text: &str) -> Result<Duration> {
    let Ok(number) = text.trim_end_matches('s').parse::<f64>() else {
        bail!("{text:?} is no number of seconds");
    };
    match Duration::try_from_secs_f64(number) {
        Ok(duration) => Ok(duration),
        Err(_) => bail!("{text:?} is no number of seconds: 0 records until Ctrl-C"),
    }
}
