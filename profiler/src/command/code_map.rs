//! `wasmprof jitdump` and `wasmprof perfmap`: the plugin writes the file, since it is the plugin's code.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};
use lexopt::prelude::{Long, Short, Value, ValueExt};
use wasmdbg_control::code::{CodeMapFormat, WriteCodeMap};
use wasmdbg_profiler::target::Target;

use super::target::{Chosen, connect};

pub(super) fn run(format: CodeMapFormat, arguments: Vec<OsString>) -> Result<()> {
    let name = match format {
        CodeMapFormat::Jitdump => "jitdump",
        CodeMapFormat::PerfMap => "perfmap",
    };
    let mut chosen = Chosen::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('p') | Long("pid") => chosen.pid = Some(parser.value()?.parse()?),
            Long("socket") => chosen.socket = Some(parser.value()?.into()),
            Value(value) if chosen.pid.is_none() => chosen.pid = Some(value.parse()?),
            Short('h') | Long("help") => {
                say!("usage: wasmprof {name} [PID | --socket SOCKET]");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let client = connect(&chosen)?;
    if !client.welcome().capabilities.iter().any(|capability| capability == "code") {
        bail!("the proxy's wasmdbg.so is too old for this: upgrade it and restart the proxy");
    }
    let written = client.call(WriteCodeMap { format })?;
    // The proxy names the file as it sees it.
    let root = Target::open(client.pid()).map_or_else(|_| PathBuf::from("/"), |target| target.root());
    say!(
        "{}: {} pieces of code, {} bytes, {:.1} ms CPU in the proxy",
        root.join(written.path.trim_start_matches('/')).display(),
        written.entries,
        written.size,
        written.cpu_us as f64 / 1000.0
    );
    match format {
        CodeMapFormat::Jitdump => {
            say!(
                "then: perf record -k mono --call-graph dwarf,32768 …; wasmprof flamegraph perf.data (or perf inject --jit, perf report)"
            );
        }
        CodeMapFormat::PerfMap => say!("then: perf record …; perf report"),
    }
    Ok(())
}
