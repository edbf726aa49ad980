//! The VS Code extension's own tests, which need no editor: `dap/vscode/test`.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use wasmdbg_tests::ats::{Ats, Filter, example};
use wasmdbg_tests::process::{product, repository};

use crate::debugger::random;

#[test]
fn the_extension_reads_what_the_program_prints_and_says_what_is_wrong() -> Result<()> {
    let name = format!("extension-{}", random());
    let ats = Ats::options().filter(Filter::new(&name, &example("rust-token", "debug"))).start()?;
    let output = Command::new(repository().join("dap/vscode/test.sh"))
        .arg(product("wasmdbg")?)
        .arg(&name)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(ats.is_running());
    Ok(())
}
