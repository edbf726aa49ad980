//! `launch`: the filter in a small proxy of the adapter's own process, under the debugger from its first
//! callback on. No other proxy is needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmdbg_control::session::LaneStart;
use wasmdbg_session::AttachOptions;
use wasmdbg_standalone::request_file::{self, Section};
use wasmdbg_standalone::{Called, Happening, Host, Program, Report, Verdict};

use crate::protocol::LaunchArguments;
use crate::session::arguments::options;
use crate::session::connector::Connector;
use crate::session::launched::Launched;
use crate::session::notice::{Notice, Notices, Started};

/// Threads that serve requests.
const THREADS: usize = 1;

/// Makes the host and a session in it, on the thread that waits for the debug lane.
pub(crate) fn launch(arguments: &LaunchArguments, connector: &Connector) -> Result<Started, String> {
    let options = AttachOptions { start: LaneStart::Held, ..options(&arguments.common, true)? };
    let place = |path: &String| within(arguments.common.cwd.as_deref(), path);
    if arguments.program.is_empty() {
        return Err("`program` is missing: the filter's .wasm file".into());
    }
    let program = Program {
        module: place(&arguments.program),
        config: arguments.config.as_ref().map(place),
        configuration: arguments.configuration.clone(),
        settings: arguments.settings.as_ref().map(place),
        upstream: arguments.upstream.clone(),
    };
    let requests = arguments.request_file().map(|file| read(&place(file))).transpose()?.unwrap_or_default();
    let listen = arguments.listen.as_ref().map(|address| {
        address
            .parse()
            .map_err(|_| format!("`listen`: {address:?} is no address and port, as in 127.0.0.1:0"))
    });
    let listen = listen.transpose()?;
    if listen.is_none() && requests.is_empty() {
        return Err("give `listen` (as in 127.0.0.1:8080), or `requests`, a .http file that is played".into());
    }
    let died = Arc::new(AtomicBool::new(false));
    let report = ConsoleReport {
        notices: connector.notices(),
        callbacks: !requests.is_empty(),
        died: Arc::clone(&died),
    };
    let (made, notes) = program.options(Arc::new(report)).map_err(|error| error.to_string())?;
    for note in notes {
        connector.tell(Notice::ProxyOutput(note));
    }
    let host = Arc::new(Host::new(made).map_err(|error| error.to_string())?);
    let connection = host.connect().map_err(|error| format!("cannot reach the filter's agent: {error}"))?;
    let (client, events) = Connector::greet(connection).map_err(|error| error.to_string())?;
    let session = connector.attach(client, events, &options).map_err(|error| error.to_string())?;
    // With nobody attached the filter would start here.
    let listening = listen.map(|address| host.listen(address, THREADS)).transpose();
    let listening = listening.map_err(|error| error.to_string())?;
    let launched = Launched::new(host, listening, requests, died, arguments.stop_on_entry);
    Ok(Started { session, socket: None, launched: Some(launched) })
}

fn read(path: &Path) -> Result<Vec<Section>, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    request_file::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A path of the editor's folder.
fn within(folder: Option<&str>, path: &str) -> PathBuf {
    folder.map_or_else(|| PathBuf::from(path), |folder| Path::new(folder).join(path))
}

/// Tells the client's console what happens, as far as the session does not.
struct ConsoleReport {
    notices: Notices,
    callbacks: bool,
    died: Arc<AtomicBool>,
}

impl Report for ConsoleReport {
    fn take(&self, happening: Happening) {
        if matches!(
            happening,
            Happening::Callback { verdict: Verdict::Failed, .. }
                | Happening::ForeignFunction { called: Called::Failed, .. }
        ) {
            self.died.store(true, Ordering::Relaxed);
        }
        if !matches!(happening, Happening::Log { .. }) {
            self.notices.send(Notice::ProxyOutput(happening.to_string()));
        }
    }

    fn wants_callbacks(&self) -> bool {
        self.callbacks
    }
}
