//! What a jitdump on demand costs the proxy.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::ats::{Ats, Filter};
use crate::bench::rounds::median;
use crate::bench::table::{Row, Verdict};
use crate::build;
use crate::http::Request;
use crate::process::{product, repository};
use crate::scratch::Scratch;

/// Servers for each filter: only the first jitdump of a server reads the filter's debug info.
const SERVERS: usize = 5;

/// The rows: a small filter and one with 2.4 MB of code.
///
/// # Errors
/// When a filter cannot be built or a jitdump is not written.
pub fn rows() -> Result<Vec<Row>> {
    let folder = Scratch::new("bench")?;
    let small = repository().join("profiler/tests/fixtures/shares_first.wasm");
    let large = build::large(&folder)?;
    let mut rows = Vec::new();
    for (module, must, aim) in [(&small, 1.0, 0.5), (&large, 50.0, 25.0)] {
        let (milliseconds, said) = measure(module)?;
        let what = format!("jitdump on demand of a filter of {}", size(module)?);
        let result = format!("{milliseconds:.1} ms CPU in the proxy, {said}");
        let verdict = Verdict::at_most(milliseconds, must, aim);
        rows.push(Row::shown(what, result).limits(format!("≤ {must} ms"), format!("{aim} ms"), verdict));
    }
    Ok(rows)
}

/// Milliseconds that the proxy says of its first jitdump, the median of some proxies, and what is in it.
fn measure(module: &Path) -> Result<(f64, String)> {
    let (mut times, mut pieces) = (Vec::new(), String::new());
    for _ in 0..SERVERS {
        let server = Ats::options().filter(Filter::new("bench", module)).start()?;
        server.fetch(&Request::get("/cache/100/bench"))?;
        let output =
            Command::new(product("wasmprof")?).args(["jitdump", &server.pid().to_string()]).output()?;
        ensure!(output.status.success(), "wasmprof: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout)?;
        let (time, (path, what)) = parse(&said).with_context(|| format!("what is this: {said}"))?;
        std::fs::remove_file(path).with_context(|| path.to_owned())?;
        times.push(time);
        pieces = what.to_owned();
    }
    Ok((median(&times), pieces))
}

/// `/tmp/jit-7.dump: 14 pieces of code, 11353 bytes, 0.3 ms CPU in the proxy`: the time, the path, the pieces.
fn parse(said: &str) -> Option<(f64, (&str, &str))> {
    let (path, rest) = said.lines().next()?.split_once(": ")?;
    let mut parts = rest.split(", ");
    let pieces = parts.next()?;
    let time = parts.nth(1)?.split(' ').next()?;
    Some((time.parse().ok()?, (path, pieces)))
}

fn size(module: &Path) -> Result<String> {
    #[allow(clippy::cast_precision_loss)]
    let bytes = std::fs::metadata(module)?.len() as f64;
    Ok(if bytes < 1e6 { format!("{:.0} kB", bytes / 1e3) } else { format!("{:.1} MB", bytes / 1e6) })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_the_command_says_is_read() {
        let said = "/tmp/jit-7.dump: 14 pieces of code, 11353 bytes, 0.3 ms CPU in the proxy\nthen: perf\n";
        assert_eq!(parse(said), Some((0.3, ("/tmp/jit-7.dump", "14 pieces of code"))));
        assert_eq!(parse("error"), None);
    }
}
