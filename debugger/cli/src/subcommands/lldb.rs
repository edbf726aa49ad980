//! `wasmdbg lldb`: a stock debugger on the whole proxy process. Says what that means and what it needs,
//! and becomes the debugger.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use wasmdbg_session::proxy::{self, Target};

use crate::args::Native;
use crate::subcommands::connect::client_name;
use crate::terminal::console::Console;

/// Debuggers that read the code a process registers, best first.
const LLDB: [&str; 4] = ["lldb-22", "lldb-21", "lldb-19", "lldb"];
const GDB: [&str; 1] = ["gdb"];

/// Becomes the debugger; returns only if that fails.
pub(crate) fn run(options: Native, console: &mut Console) -> Result<()> {
    let target = options.pid.map_or(Target::Only, Target::Pid);
    let client = proxy::connect(&target, &client_name()).context("cannot find the proxy")?.client;
    let welcome = client.welcome().clone();
    client.close();
    if !welcome.capabilities.iter().any(|capability| capability == "native") {
        bail!(
            "the filters of process {} run optimised and without debug info, where variables would show wrong values: \
             put `debug: {{ native: true }}` into the plugin's settings (--settings in plugin.config), restart the \
             proxy, and use `wasmdbg attach` where every request matters",
            welcome.pid
        );
    }
    // As this machine counts: a proxy in a container has another number for itself.
    let pid = options.pid.unwrap_or(welcome.pid);
    let names: &[&str] = if options.gdb { &GDB } else { &LLDB };
    let program = match options.program {
        Some(program) => program,
        None => find(names).with_context(|| {
            format!("none of {} is installed: install one, or name it with --program", names.join(", "))
        })?,
    };
    console.say(&format!(
        "{} on process {pid} ({}): EVERY request of this proxy stops while the debugger stands",
        Path::new(&program).display(),
        welcome.host
    ));
    if !options.yes && !agreed()? {
        bail!("not attached");
    }
    let error = Command::new(&program).arg("-p").arg(pid.to_string()).args(options.arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", Path::new(&program).display()))
}

fn find(names: &[&str]) -> Option<OsString> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let program = |name: &&str| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    names.iter().find_map(program).map(PathBuf::into_os_string)
}

fn agreed() -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("nobody can be asked whether to stop the proxy: give --yes");
    }
    print!("attach? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
