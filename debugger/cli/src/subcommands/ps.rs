//! `wasmdbg ps`: which proxies have the plugin, and what they say of themselves.
//!
//! Owns the JSON form (docs/PS_JSON.md): a change that a reader could trip over raises [`SCHEMA`].

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use wasmdbg_control::discover::{self, Greeted, Proxy, Socket, greet_first};
use wasmdbg_control::status::{GetStatus, Status};
use wasmdbg_session::text::show_duration;

use crate::failure::explain;
use crate::show::count;
use crate::show::filters::show_filter;
use crate::subcommands::connect::client_name;
use crate::terminal::console::{Console, Paint, harmless};

/// The version of the JSON form.
const SCHEMA: u32 = 1;

/// How long a proxy may take to let us in and to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Listing {
    schema: u32,
    proxies: Vec<Entry>,
}

/// One proxy, or a socket of ours whose proxy cannot be seen.
#[derive(Debug, Serialize)]
struct Entry {
    pid: Option<u32>,
    process: Option<String>,
    socket: Option<PathBuf>,
    #[serde(flatten)]
    answer: Answer,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    Answered { protocol: u32, plugin: String, host: String, status: Box<Status> },
    Silent { error: String },
}

/// Lists the proxies, or the one with this process id. All are asked at once: one that is stopped by a
/// debugger keeps nobody waiting for the others.
pub(crate) fn run(json: bool, pid: Option<u32>, console: &mut Console) -> Result<()> {
    let mut found = discover::proxies().context("cannot read /proc, which is how proxies are found")?;
    found.retain(|proxy| pid.is_none() || proxy.pid == pid);
    let proxies: Vec<Entry> = std::thread::scope(|scope| {
        let asked: Vec<_> = found.into_iter().map(|proxy| scope.spawn(|| ask(proxy))).collect();
        asked.into_iter().filter_map(|asked| asked.join().ok()).collect()
    });
    if json {
        let listing = Listing { schema: SCHEMA, proxies };
        console.say(&serde_json::to_string_pretty(&listing)?);
    } else if let (true, Some(pid)) = (proxies.is_empty(), pid) {
        ensure!(Path::new(&format!("/proc/{pid}")).exists(), "there is no process {pid}");
        console.say(&format!("process {pid} has no wasmdbg.so loaded, as far as this user can see"));
    } else if proxies.is_empty() {
        console.say("no running proxy has wasmdbg.so loaded, as far as this user can see");
    } else {
        for entry in &proxies {
            let text = show(entry, console);
            console.say(text.trim_end());
        }
    }
    Ok(())
}

fn ask(proxy: Proxy) -> Entry {
    let Proxy { pid, process, socket } = proxy;
    let entry = |socket, answer| Entry { pid, process: process.clone(), socket, answer };
    let silent = |error: String| Answer::Silent { error };
    match socket {
        Socket::Closed { reason } | Socket::Hidden { reason } => entry(None, silent(reason)),
        Socket::At(paths) => {
            let deadline = Instant::now() + PATIENCE;
            match greet_first(&paths, &client_name(), PATIENCE) {
                Ok(greeted) => {
                    let answer = status(&greeted, deadline);
                    entry(Some(greeted.socket), answer.unwrap_or_else(|error| silent(explain(&error))))
                }
                Err(nobody) => entry(Some(nobody.socket.clone()), silent(explain(&nobody.into()))),
            }
        }
    }
}

fn status(greeted: &Greeted, deadline: Instant) -> Result<Answer> {
    let Greeted { client, .. } = greeted;
    let left = deadline.saturating_duration_since(Instant::now());
    let status = Box::new(client.call_within(GetStatus {}, left)?);
    let welcome = client.welcome();
    Ok(Answer::Answered {
        protocol: welcome.protocol,
        plugin: welcome.plugin.clone(),
        host: welcome.host.clone(),
        status,
    })
}

fn show(entry: &Entry, console: &Console) -> String {
    let mut text = String::new();
    let pid = entry.pid.map_or_else(|| "pid unknown".to_owned(), |pid| format!("pid {pid}"));
    let process = entry.process.as_deref().unwrap_or("a proxy");
    let name = console.paint(Paint::Strong, &format!("{process} ({pid})"));
    match &entry.answer {
        Answer::Silent { error } => {
            let _ = writeln!(text, "{name}\n  {}", console.paint(Paint::Error, error));
        }
        Answer::Answered { plugin, host, status, .. } => {
            let uptime =
                show_duration(Duration::from_secs(status.uptime_ms / 1000).max(Duration::from_secs(1)));
            let _ = writeln!(
                text,
                "{name}  {}, plugin {}, loaded for {uptime}, {} in flight",
                harmless(host),
                harmless(plugin),
                count(status.transactions, "transaction")
            );
        }
    }
    if let Some(socket) = &entry.socket {
        let _ = writeln!(text, "  socket  {}", harmless(&socket.display().to_string()));
    }
    if let Answer::Answered { status, .. } = &entry.answer {
        for filter in &status.filters {
            let _ = writeln!(text, "  filter  {}", show_filter(filter, console));
        }
        for session in &status.sessions {
            let names = session.filters.iter().map(|id| {
                let named = status.filters.iter().find(|filter| filter.id == *id);
                named.map_or_else(|| id.to_string(), |filter| harmless(&filter.name).into_owned())
            });
            let _ = writeln!(
                text,
                "  session {} by {} (uid {}, pid {}) on {}",
                session.id,
                harmless(&session.client),
                session.uid,
                session.pid,
                names.collect::<Vec<_>>().join(", ")
            );
        }
        if !status.slots.is_empty() {
            let stopped = status.slots.iter().filter(|slot| slot.stopped).count() as u64;
            let slots = count(status.slots.len() as u64, "debug virtual machine");
            let _ = writeln!(text, "  {slots}, {stopped} stopped");
        }
    }
    text
}
