//! An editor attached to a server by the Debug Adapter Protocol, for the tests of `dap_*`.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use wasmdbg_tests::ats::Ats;
use wasmdbg_tests::dap::Dap;
use wasmdbg_tests::http::{Pending, Request};
use wasmdbg_tests::process::repository;
use wasmdbg_tests::scratch::PATIENCE;

use crate::debugger::{HEADER, line_of, random};

pub(crate) const SOURCE: &str = "examples/rust-token/src/lib.rs";
pub(crate) const PRIME: &str = "let prime = is_prime(token)";

/// The client, and what its requests carry to stop.
pub(crate) struct Editor {
    pub(crate) dap: Dap,
    token: String,
}

impl Editor {
    /// Initialized and attached by a header rule.
    pub(crate) fn attach(ats: &Ats, further: &Value) -> Result<Self> {
        let mut editor = Self::begin(ats, further)?;
        editor.dap.event("initialized")?;
        Ok(editor)
    }

    /// `attach` is under way.
    pub(crate) fn begin(ats: &Ats, further: &Value) -> Result<Self> {
        let mut editor = Self { dap: Dap::start()?, token: random().to_string() };
        editor.introduce(ats, further)?;
        Ok(editor)
    }

    pub(crate) fn over(dap: Dap) -> Self {
        Self { dap, token: random().to_string() }
    }

    pub(crate) fn introduce(&mut self, ats: &Ats, further: &Value) -> Result<()> {
        let features = json!({
            "adapterID": "wasmdbg", "supportsProgressReporting": true, "supportsInvalidatedEvent": true,
            "supportsMemoryEvent": true,
        });
        self.dap.ask("initialize", &features)?;
        let mut arguments = json!({ "pid": ats.pid(), "when": format!("header:{HEADER}={}", self.token) });
        for (name, value) in further.as_object().into_iter().flatten() {
            arguments[name] = value.clone();
        }
        self.dap.send("attach", &arguments)?;
        Ok(())
    }

    /// Breakpoints of the example's source, by the text of their lines, with further members.
    pub(crate) fn break_at(&mut self, wanted: &[(&str, Value)]) -> Result<Vec<Value>> {
        let breakpoints = wanted.iter().map(|(text, further)| {
            let mut breakpoint = further.clone();
            breakpoint["line"] = line_of(SOURCE, text).into();
            breakpoint
        });
        let breakpoints: Vec<Value> = breakpoints.collect();
        let source = json!({ "path": repository().join(SOURCE) });
        let body =
            self.dap.ask("setBreakpoints", &json!({ "source": source, "breakpoints": breakpoints }))?;
        Ok(body["breakpoints"].as_array().cloned().unwrap_or_default())
    }

    /// A request with a token that stops.
    pub(crate) fn request(&self, ats: &Ats, token: &str) -> Pending {
        let request = Request::get("/cache/10/x").header("token", token).header(HEADER, &self.token);
        Pending::start(ats.address(), request, PATIENCE)
    }

    /// The same with another header.
    pub(crate) fn matching(&self, request: Request) -> Request {
        request.header(HEADER, &self.token)
    }

    /// The thread of the next stop.
    pub(crate) fn stopped(&mut self) -> Result<i64> {
        self.dap.event("stopped")?["threadId"].as_i64().context("a thread")
    }

    /// A frame of a thread, as `stackTrace` has it.
    pub(crate) fn frame(&mut self, thread: i64, number: usize) -> Result<Value> {
        let body = self.dap.ask("stackTrace", &json!({ "threadId": thread }))?;
        Ok(body["stackFrames"][number].clone())
    }

    /// The variables of a scope of a frame.
    pub(crate) fn scope(&mut self, frame: &Value, name: &str) -> Result<(i64, Vec<Value>)> {
        let body = self.dap.ask("scopes", &json!({ "frameId": frame["id"] }))?;
        let scopes = body["scopes"].as_array().context("scopes")?;
        let scope = scopes.iter().find(|scope| scope["name"] == name).context("no such scope")?;
        let reference = scope["variablesReference"].as_i64().context("a reference")?;
        Ok((reference, self.children(reference)?))
    }

    pub(crate) fn children(&mut self, reference: i64) -> Result<Vec<Value>> {
        let body = self.dap.ask("variables", &json!({ "variablesReference": reference }))?;
        Ok(body["variables"].as_array().cloned().unwrap_or_default())
    }

    pub(crate) fn evaluate(&mut self, frame: &Value, expression: &str) -> Result<Value> {
        let arguments = json!({ "expression": expression, "frameId": frame["id"], "context": "watch" });
        self.dap.ask("evaluate", &arguments)
    }

    pub(crate) fn go_on(&mut self, thread: i64) -> Result<Value> {
        self.dap.ask("continue", &json!({ "threadId": thread }))
    }
}
