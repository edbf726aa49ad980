//! A filter that does almost nothing, on a RAM-cache hit: what each variant costs per request over no
//! plugin, and what the control socket costs while nobody is attached.

use anyhow::{Context, Result};

use crate::ats::Ats;
use crate::bench::batch::Batch;
use crate::bench::counter::{Meter, Method};
use crate::bench::rounds::range;
use crate::bench::table::{Row, Verdict};
use crate::bench::variant::{LIGHT, Variant, request};
use crate::scratch::Scratch;

/// Connections with one request in flight each.
const CONNECTIONS: usize = 32;
/// Batches before the first measurement: pools grow, LuaJIT compiles, the object gets into the RAM
/// cache.
const WARM_UP: usize = 40;

/// Costs of one variant per request, a value for each round.
#[derive(Debug)]
pub struct Cost {
    variant: Variant,
    rounds: Vec<f64>,
}

struct Subject {
    cost: Cost,
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
        let server = variant.options(folder.path())?.under(&meter.wrapper(variant.name())).start()?;
        variant.check(&server)?;
        let mut batch = Batch::open(&server, CONNECTIONS, request(LIGHT))?;
        batch.run(WARM_UP)?;
        subjects.push(Subject { cost: Cost { variant, rounds: Vec::new() }, server, batch });
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
    Ok(subjects.into_iter().map(|subject| subject.cost).collect())
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
    Ok(vec![
        Row::shown(title, format!("no plugin: {nothing:.1}")),
        shown(Variant::Native, native),
        shown(Variant::HeaderRewrite, over(Variant::HeaderRewrite)?),
        shown(Variant::Lua, lua),
        shown(Variant::Wasm, wasm).limits(
            format!("≤ {lua:.1} (tslua)"),
            aim,
            Verdict::at_most(wasm, lua, limit),
        ),
    ])
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
