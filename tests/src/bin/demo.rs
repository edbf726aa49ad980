//! `make demo`: a live request stops at a source line of its filter, and everyone else is served.
//!
//! Starts an isolated Traffic Server with the Rust example, sends background load, and runs the real
//! `wasmdbg`; everything on the terminal is what the programs print. `TOKEN=<number>` debugs a request
//! with that token.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::http::{Pending, Request, Response};
use wasmdbg_tests::load::{Lap, Load, Plan};
use wasmdbg_tests::process::{self, repository};
use wasmdbg_tests::scratch::{PATIENCE, wait_for};
use wasmdbg_tests::wasmdbg::{self, Wasmdbg};

/// A prime, unless the environment names another number.
const DEFAULT_TOKEN: u64 = 1_000_003;
const SOURCE: &str = "examples/rust-token/src/lib.rs";

/// The filter divides by every odd number up to the root: more would take longer than a callback may.
const LARGEST_TOKEN: u64 = 100_000_000_000_000;

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        eprintln!("usage: [TOKEN=NUMBER] demo; it takes no arguments");
        return ExitCode::FAILURE;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn token() -> Result<u64> {
    let Ok(text) = std::env::var("TOKEN") else { return Ok(DEFAULT_TOKEN) };
    match text.trim().parse() {
        Ok(token) if token <= LARGEST_TOKEN => Ok(token),
        _ => bail!("TOKEN={text} is no number up to {LARGEST_TOKEN}: give one, such as 7919"),
    }
}

fn run() -> Result<()> {
    let token = token()?;
    title("An isolated Traffic Server with the plugin and two filters");
    let ats = Ats::options()
        .compile_anew()
        .filter(Filter::example("rust-token", "debug"))
        .filter(Filter::example("cpp-headers", "release").configuration("8192"))
        .start()?;
    println!("process {}, one event thread, http://{}", ats.pid(), ats.address());
    run_plain(&["ps"])?;

    title("Background load: four clients, nobody debugged");
    let plan = Plan::new(4, Request::get("/cache/1000/load").header("token", "7")).every(ms(2));
    let mut load = Load::start(ats.address(), &plan);
    let before = measure(&mut load)?;

    stop_and_look(&ats, token, &mut load, &before)?;
    refuse_another(&ats)?;
    kill_the_debugger(&ats)?;
    optimised()?;
    flame_graph(&ats)?;

    let rest = load.stop();
    ensure!(rest.errors == 0, "the background load saw an error: {:?}", rest.first_error);
    println!();
    println!(
        "The background load went on to the end: {} more requests, {} errors.",
        rest.requests, rest.errors
    );
    let pid = ats.pid();
    let status = ats.stop()?;
    println!("Traffic Server (process {pid}) has ended ({status}); nothing is left running.");
    Ok(())
}

/// Part one: a request with the debug header stops, is looked at, and completes.
fn stop_and_look(ats: &Ats, token: u64, load: &mut Load, before: &Lap) -> Result<()> {
    title("Attach, and a breakpoint at a source line");
    let line = line_of("let prime = is_prime(token)")?;
    let mut debugger = Debugger::attach(ats, "rust-token", &[])?;
    debugger.run(&format!("break lib.rs:{line}"))?;

    title(&format!("A request with the debug header and token {token} stops there"));
    let request = Request::get("/cache/20/debugged").header("token", &token.to_string());
    let pending = debugger.stop(ats, request)?;
    let lap_start = load.lap();
    ensure!(lap_start.errors == 0, "the background load saw an error: {:?}", lap_start.first_error);
    for command in ["bt", "locals", "print token", "list", "step", "finish", "next", "print prime"] {
        debugger.run(command)?;
    }
    ensure!(!pending.is_finished(), "the request did not stay stopped");

    title("Meanwhile the background load goes on");
    let during = measure(load)?;
    println!("{:<34}{:>10}{:>8}{:>12}{:>12}", "", "requests", "errors", "req/s", "p99");
    for (name, lap) in [("before the stop", before), ("while the request is stopped", &during)] {
        let rate = lap.requests as f64 / lap.time.as_secs_f64();
        let p99 = lap.p99.as_secs_f64() * 1000.0;
        println!("{name:<34}{:>10}{:>8}{rate:>12.0}{p99:>9.2} ms", lap.requests, lap.errors);
    }
    ensure!(during.errors == 0, "the background load saw an error: {:?}", during.first_error);

    title("continue: the request completes");
    debugger.resume()?;
    let response = pending.wait()?;
    show(&response);
    let expected = if is_prime(token) { 200 } else { 403 };
    ensure!(response.status == expected, "expected {expected}: {}", ats.diags());
    debugger.leave()?;
    Ok(())
}

