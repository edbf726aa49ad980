//! Prints the benchmark table: `make bench`.
//!
//!     bench [--counter perf|callgrind|cpu] [light] [heavy] [parked] [control] [large] [editor] [profiler]

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use wasmdbg_tests::bench::counter::Method;
use wasmdbg_tests::bench::table::{Row, render};
use wasmdbg_tests::bench::variant::{Variant, baseline};
use wasmdbg_tests::bench::{
    editor, heavy, jitdump, large, light, machine, parked, profiler, recording, untouched,
};

const USAGE: &str = "usage: bench [--counter perf|callgrind|cpu] [light] [heavy] [parked] [control] [large] [editor] [profiler]";
const PARTS: [&str; 7] = ["light", "heavy", "parked", "control", "large", "editor", "profiler"];

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(missed) => {
            eprintln!("bench: {missed} rows miss what they must be");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Prints the table and returns how many rows miss what they must be.
fn run() -> Result<usize> {
    let mut method = None;
    let mut parts = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--counter" => method = Some(Method::parse(&arguments.next().context(USAGE)?)?),
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(0);
            }
            part if PARTS.contains(&part) => parts.push(argument),
            other => bail!("unknown argument {other}\n{USAGE}"),
        }
    }
    if parts.is_empty() {
        parts = PARTS.map(String::from).to_vec();
    }
    let method = method.unwrap_or_else(Method::best);
    let start = Instant::now();
    let rows = measure(method, &parts);
    println!("{}", machine::describe());
    println!("{}", machine::versions());
    println!("counted: {}", method.describe());
    println!(
        "all in interleaved rounds: of counts the lowest, of rates and ratios the median; {} s in all\n",
        start.elapsed().as_secs()
    );
    print!("{}", render(&rows));
    Ok(rows.iter().filter(|row| row.is_missed()).count())
}

/// All rows; what could not be measured is a row that says so.
fn measure(method: Method, parts: &[String]) -> Vec<Row> {
    let wanted = |part: &str| parts.iter().any(|own| own == part);
    let mut rows = Vec::new();
    let mut add = |what: &str, result: Result<Vec<Row>>| match result {
        Ok(more) => rows.extend(more),
        Err(error) => {
            eprintln!("bench: {what}: {error:#}");
            rows.push(Row::failed(what, &error));
        }
    };
    let variants = variants(&wanted);
    let costs = if variants.is_empty() {
        Ok(Vec::new())
    } else {
        progress("light filter: what each variant costs per request");
        light::measure(method, &variants)
    };
    let costs = costs.unwrap_or_else(|error| {
        add("light filter", Err(error));
        Vec::new()
    });
    if wanted("light") {
        add("light filter", light::rows(method, &costs));
    }
    if wanted("heavy") {
        progress("heavy filter: one and two event threads");
        add("heavy filter", heavy::rows());
    }
    if wanted("parked") {
        progress("throughput of others while a request is parked");
        add("a request parked", parked::rows());
        add("a request parked", light::parked_row(method, &costs).map(|row| vec![row]));
    }
    if wanted("control") {
        add("control socket", light::control_row(method, &costs).map(|row| vec![row]));
    }
    if wanted("large") {
        progress("a large module: attach, stop and step");
        add("large module", large::rows());
    }
    if wanted("editor") {
        progress("an editor: attach, variables, step");
        add("editor", editor::rows());
    }
    if wanted("profiler") {
        progress("the profiler: throughput lost while it records");
        add("profiler", profiler::rows());
        progress("the profiler: 143,000 samples of several filters, twice");
        add("a long recording", recording::rows());
        progress("the profiler: jitdumps");
        add("jitdump", jitdump::rows());
        add("stop at attach", untouched::rows());
    }
    rows
}

/// Which forms of the light filter the parts need.
fn variants(wanted: &impl Fn(&str) -> bool) -> Vec<Variant> {
    let mut variants = Vec::new();
    if wanted("light") {
        variants.extend([Variant::Nothing, Variant::Native, Variant::HeaderRewrite, Variant::Lua]);
    }
    if wanted("light") || wanted("parked") || wanted("control") {
        variants.push(Variant::Wasm);
    }
    if wanted("light") && baseline().is_some() {
        variants.push(Variant::WasmBefore);
    }
    if wanted("parked") {
        variants.push(Variant::WasmParked);
    }
    if wanted("control") {
        variants.push(Variant::WasmNoControl);
    }
    variants
}

fn progress(what: &str) {
    eprintln!("bench: {what}");
}
