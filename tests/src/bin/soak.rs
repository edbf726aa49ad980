//! `make soak`: a server under everything at once, for ten minutes.
//!
//!     soak [--seconds N] [--parked N] [--attaches N] [--leaving N] [release] [leave] [attach] [kill] [record]

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use wasmdbg_tests::soak::{Options, Part, run};

const USAGE: &str = "usage: soak [--seconds N] [--parked N] [--attaches N] [--leaving N] [release] [leave] [attach] [kill] [record]";

fn main() -> ExitCode {
    match options().and_then(|options| options.map_or(Ok(()), |options| run(&options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `None`: only the usage was asked for.
fn options() -> Result<Option<Options>> {
    let mut options = Options::default();
    let mut parts = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<usize> {
            let text = arguments.next().context(USAGE)?;
            text.parse().with_context(|| format!("{text} is not a number\n{USAGE}"))
        };
        match argument.as_str() {
            "--seconds" => options.time = Duration::from_secs(number()? as u64),
            "--parked" => options.parked = number()?,
            "--attaches" => options.attaches = number()?,
            "--leaving" => options.leaving = number()?,
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(None);
            }
            name => match Part::named(name) {
                Some(part) => parts.push(part),
                None => bail!("unknown argument {name}\n{USAGE}"),
            },
        }
    }
    if !parts.is_empty() {
        options.parts = parts;
    }
    Ok(Some(options))
}