/// Part two: the filter refuses a request in the debug lane as it does in the fast lane.
fn refuse_another(ats: &Ats) -> Result<()> {
    title("A second request, which the filter refuses: 403 with the filter's body");
    let mut debugger = Debugger::attach(ats, "rust-token", &["-ex", "break refusal"])?;
    let pending = debugger.stop(ats, Request::get("/cache/20/refused").header("token", "1000001"))?;
    debugger.run("print verdict")?;
    debugger.resume()?;
    let response = pending.wait()?;
    show(&response);
    ensure!(response.status == 403, "expected 403: {}", ats.diags());
    Ok(())
}

/// Part three: the debugger dies while it holds a request.
fn kill_the_debugger(ats: &Ats) -> Result<()> {
    title("kill -9 of the debugger while a request is stopped");
    let mut debugger = Debugger::attach(ats, "rust-token", &["-ex", "break judge"])?;
    let pending = debugger.stop(ats, Request::get("/cache/20/orphan").header("token", "7919"))?;
    println!("$ kill -9 {}", debugger.wasmdbg.pid());
    debugger.wasmdbg.kill()?;
    let killed = Instant::now();
    let response = pending.wait()?;
    let time = killed.elapsed();
    show(&response);
    println!("answered {:.0} ms after the debugger's death", time.as_secs_f64() * 1000.0);
    ensure!(response.status == 200 && time < Duration::from_secs(1), "not released within a second");
    Ok(())
}

/// Part four: inlined frames, in the optimised build of the same filter.
fn optimised() -> Result<()> {
    title("The optimised build: is_prime and judge are inlined, bt shows them all the same");
    let ats = Ats::options().compile_anew().filter(Filter::example("rust-token", "release")).start()?;
    let line = line_of("while divisor <= number / divisor")?;
    let mut debugger = Debugger::attach(&ats, "rust-token", &["-ex", &format!("break lib.rs:{line}")])?;
    let pending = debugger.stop(&ats, Request::get("/cache/20/optimised").header("token", "1000003"))?;
    debugger.run("bt")?;
    debugger.run("delete")?;
    debugger.resume()?;
    let response = pending.wait()?;
    show(&response);
    ensure!(response.status == 200, "expected 200: {}", ats.diags());
    Ok(())
}

/// Part five: where the CPU went, while the background load goes on.
fn flame_graph(ats: &Ats) -> Result<()> {
    title("A flame graph of the background load: nothing is stopped or restarted");
    let graph = std::env::temp_dir().join("wasmdbg-demo.svg");
    let (pid, file) = (ats.pid().to_string(), graph.display().to_string());
    println!("$ wasmprof record -p {pid} -F 499 -d 3 -o {file}");
    let mut command = std::process::Command::new(process::product("wasmprof")?);
    command.args(["record", "-p", &pid, "-F", "499", "-d", "3", "-o", &file]);
    let output = command.output().context("cannot start wasmprof")?;
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Some machines do not let a program be sampled; wasmprof has said what to change.
    if !output.status.success() {
        println!("no flame graph here: `wasmprof doctor` says what is missing");
    }
    Ok(())
}

/// A debugger whose session is shown on the terminal as it goes.
struct Debugger {
    wasmdbg: Wasmdbg,
    header: (String, String),
}

const PROMPT: &str = "(wasmdbg) ";

