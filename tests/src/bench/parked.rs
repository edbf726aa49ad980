//! Is anybody else slower while one request is stopped at a breakpoint?

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::bench::rounds::median;
use crate::bench::session::Session;
use crate::bench::table::{Row, Verdict};
use crate::bench::variant::{FILTER, LIGHT, Variant, request};
use crate::scratch::Scratch;

const ROUNDS: usize = 7;
const SECONDS: u32 = 3;
/// Connections of the load, as of the measurements with a fixed number of requests.
const CONNECTIONS: u32 = 32;

/// The row of the parked request: a session is attached and holds one request, against no session.
///
/// # Errors
/// When the debugger does not stop the request, or one of the others is not answered with 200.
pub fn rows() -> Result<Vec<Row>> {
    let folder = Scratch::new("bench")?;
    let server = Variant::Wasm.options(folder.path())?.start()?;
    Variant::Wasm.check(&server)?;
    // Not counted: fills the RAM cache, and the first attach compiles the debug lane.
    load(server.address(), SECONDS)?;
    Session::attach(&server, FILTER)?.detach(None)?;
    let mut ratios = Vec::new();
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        let free = |rates: &mut [Vec<f64>; 2]| -> Result<f64> {
            let rate = load(server.address(), SECONDS)?;
            rates[0].push(rate);
            Ok(rate)
        };
        let parked = |rates: &mut [Vec<f64>; 2]| -> Result<f64> {
            let mut session = Session::attach(&server, FILTER)?;
            let (connection, _) = session.stop(&server, &request(LIGHT))?;
            let rate = load(server.address(), SECONDS)?;
            session.detach(Some(connection))?;
            rates[1].push(rate);
            Ok(rate)
        };
        // The order changes, so that a machine that gets slower or faster favours neither.
        let (free, parked) = if round % 2 == 0 {
            let free = free(&mut rates)?;
            (free, parked(&mut rates)?)
        } else {
            let parked = parked(&mut rates)?;
            (free(&mut rates)?, parked)
        };
        ratios.push(parked / free);
    }
    let ratio = median(&ratios);
    let what =
        "throughput of others, 1 event thread: one request stopped at a breakpoint, against no session";
    let result = format!("{ratio:.3} ({:.0} against {:.0} requests/s)", median(&rates[1]), median(&rates[0]));
    // Equal within what rounds differ by.
    Ok(vec![Row::shown(what, result).limits("≥ 0.97", "1.00", Verdict::at_least(ratio, 0.97, 0.995))])
}

/// Requests per second of `wrk` in closed loop, for some seconds.
///
/// # Errors
/// There is no wrk, or a request is not answered with 200.
pub fn load(address: SocketAddr, seconds: u32) -> Result<f64> {
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s")])
        .args(["-H", &format!("token: {LIGHT}")])
        .arg(format!("http://{address}/cache/100/bench"))
        .output()
        .context("cannot run wrk: `tests/setup/install.sh bench` installs it")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr));
    ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "wrk: {text}");
    parse_rate(&text)
}

fn parse_rate(text: &str) -> Result<f64> {
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    let rate = rate.with_context(|| format!("wrk says no rate:\n{text}"))?;
    rate.trim().parse().context("wrk's rate is no number")
}

#[cfg(test)]
mod tests {
    use super::parse_rate;

    #[test]
    fn the_rate_is_read() {
        assert!((parse_rate("  2 requests\nRequests/sec:  47213.07\n").unwrap() - 47213.07).abs() < 1e-6);
        assert!(parse_rate("unable to connect").is_err());
    }
}
