//! How long a person waits with a large module: attach, stop, step.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::ats::{Ats, Filter};
use crate::bench::rounds::median;
use crate::bench::session::{Lane, Session, source};
use crate::bench::table::Row;
use crate::bench::variant::{LIGHT, request};
use crate::process;

const FILTER: &str = "large";
const ATTACHES: usize = 5;
const STOPS: usize = 10;
const STEPS: usize = 3;

/// The rows of the large module.
///
/// # Errors
/// When it cannot be built, attached to, stopped or stepped.
pub fn rows() -> Result<Vec<Row>> {
    let module = module()?;
    let size = std::fs::metadata(&module)?.len();
    let filter = Filter::new(FILTER, &module).configuration("token quiet");
    let server = Ats::options().compile_anew().filter(filter).start()?;
    server.fetch(&request(LIGHT))?;

    let first = Session::attach(&server, FILTER)?;
    let first_time = milliseconds(first.attach_time);
    let Lane::Compiled(compiled) = first.lane()? else {
        bail!("the first attach did not compile its debug lane: whose cache is it?");
    };
    first.detach(None)?;
    let (mut attaches, mut lanes) = (Vec::new(), Vec::new());
    for _ in 0..ATTACHES {
        let session = Session::attach(&server, FILTER)?;
        let Lane::Cached(lane) = session.lane()? else {
            bail!("a later attach compiled its debug lane anew")
        };
        lanes.push(lane);
        attaches.push(milliseconds(session.attach_time));
        session.detach(None)?;
    }
    let mut session = Session::attach(&server, FILTER)?;
    let (mut stops, mut steps) = (Vec::new(), Vec::new());
    let mut before = None;
    for _ in 0..STOPS {
        let (connection, time) = session.stop(&server, &request(LIGHT))?;
        stops.push(milliseconds(time));
        for _ in 0..STEPS {
            steps.push(milliseconds(session.step_over()?));
        }
        // The one stopped before went on when this one was waited for.
        if let Some(mut passed) = before.replace(connection) {
            passed.receive()?;
        }
    }
    session.detach(before)?;

    let (attach, lane) = (median(&attaches), median(&lanes));
    #[allow(clippy::cast_precision_loss)]
    let megabytes = size as f64 / 1e6;
    let shown =
        |what: &str, result: String, aim: &str, reached: bool| Row::shown(what, result).aim(aim, reached);
    let (stop, step) = (median(&stops), median(&steps));
    Ok(vec![
        Row::shown(
            format!("Rust module of {megabytes:.1} MB with full DWARF: first attach → bound breakpoint"),
            format!("{first_time:.0} ms, {compiled:.0} ms of it compiling the debug lane"),
        ),
        shown(
            "  later attaches, debug lane from the disk cache",
            format!("{attach:.0} ms, {lane:.0} ms of it the lane"),
            "60 ms + lane",
            attach <= 60.0 + lane,
        ),
        shown(
            "  request sent → stop and its source line printed",
            format!("{stop:.1} ms"),
            "5 ms",
            stop <= 5.0,
        ),
        shown("  next → line printed", format!("{step:.1} ms"), "2 ms", step <= 2.0),
    ])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The token filter with all of std's debug info, built when it is absent or older than its source.
///
/// # Errors
/// When there is no compiler for it.
pub fn module() -> Result<PathBuf> {
    let repository = process::repository();
    let cache = std::env::var_os("WASMDBG_CACHE").map_or_else(|| repository.join(".cache"), PathBuf::from);
    let module = cache.join("bench/rust-token.full.wasm");
    let changed = |path: &PathBuf| std::fs::metadata(path).and_then(|metadata| metadata.modified());
    if changed(&module).is_ok_and(|built| changed(&source()).is_ok_and(|source| source < built)) {
        return Ok(module);
    }
    eprintln!("bench: building the large module (a few minutes, the first time)");
    let output = Command::new(repository.join("examples/build-filters.sh"))
        .args(["--install", "--full-dwarf"])
        .arg(&module)
        .output()
        .context("cannot run examples/build-filters.sh")?;
    ensure!(output.status.success(), "build-filters.sh: {}", String::from_utf8_lossy(&output.stderr));
    Ok(module)
}
