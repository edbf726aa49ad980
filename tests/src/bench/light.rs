//! A filter that does almost nothing, on a RAM-cache hit: what each variant costs per request over no
//! plugin, what the control socket costs while nobody is attached, and what a stopped request costs the
//! others.

use anyhow::{Context, Result};

use crate::ats::Ats;
use crate::bench::batch::Batch;
use crate::bench::counter::{Meter, Method};
use crate::bench::rounds::range;
use crate::bench::session::Session;
use crate::bench::table::{Row, Verdict};
use crate::bench::variant::{FILTER, LIGHT, Variant, request};
use crate::http::Connection;
use crate::scratch::Scratch;

/// Connections with one request in flight each.
const CONNECTIONS: usize = 32;
/// Batches before the first measurement: pools grow, LuaJIT compiles, the object gets into the RAM
/// cache.
const WARM_UP: usize = 40;

/// Intervals, in milliseconds, of what the server's event thread does by time and not by requests:
/// writing its statistics out is worth as much as four hundred requests.
const PERIODIC: [&str; 3] = [
    "proxy.config.remote_sync_interval_ms",
    "proxy.config.raw_stat_sync_interval_ms",
    "proxy.config.config_update_interval_ms",
];

/// Costs of one variant per request, a value for each round.
#[derive(Debug)]
pub struct Cost {
    variant: Variant,
    rounds: Vec<f64>,
}

struct Subject {
    cost: Cost,
    /// Gone before its server.
    stopped: Option<(Session, Connection)>,
    server: Ats,
    batch: Batch,
}

/// Measures the variants in turns.
///
/// # Errors
/// When one of them does not start, does not do its work, or cannot be measured.
pub fn measure(method: Method, variants: &[Variant]) -> Result<Vec<Cost>> {
    let meter = Meter::new(method)?;
    let folder = Scratch::new("bench")?;
    let mut subjects = Vec::new();
    for &variant in variants {
        let mut options = variant.options(folder.path())?.under(&meter.wrapper(variant.name()));
        for interval in PERIODIC {
            options = options.record(&format!("{interval} INT 3600000"));
        }
        let server = options.start()?;
        variant.check(&server)?;
        let mut batch = Batch::open(&server, CONNECTIONS, request(LIGHT))?;
        batch.run(WARM_UP)?;
        let stopped = if variant == Variant::WasmParked { Some(stop(&server)?) } else { None };
        subjects.push(Subject { cost: Cost { variant, rounds: Vec::new() }, stopped, server, batch });
    }
    for _ in 0..method.rounds() {
        for subject in &mut subjects {
            let batch = &mut subject.batch;
            let mut requests = 0;
            let total = meter.measure(subject.cost.variant.name(), &subject.server, || {
                requests = batch.run(method.batches())?;
                Ok(())
            })?;
            #[allow(clippy::cast_precision_loss)]
            subject.cost.rounds.push(total / requests as f64);
        }
    }
    let mut costs = Vec::new();
    for Subject { cost, stopped, .. } in subjects {
        if let Some((session, connection)) = stopped {
            // It was stopped all the time, or was it?
            session.detach(Some(connection))?;
        }
        costs.push(cost);
    }
    Ok(costs)
}

fn stop(server: &Ats) -> Result<(Session, Connection)> {
    let mut session = Session::attach(server, FILTER)?;
    let (connection, _) = session.stop(server, &request(LIGHT))?;
    Ok((session, connection))
}

/// The rows of the light filter.
///
/// # Errors
/// When a variant is missing among the costs.
pub fn rows(method: Method, costs: &[Cost]) -> Result<Vec<Row>> {
    let nothing = of(costs, Variant::Nothing)?;
    let over = |variant: Variant| -> Result<f64> { Ok(of(costs, variant)? - nothing) };
    let native = over(Variant::Native)?;
    let lua = over(Variant::Lua)?;
    let wasm = over(Variant::Wasm)?;
    // Four thousand instructions have no equal in microseconds.
    let (aim, limit) = match method {
        Method::CpuTime => (String::new(), lua),
        Method::Perf | Method::Callgrind => (format!("≤ {:.1} (native + 4)", native + 4.0), native + 4.0),
    };
    let title =
        format!("light filter, RAM-cache hit, 1 event thread: {} per request over no plugin", method.unit());
    let shown =
        |variant: Variant, value: f64| Row::shown(format!("  {}", variant.name()), format!("{value:+.1}"));
    let mut rows = vec![
        Row::shown(title, format!("no plugin: {nothing:.1}")),
        shown(Variant::Native, native),
        shown(Variant::HeaderRewrite, over(Variant::HeaderRewrite)?),
        shown(Variant::Lua, lua),
        shown(Variant::Wasm, wasm).limits(
            format!("≤ {lua:.1} (tslua)"),
            aim,
            Verdict::at_most(wasm, lua, limit),
        ),
    ];
    if costs.iter().any(|cost| cost.variant == Variant::WasmBefore) {
        rows.push(shown(Variant::WasmBefore, over(Variant::WasmBefore)?));
    }
    Ok(rows)
}

/// The row of the parked request, by instructions.
///
/// # Errors
/// When a variant is missing among the costs.
pub fn parked_row(method: Method, costs: &[Cost]) -> Result<Row> {
    let free = of(costs, Variant::Wasm)?;
    let parked = of(costs, Variant::WasmParked)?;
    let what = format!("  {} of the others per request", method.unit());
    let result = format!("{:+.1} % ({parked:.1} against {free:.1})", (parked / free - 1.0) * 100.0);
    Ok(Row::shown(what, result))
}

/// The row of the control socket.
///
/// # Errors
/// When a variant is missing among the costs.
pub fn control_row(method: Method, costs: &[Cost]) -> Result<Row> {
    let on = of(costs, Variant::Wasm)?;
    let off = of(costs, Variant::WasmNoControl)?;
    let percent = (on / off - 1.0) * 100.0;
    let what = format!("control socket on, nobody attached, against off: {} per request", method.unit());
    // What rounds differ by anyway is no cost.
    let verdict = Verdict::at_most(percent, 1.0, 0.1);
    Ok(Row::shown(what, format!("{percent:+.2} % ({on:.2} against {off:.2})")).limits("≤ 1 %", "0", verdict))
}

/// The lowest round: what disturbs a round, such as the server's own periodic work, only adds.
fn of(costs: &[Cost], variant: Variant) -> Result<f64> {
    let cost = costs.iter().find(|cost| cost.variant == variant);
    Ok(range(&cost.with_context(|| format!("{} was not measured", variant.name()))?.rounds).0)
}
