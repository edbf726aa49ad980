//! `wasmdbg run`: a filter in a small proxy of this process, under the debugger from its first
//! instruction, or requests of a file played through it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use anyhow::{Context, Result};
use wasmdbg_control::Client;
use wasmdbg_proxy_wasm::config::LimitsOverride;
use wasmdbg_proxy_wasm::{FilterConfig, Level, Settings};
use wasmdbg_session::LaneStart;
use wasmdbg_standalone::request_file::{self, FileRequest};
use wasmdbg_standalone::{Change, Happening, Host, Options, Playing, Report, Side, Upstream};

use crate::args::Run;
use crate::attach;
use crate::console::{Console, harmless};
use crate::failure::{Code, explain};
use crate::input::watch_interrupts;
use crate::target::client_name;

/// Threads that serve requests.
const THREADS: usize = 1;

/// Runs the filter.
pub(crate) fn run(options: Run, mut console: Console) -> Option<Code> {
    let printer = Arc::new(Printer { callbacks: options.request.is_some(), ..Printer::default() });
    let made = host(&options, Arc::clone(&printer), &mut console)
        .and_then(|host| Ok((host, requests(&options).transpose()?)));
    let (host, requests) = match made {
        Ok(made) => made,
        Err(error) => {
            console.complain(&explain(&error));
            return Some(Code::Attach);
        }
    };
    let debugs = options.listen.is_some() || options.prompt || !options.attach.commands.is_empty();
    if debugs {
        return debug(options, host, requests, &printer, console);
    }
    match host.play(requests.unwrap_or_default()) {
        Ok(playing) => {
            playing.wait();
            printer.died.load(Ordering::Relaxed).then_some(Code::Command)
        }
        Err(error) => {
            console.complain(&error.to_string());
            Some(Code::Command)
        }
    }
}

fn debug(
    options: Run,
    host: Host,
    requests: Option<Vec<FileRequest>>,
    printer: &Arc<Printer>,
    mut console: Console,
) -> Option<Code> {
    let mode = attach::mode(&options.attach);
    let (input, inputs) = mpsc::channel();
    let attached = watch_interrupts(input.clone()).and_then(|()| {
        let connection = host.connect().context("cannot reach the debugger's side of this process")?;
        let (client, events) = Client::greet(connection, &client_name())?;
        attach::attach_over(client, events, &options.attach, LaneStart::Held, mode, &input, &mut console)
    });
    let session = match attached {
        Ok(session) => session,
        Err(error) => {
            console.complain(&explain(&error));
            return Some(Code::Attach);
        }
    };
    // The session tells of them.
    printer.session.store(true, Ordering::Relaxed);
    let host = Arc::new(host);
    let listening = match options.listen.map(|address| host.listen(address, THREADS)).transpose() {
        Ok(listening) => listening,
        Err(error) => {
            console.complain(&error.to_string());
            return Some(Code::Attach);
        }
    };
    if let Some(listening) = &listening {
        console.say(&format!("listening at http://{}", listening.address()));
    }
    let (played, playing) = mpsc::channel::<Playing>();
    let player = Arc::clone(&host);
    let start = move |session: &wasmdbg_session::Session, _: &mut Console| {
        session.start()?;
        if let Some(requests) = requests {
            // The receiver outlives the debugger.
            let _ = played.send(player.play(requests)?);
        }
        Ok(())
    };
    let code = attach::debug(session, &options.attach, mode, (input, inputs), console, Some(Box::new(start)));
    // Detached: what stood goes on.
    for playing in playing {
        playing.wait();
    }
    drop(listening);
    code
}

