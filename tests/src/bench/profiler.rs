//! What `wasmprof record` costs a proxy under load, and what it finds there.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::ats::Ats;
use crate::bench::parked::load;
use crate::bench::rounds::median;
use crate::bench::table::{Row, Verdict};
use crate::bench::variant::Variant;
use crate::process::product;
use crate::scratch::Scratch;

const ROUNDS: usize = 7;
/// Samples a second of CPU time, with the part of the throughput that may be lost: must and aim.
const RATES: [(&str, f64, f64); 2] = [("99", 0.01, 0.004), ("999", 0.02, 0.015)];

/// The rows: throughput with a recording under way against without, and the last recording's own account.
///
/// # Errors
/// When a recording fails, or a request is not answered with 200.
pub fn rows() -> Result<Vec<Row>> {
    let folder = Scratch::new("bench")?;
    let server = Variant::Wasm.options(folder.path())?.start()?;
    Variant::Wasm.check(&server)?;
    // Not counted: fills the RAM cache.
    load(server.address())?;
    let mut rows = Vec::new();
    for (rate, must, aim) in RATES {
        let (mut ratios, mut said) = (Vec::new(), String::new());
        for round in 0..ROUNDS {
            // The order changes, so that a machine that gets slower or faster favours neither.
            let (free, recorded) = if round % 2 == 0 {
                let free = load(server.address())?;
                (free, recorded(&server, &folder, rate, &mut said)?)
            } else {
                let recorded = recorded(&server, &folder, rate, &mut said)?;
                (load(server.address())?, recorded)
            };
            ratios.push(recorded / free);
        }
        let lost = 1.0 - median(&ratios);
        let (low, high) = (percent(must), percent(aim));
        rows.push(
            Row::shown(
                format!("throughput lost to `wasmprof record -F {rate}`, whole stacks"),
                format!("{:.1} %", lost * 100.0),
            )
            .limits(format!("≤ {low}"), high, Verdict::at_most(lost, must, aim)),
        );
        for line in said.lines().filter(|line| {
            ["samples in", "in modules", "own cost", "innermost"].iter().any(|part| line.contains(part))
        }) {
            rows.push(Row::shown(format!("  it says: {}", line.trim()), ""));
        }
    }
    Ok(rows)
}

fn percent(share: f64) -> String {
    format!("{} %", (share * 1000.0).round() / 10.0)
}

/// Requests per second while a recording is under way.
fn recorded(server: &Ats, folder: &Scratch, rate: &str, said: &mut String) -> Result<f64> {
    let out = folder.path().join("bench.wasmprof").display().to_string();
    let pid = server.pid().to_string();
    let recorder = Command::new(product("wasmprof")?)
        .args(["record", "-q", "-p", &pid, "-F", rate, "-d", "4", "-o", &out])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start wasmprof")?;
    let requests = load(server.address());
    let output = recorder.wait_with_output()?;
    ensure!(output.status.success(), "wasmprof: {}", String::from_utf8_lossy(&output.stderr));
    *said = String::from_utf8_lossy(&output.stdout).into_owned();
    requests
}
