//! `wasmdbg dap` with the protocol's own test client: `tests/dap-client/scenarios.mjs`.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use serde_json::json;
use wasmdbg_tests::ats::{Ats, Filter, example};
use wasmdbg_tests::process::{product, repository};
use wasmdbg_tests::scratch::Scratch;

use crate::adapter::{PRIME, SOURCE};
use crate::debugger::{HEADER, line_of, random};

#[test]
fn the_protocols_own_client_launches_attaches_steps_and_leaves() -> Result<()> {
    let folder = repository().join("tests/dap-client");
    let installed = Command::new(folder.join("install.sh")).stderr(Stdio::inherit()).output()?;
    ensure!(installed.status.success(), "tests/dap-client/install.sh failed");
    let scratch = Scratch::new("dap-client")?;
    // Prime: the step behind the breakpoint goes on to the next line.
    let token = "10007";
    let requests = scratch.write("requests.http", format!("GET /played\ntoken: {token}\n"))?;
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    let line = line_of(SOURCE, PRIME);
    let plan = json!({
        "client": String::from_utf8(installed.stdout)?.trim(), "wasmdbg": product("wasmdbg")?,
        "program": example("rust-token", "debug"), "requests": requests, "source": repository().join(SOURCE),
        "line": line, "next": line + 1, "token": token, "pid": ats.pid(),
        "url": format!("http://{}/cache/10/x", ats.address()), "header": HEADER, "value": random().to_string(),
    });
    let plan = scratch.write("plan.json", plan.to_string())?;
    let output = Command::new("node").arg(folder.join("scenarios.mjs")).arg(plan).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 4, "{said}");
    assert!(ats.is_running());
    Ok(())
}