fn host(options: &Run, printer: Arc<Printer>, console: &mut Console) -> Result<Host> {
    let upstream = options.upstream.as_deref().map(Upstream::parse).transpose()?;
    let settings = match &options.settings {
        Some(path) => {
            let (settings, warnings) = Settings::read(path)?;
            warnings.iter().for_each(|warning| console.note(&format!("settings: {warning}")));
            settings
        }
        None => Settings::default(),
    };
    let mut filter = match &options.config {
        Some(path) => {
            let (filter, warnings) = FilterConfig::read(path, None)?;
            warnings.iter().for_each(|warning| console.note(&format!("{}: {warning}", path.display())));
            filter
        }
        None => plain(&options.program),
    };
    filter.module_path.clone_from(&options.program);
    if let Some(text) = &options.configuration {
        filter.configuration.clone_from(text);
    }
    if options.upstream.is_none() {
        console.note("no --upstream: a plain 200 answers every request that the filter lets pass");
    }
    Ok(Host::new(Options { filter, settings, upstream, report: printer, cache_folder: cache_folder() })?)
}

/// A filter without a file about it.
fn plain(program: &Path) -> FilterConfig {
    let name = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    FilterConfig {
        root_id: name.clone(),
        vm_id: name.clone(),
        name,
        configuration: String::new(),
        fail_open: true,
        vm_configuration: String::new(),
        module_path: program.to_owned(),
        environment: Vec::new(),
        capabilities: None,
        limits: LimitsOverride::default(),
    }
}

fn requests(options: &Run) -> Option<Result<Vec<FileRequest>>> {
    let path = options.request.as_ref()?;
    let read = || {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        request_file::parse(&text).with_context(|| path.display().to_string())
    };
    Some(read())
}

/// `$XDG_CACHE_HOME/wasmdbg/code`; without a home nothing is kept.
fn cache_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?.join("wasmdbg");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("code"))
}

/// Prints what happens, whole lines at a time.
#[derive(Default)]
struct Printer {
    callbacks: bool,
    /// A session shows logs itself.
    session: AtomicBool,
    /// A callback died.
    died: AtomicBool,
}

impl Report for Printer {
    fn take(&self, happening: Happening) {
        match happening {
            Happening::Log { source, level, transaction, message } => {
                let own = source == "wasmdbg" && level < Level::Warn;
                if own || self.session.load(Ordering::Relaxed) {
                    return;
                }
                let indent = if transaction.is_some() { "    " } else { "" };
                say(format_args!("{indent}log {}: {}", level_name(level), harmless(&message)));
            }
            Happening::Started { transaction, method, path } => {
                say(format_args!("#{transaction} {} {}", harmless(&method), harmless(&path)));
            }
            Happening::Callback { callback, changes, verdict, .. } => {
                if verdict == wasmdbg_standalone::Verdict::Failed {
                    self.died.store(true, Ordering::Relaxed);
                }
                let mut text = format!("  {callback}: {}", harmless(&verdict.to_string()));
                for change in &changes {
                    text.push_str("\n    ");
                    text.push_str(&harmless(&show(change)));
                }
                say(format_args!("{text}"));
            }
            Happening::Resumed { verdict, .. } => {
                say(format_args!("  resumed: {}", harmless(&verdict.to_string())))
            }
            Happening::Upstream { answer: Ok(status), .. } => say(format_args!("  upstream: {status}")),
            Happening::Upstream { answer: Err(why), .. } => {
                say(format_args!("  upstream: {}", harmless(&why)))
            }
            Happening::Ended { status, .. } => {
                let status = status.map_or_else(|| "no response".to_owned(), |status| status.to_string());
                say(format_args!("  client: {status}"));
            }
        }
    }

    fn wants_callbacks(&self) -> bool {
        self.callbacks
    }
}

/// A line on standard output; that nobody reads it any more is no reason to stop serving.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
        Level::Critical => "critical",
    }
}

fn show(change: &Change) -> String {
    let Change { side, name, before, after } = change;
    let side = match side {
        Side::Request => "request",
        Side::Response => "response",
    };
    match (before, after) {
        (None, Some(after)) => format!("{side} + {name}: {after}"),
        (Some(before), None) => format!("{side} - {name}: {before}"),
        (Some(before), Some(after)) => format!("{side} ~ {name}: {before} -> {after}"),
        (None, None) => format!("{side}   {name}"),
    }
}
