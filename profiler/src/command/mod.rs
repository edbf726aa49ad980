//! The commands of `wasmprof`, one file each.

/// Prints a line. Who reads it may have heard enough (`| head`): that must not end a recording.
macro_rules! say {
    ($($text:tt)*) => {{
        let mut out = std::io::stdout().lock();
        let _ = std::io::Write::write_fmt(&mut out, format_args!($($text)*));
        let _ = std::io::Write::write_all(&mut out, b"\n");
    }};
}

mod code_map;
mod control;
mod doctor;
mod export;
mod flamegraph;
mod input;
mod interrupt;
mod output;
mod place;
mod record;
mod report;
mod target;

use std::ffi::OsString;

use anyhow::{Result, bail};
use wasmdbg_control::code::CodeMapFormat;

const HELP: &str = "\
wasmprof: where do the filters of a running proxy spend their time?

usage: wasmprof COMMAND [OPTION…]

  record      sample a running process: -p PID, -o out.svg (wasmprof record --help)
  report      the top of a recording as a table, by self and total
  export      a recording as collapsed stacks, SVG or JSON
  flamegraph  a flame graph of a recording, or of perf.data with what names its code
  jitdump     let the proxy write a jitdump, by which perf resolves its filters
  perfmap     let the proxy write a perf map, for names alone
  doctor      what is allowed here, and what to change

Recordings end with .wasmprof; record -o out.svg keeps one as out.wasmprof.
";

/// Runs the command that the arguments name.
pub(crate) fn run(mut arguments: Vec<OsString>) -> Result<()> {
    if arguments.is_empty() {
        say!("{}", HELP.trim_end());
        return Ok(());
    }
    let name = arguments.remove(0);
    match name.to_str() {
        Some("record") => record::run(arguments),
        Some("report") => report::run(arguments),
        Some("export") => export::run(arguments),
        Some("flamegraph") => flamegraph::run(arguments),
        Some("jitdump") => code_map::run(CodeMapFormat::Jitdump, arguments),
        Some("perfmap") => code_map::run(CodeMapFormat::PerfMap, arguments),
        Some("doctor") => doctor::run(arguments),
        Some("--help" | "-h" | "help") => {
            say!("{}", HELP.trim_end());
            Ok(())
        }
        Some("--version" | "-V") => {
            say!("wasmprof {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        _ => bail!("there is no command {}: see wasmprof --help", name.display()),
    }
}
