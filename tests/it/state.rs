//! What `wasmdbg ps --json` says of one proxy.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmdbg_tests::ats::Ats;
use wasmdbg_tests::wasmdbg;

/// A proxy's entry in `wasmdbg ps --json`.
#[derive(Debug)]
pub(crate) struct Proxy(pub(crate) Value);

impl Proxy {
    pub(crate) fn of(ats: &Ats) -> Result<Self> {
        // Only it: another test's may be stopped by a debugger.
        let output = wasmdbg::run(&["ps", "--json", &ats.pid().to_string()])?;
        ensure!(output.status.success(), "ps: {}", String::from_utf8_lossy(&output.stderr));
        let all: Value = serde_json::from_slice(&output.stdout).context("ps --json prints JSON")?;
        let proxies = all["proxies"].as_array().context("ps --json has proxies")?;
        let own = proxies
            .iter()
            .find(|proxy| proxy["pid"] == ats.pid())
            .with_context(|| format!("ps does not list process {}: {all:#}\n{}", ats.pid(), ats.diags()))?;
        Ok(Self(own.clone()))
    }

    pub(crate) fn filter(&self, name: &str) -> Result<&Value> {
        let filters = self.status()["filters"].as_array().context("a proxy has filters")?;
        filters.iter().find(|filter| filter["name"] == name).with_context(|| format!("no filter {name}"))
    }

    pub(crate) fn counter(&self, filter: &str, counter: &str) -> Result<u64> {
        let filter = self.filter(filter)?;
        filter["counters"][counter].as_u64().with_context(|| format!("no counter {counter} in {filter:#}"))
    }

    pub(crate) fn status(&self) -> &Value {
        &self.0["status"]
    }
}
