//! A filter that computes: does a second event thread double the work done, as for native code?

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::ats::Ats;
use crate::bench::rounds::median;
use crate::bench::table::{Row, Verdict};
use crate::bench::variant::{HEAVY, Variant, baseline, request};
use crate::load::{Load, Plan};
use crate::scratch::Scratch;

/// Clients of every server. They come at the same time and event threads take new connections in
/// turns, so each thread has half of them. Few: the clients need a CPU as well.
const CLIENTS: usize = 8;
const ROUNDS: usize = 7;
const STRETCH: Duration = Duration::from_millis(1500);

/// A server with one and one with two event threads, both loaded with one variant.
struct Pair {
    variant: Variant,
    servers: [Ats; 2],
    /// Requests per second, by event threads, for each round.
    rates: [Vec<f64>; 2],
}

/// The rows of the heavy filter.
///
/// # Errors
/// When a server does not start or answers wrongly.
pub fn rows() -> Result<Vec<Row>> {
    let folder = Scratch::new("bench")?;
    let mut pairs = Vec::new();
    let before = baseline().map(|_| Variant::WasmBefore);
    for variant in [Variant::Native, Variant::Wasm].into_iter().chain(before) {
        let options = variant.options(folder.path())?;
        let servers = [options.clone().event_threads(1).start()?, options.event_threads(2).start()?];
        for server in &servers {
            variant.check(server)?;
        }
        pairs.push(Pair { variant, servers, rates: [Vec::new(), Vec::new()] });
    }
    for _ in 0..ROUNDS {
        for threads in 0..2 {
            for pair in &mut pairs {
                let rate = measure(&pair.servers[threads])?;
                pair.rates[threads].push(rate);
            }
        }
    }
    let scalings: Vec<Vec<f64>> = pairs.iter().map(scaling).collect();
    let ratios: Vec<f64> = scalings[0].iter().zip(&scalings[1]).map(|(native, wasm)| wasm / native).collect();
    let ratio = median(&ratios);
    let title =
        "heavy filter (a million divisions), 1 → 2 event threads: scaling against the native plugin's";
    let mut rows = vec![Row::shown(title, format!("{ratio:.3}")).limits(
        "≥ 0.97",
        "1.00",
        // Equal within what rounds differ by.
        Verdict::at_least(ratio, 0.97, 0.995),
    )];
    for (pair, scaling) in pairs.iter().zip(&scalings) {
        let [one, two] = [median(&pair.rates[0]), median(&pair.rates[1])];
        let result = format!("{one:.0} → {two:.0} requests/s, ×{:.2}", median(scaling));
        rows.push(Row::shown(format!("  {}", pair.variant.name()), result));
    }
    Ok(rows)
}

fn scaling(pair: &Pair) -> Vec<f64> {
    pair.rates[0].iter().zip(&pair.rates[1]).map(|(one, two)| two / one).collect()
}

fn measure(server: &Ats) -> Result<f64> {
    let mut load = Load::start(server.address(), &Plan::new(CLIENTS, request(HEAVY)));
    // The first requests open connections.
    std::thread::sleep(Duration::from_millis(200));
    load.lap();
    std::thread::sleep(STRETCH);
    let lap = load.lap();
    ensure!(lap.errors == 0, "{} errors: {:?}", lap.errors, lap.first_error);
    #[allow(clippy::cast_precision_loss)]
    Ok(lap.requests as f64 / lap.time.as_secs_f64())
}
