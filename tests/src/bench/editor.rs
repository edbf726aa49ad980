//! How long an editor waits: from F5 to a bound breakpoint, from a stop to its variables, for a step, for a
//! long list; and how fast the filter's own small proxy is. Times include this client's check of each message
//! against the protocol's schema.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::ats::{Ats, Filter, example};
use crate::bench::large;
use crate::bench::rounds::median;
use crate::bench::session::{breakpoint_line, source};
use crate::bench::table::{Row, Verdict};
use crate::bench::variant::{LIGHT, request};
use crate::dap::Dap;
use crate::http::{Connection, Request};
use crate::process::repository;
use crate::scratch::PATIENCE;

const RULE: (&str, &str) = ("x-bench", "editor");
const ROUNDS: usize = 9;
/// Frames and locals of the fixture, as it says.
const FRAMES: usize = 20;
const LOCALS: usize = 200;
const ELEMENTS: usize = 1000;

/// An attached editor.
struct Editor {
    dap: Dap,
    thread: Value,
}

impl Editor {
    /// From the adapter's start to the bound breakpoint, with the time that took.
    fn attach(server: &Ats, method: &str, breakpoint: &Value) -> Result<(Self, Duration)> {
        let start = Instant::now();
        let mut dap = Dap::start()?;
        dap.ask("initialize", &json!({ "adapterID": "bench" }))?;
        let rule = format!("header:{}={}", RULE.0, RULE.1);
        dap.send("attach", &json!({ "pid": server.pid(), "when": rule }))?;
        dap.event("initialized")?;
        let set = dap.ask(method, breakpoint)?;
        ensure!(set["breakpoints"][0]["verified"] == true, "the breakpoint is not bound: {set}");
        let took = start.elapsed();
        dap.ask("configurationDone", &Value::Null)?;
        Ok((Self { dap, thread: Value::Null }, took))
    }

    /// Sends a request and waits for its stop.
    fn stop(&mut self, server: &Ats, request: Request) -> Result<Connection> {
        let mut connection = Connection::open(server.address(), PATIENCE)?;
        connection.send(&request.header(RULE.0, RULE.1))?;
        self.stopped()?;
        Ok(connection)
    }

    fn stopped(&mut self) -> Result<()> {
        self.thread = self.dap.event("stopped")?["threadId"].clone();
        Ok(())
    }

    fn go_on(&mut self, mut connection: Connection) -> Result<()> {
        self.dap.ask("continue", &json!({ "threadId": self.thread }))?;
        connection.receive()?;
        Ok(())
    }

    fn frames(&mut self) -> Result<Vec<Value>> {
        let asked = json!({ "threadId": self.thread, "startFrame": 0, "levels": FRAMES });
        let body = self.dap.ask("stackTrace", &asked)?;
        body["stackFrames"].as_array().cloned().context("frames")
    }

    fn variables(&mut self, reference: &Value) -> Result<Vec<Value>> {
        let body = self.dap.ask("variables", &json!({ "variablesReference": reference }))?;
        body["variables"].as_array().cloned().context("variables")
    }
}

/// The rows.
///
/// # Errors
/// When something is not as it should be: a stop that does not come, a list that is too short.
pub fn rows() -> Result<Vec<Row>> {
    let mut rows = of_a_large_module()?;
    rows.extend(of_a_wide_stop()?);
    rows.push(alone()?);
    Ok(rows)
}

fn of_a_large_module() -> Result<Vec<Row>> {
    let module = large::module()?;
    let server = Ats::options()
        .compile_anew()
        .filter(Filter::new("large", &module).configuration("token quiet"))
        .start()?;
    let line = json!({ "source": { "path": source() }, "breakpoints": [{ "line": breakpoint_line()? }] });
    // Not counted: compiles the debug lane.
    Editor::attach(&server, "setBreakpoints", &line)?.0.dap.ask("disconnect", &Value::Null)?;
    let (mut attaches, mut steps) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (mut editor, took) = Editor::attach(&server, "setBreakpoints", &line)?;
        attaches.push(milliseconds(took));
        let connection = editor.stop(&server, request(LIGHT))?;
        let start = Instant::now();
        editor.dap.ask("next", &json!({ "threadId": editor.thread }))?;
        editor.stopped()?;
        steps.push(milliseconds(start.elapsed()));
        editor.go_on(connection)?;
        editor.dap.ask("disconnect", &Value::Null)?;
    }
    let (attach, step) = (median(&attaches), median(&steps));
    Ok(vec![
        Row::shown(
            "editor, large module, debug lane compiled: F5 → bound breakpoint",
            format!("{attach:.0} ms"),
        )
        .limits("≤ 1,000 ms", "", Verdict::at_most(attach, 1000.0, 1000.0)),
        Row::shown("  next → stopped", format!("{step:.1} ms")).limits(
            "≤ 20 ms",
            "",
            Verdict::at_most(step, 20.0, 20.0),
        ),
    ])
}

