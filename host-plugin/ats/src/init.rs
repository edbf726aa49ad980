//! What happens when the plugin is loaded: reads its words in plugin.config, loads the filters, takes the
//! hooks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmdbg_control::FilterId;
use wasmdbg_proxy_wasm::{Embedder, Filter, FilterConfig, Runtime, Settings};

use crate::agent;
use crate::embedder::Server;
use crate::flow::walk;
use crate::hooks;
use crate::plugin::{Plugin, plugin};
use crate::ts::{self, Lifecycle, records};

/// The stack of the server's threads when it does not say, in bytes.
const STACK: usize = 1 << 20;

/// One line of plugin.config that names this plugin, without the plugin's own name. Tells the server's log
/// what is wrong; never fails.
pub(crate) fn initialize(words: &[String]) {
    if ts::prepare().is_err() {
        return;
    }
    if plugin().is_some() {
        ts::error(
            "wasmdbg.so stands twice in plugin.config: name all filters in its first line; this one is ignored",
        );
        return;
    }
    if let Err(message) = start(words) {
        ts::error(&message);
    }
}

fn start(words: &[String]) -> Result<(), String> {
    let Words { settings, filters } = Words::read(words)?;
    let directory = ts::config_dir();
    let mut refusal = None;
    let path = settings.map(|path| directory.join(path));
    let settings = match path.as_deref().map(|path| (path, Settings::read(path))) {
        Some((path, Ok((settings, warnings)))) => {
            warnings.iter().for_each(|warning| ts::warning(&format!("{}: {warning}", path.display())));
            settings
        }
        Some((_, Err(error))) => {
            // Nobody knows what it should forbid.
            refusal = Some(error.to_string());
            let mut settings = Settings::default();
            settings.control.enabled = false;
            settings
        }
        None => Settings::default(),
    };
    let control = settings.control.clone();
    let stack = ts::config_integer(records::STACK_SIZE)
        .and_then(|stack| usize::try_from(stack).ok())
        .filter(|stack| *stack > 0)
        .unwrap_or(STACK);
    let server: Arc<dyn Embedder> = Arc::new(Server::new(ts::version()));
    let (runtime, traps) = match Runtime::new(Arc::clone(&server), settings.clone(), stack) {
        Ok(made) => made,
        // The filters are there, with their fail policies, and run nothing.
        Err(error) => {
            let record = records::STACK_SIZE.name(&ts::version());
            refusal = Some(format!("{error} (the server's record {record})"));
            Runtime::new(server, settings, STACK).map_err(|error| format!("no filter runs: {error}"))?
        }
    };
    let filters = load(&runtime, &directory, &filters, refusal.as_deref());
    let socket = control.enabled.then(|| control.socket.unwrap_or_else(agent::default_socket));
    let plugin = Plugin::new(runtime, filters, socket, hooks::continuation()?);
    agent::prepare(&plugin, traps);
    if let Some(plugin) = plugin.install() {
        hooks::register(plugin);
    }
    ts::lifecycle_hook(Lifecycle::PortsReady, agent::start);
    // Filters that do something without requests begin here: their virtual machines are made on the task threads.
    ts::lifecycle_hook(Lifecycle::TaskThreadsReady, walk::begin);
    ts::lifecycle_hook(Lifecycle::Shutdown, agent::stop);
    Ok(())
}

/// Loads the filters in order. `refusal`: why none may run.
fn load(
    runtime: &Arc<Runtime>,
    directory: &Path,
    files: &[PathBuf],
    refusal: Option<&str>,
) -> Vec<Arc<Filter>> {
    let mut filters = Vec::new();
    for file in files {
        let path = directory.join(file);
        let id = FilterId(u32::try_from(filters.len()).unwrap_or(u32::MAX));
        let filter = match FilterConfig::read(&path, Some(directory)) {
            Ok((config, warnings)) => {
                for warning in warnings {
                    ts::warning(&format!("{}: {warning}", path.display()));
                }
                match refusal {
                    Some(reason) => Filter::inactive(runtime, id, config, reason.to_owned()),
                    None => Filter::load(runtime, id, config, event_threads() + 1),
                }
            }
            Err(error) => Filter::inactive(runtime, id, FilterConfig::unreadable(&path), error.to_string()),
        };
        filters.push(filter);
    }
    filters
}

/// How many event threads the server will have, as far as its records tell.
fn event_threads() -> usize {
    let limit = ts::config_integer(records::THREADS).and_then(|limit| usize::try_from(limit).ok());
    match (ts::config_integer(records::AUTOMATIC_THREADS), limit) {
        (Some(0), Some(limit)) => limit.max(1),
        _ => {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            let scale = ts::config_fraction(records::THREADS_PER_PROCESSOR).unwrap_or(1.0);
            // As the server computes it. Threads beyond it find the stock empty once.
            ((processors as f32 * scale) as usize).max(1)
        }
    }
}

/// The words behind `wasmdbg.so`.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    settings: Option<PathBuf>,
    filters: Vec<PathBuf>,
}

impl Words {
    fn read(words: &[String]) -> Result<Self, String> {
        let usage = "usage in plugin.config: wasmdbg.so [--settings wasmdbg.yaml] filter.yaml [more.yaml …]";
        let mut read = Self { settings: None, filters: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--settings" {
                let Some(path) = words.next() else {
                    return Err(format!("--settings names no file; {usage}"));
                };
                read.settings = Some(path.into());
            } else if let Some(path) = word.strip_prefix("--settings=") {
                read.settings = Some(path.into());
            } else if word.starts_with('-') {
                return Err(format!("unknown option {word}; {usage}"));
            } else {
                read.filters.push(word.into());
            }
        }
        if read.filters.is_empty() { Err(format!("no filter is named; {usage}")) } else { Ok(read) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Words, String> {
        Words::read(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn filters_keep_their_order() {
        let words = read(&["a.yaml", "--settings", "s.yaml", "b.yaml"]).unwrap();
        assert_eq!(words.settings, Some("s.yaml".into()));
        assert_eq!(words.filters, [PathBuf::from("a.yaml"), "b.yaml".into()]);
    }

    #[test]
    fn mistakes_say_how_it_is_written() {
        for words in [&[][..], &["--settings"], &["--setings", "s.yaml"]] {
            assert!(read(words).unwrap_err().contains("wasmdbg.so [--settings wasmdbg.yaml]"));
        }
    }
}
