//! `attach`: the thread that makes a session, and the session with a proxy that runs already.

use std::path::PathBuf;

use wasmdbg_session::AttachOptions;
use wasmdbg_session::proxy::Target;

use crate::protocol::AttachArguments;
use crate::session::arguments::{StartRequest, options};
use crate::session::connector::{Connector, Failed};
use crate::session::launch;
use crate::session::notice::{Notice, Started};

/// Starts the thread that makes the session: a debug lane is compiled meanwhile.
pub(crate) fn start(request: StartRequest, connector: Connector) -> Result<(), String> {
    // What is wrong with the arguments is known at once.
    request.check()?;
    let run = move || {
        let started = match &request {
            StartRequest::Attach(arguments) => {
                attach(arguments, &connector).map_err(|failed| failed.to_string())
            }
            StartRequest::Launch(arguments) => launch::launch(arguments, &connector),
        };
        connector.tell(Notice::Started(Box::new(started)));
    };
    let spawned = std::thread::Builder::new().name("wasmdbg-attach".into()).spawn(run);
    spawned.map(drop).map_err(|error| format!("cannot start a thread: {error}"))
}

fn attach(arguments: &AttachArguments, connector: &Connector) -> Result<Started, Failed> {
    let filters = arguments.filter.clone();
    let options = AttachOptions { filters, ..options(&arguments.common, false)? };
    let target = match (&arguments.socket, arguments.pid) {
        (Some(socket), _) if !socket.is_empty() => Target::Socket(PathBuf::from(socket)),
        (_, Some(pid)) => Target::Pid(pid),
        _ => Target::Only,
    };
    let connected = connector.connect(&target)?;
    let session = connector.attach(connected.client, connected.events, &options)?;
    Ok(Started { session, socket: Some(connected.socket), launched: None })
}