impl Debugger {
    fn attach(ats: &Ats, filter: &str, further: &[&str]) -> Result<Self> {
        let pid = ats.pid().to_string();
        let mut arguments = vec!["attach", &pid, "--filter", filter];
        arguments.extend(further);
        print_command(&arguments);
        let mut wasmdbg = Wasmdbg::start(&arguments)?;
        wasmdbg.patience = Duration::from_secs(120);
        let text = wasmdbg.until(PROMPT)?;
        print!("{text}");
        let header = generated_header(&text).with_context(|| format!("attach names no header:\n{text}"))?;
        Ok(Self { wasmdbg, header })
    }

    /// Types a command and shows what it prints.
    fn run(&mut self, command: &str) -> Result<()> {
        println!("{PROMPT}{command}");
        self.wasmdbg.send(command)?;
        print!("{}", self.wasmdbg.until(PROMPT)?);
        Ok(())
    }

    /// Sends a request with the debug header, and shows the stop.
    fn stop(&mut self, ats: &Ats, request: Request) -> Result<Pending> {
        let (name, value) = &self.header;
        let request = request.header(name, value);
        println!("a client sends to http://{}:", ats.address());
        println!("> {} {} HTTP/1.1", request.method, request.path);
        for (name, value) in &request.headers {
            println!("> {name}: {value}");
        }
        let pending = Pending::start(ats.address(), request, Duration::from_secs(300));
        print!("{}", self.wasmdbg.until(PROMPT)?);
        if pending.is_finished() {
            bail!("the request did not stop: {:?}", pending.wait()?);
        }
        Ok(pending)
    }

    /// Types `detach`, which ends it.
    fn leave(&mut self) -> Result<()> {
        println!("{PROMPT}detach");
        self.wasmdbg.send("detach")?;
        print!("{}", self.wasmdbg.expect("Detached")?);
        self.wasmdbg.wait(Duration::from_secs(20))?;
        Ok(())
    }

    fn resume(&mut self) -> Result<()> {
        self.run("continue")
    }
}

/// The header to send, as attach prints it: `x-wasmdbg: TOKEN`.
fn generated_header(text: &str) -> Option<(String, String)> {
    let rest = text.split("x-wasmdbg: ").nth(1)?;
    let value = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    Some(("x-wasmdbg".into(), value))
}

/// Runs a command of `wasmdbg` to its end and shows it.
fn run_plain(arguments: &[&str]) -> Result<()> {
    print_command(arguments);
    let output = wasmdbg::run(arguments)?;
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "wasmdbg {} failed", arguments.join(" "));
    Ok(())
}

fn print_command(arguments: &[&str]) {
    let quoted: Vec<String> = arguments
        .iter()
        .map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_string() })
        .collect();
    println!("$ wasmdbg {}", quoted.join(" "));
}

/// Lets the load run until a thousand more requests are answered.
fn measure(load: &mut Load) -> Result<Lap> {
    load.lap();
    wait_for("a thousand requests", PATIENCE, || (load.requests() >= 1000).then_some(()))?;
    Ok(load.lap())
}

fn show(response: &Response) {
    println!("< HTTP/1.1 {}", response.status);
    for name in ["x-token-prime", "x-headers", "content-type"] {
        if let Some(value) = response.header(name) {
            println!("< {name}: {value}");
        }
    }
    let text = response.text();
    let line = text.lines().next().unwrap_or_default();
    println!("({} bytes) {}", response.body.len(), line.chars().take(60).collect::<String>());
}

fn title(text: &str) {
    println!("\n── {text} ──");
}

fn line_of(text: &str) -> Result<usize> {
    let source = std::fs::read_to_string(repository().join(SOURCE))?;
    let index = source.lines().position(|line| line.contains(text));
    Ok(index.with_context(|| format!("{SOURCE} has no line with {text:?}"))? + 1)
}

fn is_prime(number: u64) -> bool {
    number > 1
        && (2..)
            .take_while(|divisor| *divisor <= number / *divisor)
            .all(|divisor| !number.is_multiple_of(divisor))
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
