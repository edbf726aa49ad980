//! Starts an isolated Traffic Server with the plugin and the given filters, says where it is, and
//! keeps it until standard input ends or Enter is pressed.
//!
//! ```text
//! cargo run --release -p wasmdbg-tests --bin ats-sandbox -- [--threads N] [--tls] [--configuration TEXT]
//!     [--settings FILE] [FILTER.wasm …]
//! ```

#![forbid(unsafe_code)]

use std::path::Path;

use anyhow::{Context, Result, bail};
use wasmdbg_tests::ats::{Ats, Filter, example};

fn main() -> Result<()> {
    let mut options = Ats::options();
    let mut modules = Vec::new();
    let mut configuration = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--threads" => {
                let count = arguments.next().context("--threads wants a number")?;
                options = options.event_threads(count.parse().context("--threads wants a number")?);
            }
            "--tls" => options = options.tls(),
            "--settings" => {
                let file = arguments.next().context("--settings wants a file")?;
                options = options.settings(&std::fs::read_to_string(&file).with_context(|| file.clone())?);
            }
            "--configuration" => {
                configuration = Some(arguments.next().context("--configuration wants a text")?);
            }
            "--help" | "-h" => {
                println!(
                    "usage: ats-sandbox [--threads N] [--tls] [--configuration TEXT] [--settings FILE] [FILTER.wasm …]"
                );
                return Ok(());
            }
            path if path.ends_with(".wasm") => modules.push(std::path::absolute(path)?),
            other => bail!("unknown argument {other}: see --help"),
        }
    }
    if modules.is_empty() {
        modules.push(example("rust-token", "debug"));
    }
    for module in &modules {
        let filter = Filter::new(&name_of(module), module);
        options = options.filter(match &configuration {
            Some(text) => filter.configuration(text),
            None => filter,
        });
    }
    let ats = options.start()?;
    println!("pid {}", ats.pid());
    println!("address http://{}", ats.address());
    if let Ok(tls) = ats.tls_address() {
        println!("tls https://{tls}");
    }
    println!("folder {}", ats.folder().display());
    println!("try: curl -si -H 'token: 7' http://{}/cache/10/x", ats.address());
    println!("press Enter to end it");
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

fn name_of(module: &Path) -> String {
    let name = module.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or_default().to_string()
}