fn of_a_wide_stop() -> Result<Vec<Row>> {
    let module = repository().join("tests/fixtures/wide/wide.debug.wasm");
    let server = Ats::options().compile_anew().filter(Filter::new("wide", &module)).start()?;
    let function = json!({ "breakpoints": [{ "name": "wide::checkpoint" }] });
    let (mut editor, _) = Editor::attach(&server, "setFunctionBreakpoints", &function)?;
    let (mut shown, mut pages) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let connection = editor.stop(&server, Request::get("/cache/10/x"))?;
        let start = Instant::now();
        let frames = editor.frames()?;
        let hold = frames.get(1).context("the caller's frame")?["id"].clone();
        let scopes = editor.dap.ask("scopes", &json!({ "frameId": hold }))?;
        let locals =
            scopes["scopes"].as_array().and_then(|list| list.iter().find(|one| one["name"] == "Locals"));
        let locals = locals.context("no scope of locals")?["variablesReference"].clone();
        let variables = editor.variables(&locals)?;
        shown.push(milliseconds(start.elapsed()));
        ensure!(frames.len() == FRAMES && variables.len() > LOCALS, "{} {}", frames.len(), variables.len());
        let elements = variables.iter().find(|one| one["name"] == "elements").context("no elements")?;
        let start = Instant::now();
        let page = json!({
            "variablesReference": elements["variablesReference"], "filter": "indexed", "start": 0, "count": ELEMENTS,
        });
        let children = editor.dap.ask("variables", &page)?;
        pages.push(milliseconds(start.elapsed()));
        ensure!(
            children["variables"].as_array().is_some_and(|list| list.len() == ELEMENTS),
            "too few children"
        );
        editor.go_on(connection)?;
    }
    editor.dap.ask("disconnect", &Value::Null)?;
    let (shown, page) = (median(&shown), median(&pages));
    Ok(vec![
        Row::shown(format!("  stop → variables: {FRAMES} frames, {LOCALS} locals"), format!("{shown:.1} ms"))
            .limits("≤ 30 ms", "", Verdict::at_most(shown, 30.0, 30.0)),
        Row::shown(format!("  {ELEMENTS} children of a vector"), format!("{page:.1} ms")).limits(
            "≤ 30 ms",
            "",
            Verdict::at_most(page, 30.0, 30.0),
        ),
    ])
}

/// The light filter in the small proxy of `wasmdbg run`.
fn alone() -> Result<Row> {
    use crate::wasmdbg::Wasmdbg;
    let module = example("rust-token", "release").display().to_string();
    let arguments = ["run", &module, "--listen", "127.0.0.1:0", "--batch", "--configuration", "token quiet"];
    let mut proxy = Wasmdbg::start(&[&arguments[..], &["--when", "path:/nobody"]].concat())?;
    let said = proxy.expect("listening at http://")?;
    let address = said.rsplit_once("http://").context("no address")?.1.trim().to_owned();
    let load = Command::new("wrk")
        .args(["-t1", "-c32", "-d3s", "-H", &format!("token: {LIGHT}"), &format!("http://{address}/bench")])
        .output()
        .context("cannot run wrk: `tests/setup/install.sh bench` installs it")?;
    let text = String::from_utf8_lossy(&load.stdout).into_owned();
    ensure!(load.status.success() && !text.contains("Non-2xx"), "wrk: {text}");
    let rate =
        text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).context("wrk says no rate")?;
    let rate: f64 = rate.trim().parse().context("wrk's rate is no number")?;
    Ok(Row::shown("light filter in the proxy of `wasmdbg run`, one thread", format!("{rate:.0} requests/s")))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
