//! Where clients come from: standard input and output, or connections to a loopback port. Owns the threads
//! that read; each client has an adapter of its own.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use wasmdbg_control::admission::Admission;

use crate::adapter::{Adapter, Input};
use crate::protocol::{Category, Event, Outgoing, OutgoingKind, OutputEvent};
use crate::session::connector::{Connector, Proxies, ThisMachine};
use crate::session::lifecycle::Lifecycle;
use crate::session::link::ProxyLink;
use crate::session::notice::Notices;
use crate::transport::client::Client;
use crate::transport::framing;
use crate::transport::reader::{self, Cancelled};
use crate::view::source_folders::Reach;

/// Refused connections that are kept: one that is closed while its client writes takes the message away from
/// it. The next ones push them out.
const PARTING: usize = 16;

/// Until the next try when the system gives no connection.
const RETRY: Duration = Duration::from_millis(100);

/// Serves the client on standard input and output to its end: the editor that started this process.
///
/// # Errors
/// No thread can be started.
pub fn stdio() -> io::Result<()> {
    serve(io::stdin(), io::stdout(), Reach::AllFiles)
}

/// Serves one client to its end: until it disconnects or its stream ends.
///
/// # Errors
/// No thread can be started.
pub fn serve(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    reach: Reach,
) -> io::Result<()> {
    serve_with(input, output, reach, Arc::new(ThisMachine))
}

/// As [`serve`], with other proxies to attach to than those of this machine.
///
/// # Errors
/// No thread can be started.
pub fn serve_with(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    reach: Reach,
    proxies: Arc<dyn Proxies>,
) -> io::Result<()> {
    let (sender, inputs) = mpsc::channel();
    let link = ProxyLink::default();
    let cancelled = Cancelled::default();
    let session = sender.clone();
    // Nobody listens when the adapter has ended.
    let notices = Notices::new(move |notice| drop(session.send(Input::Session(notice))));
    let lifecycle = Lifecycle::new(Connector::new(proxies, link.clone(), notices));
    let client = Client::new(Box::new(output));
    let adapter = Adapter::new(client, lifecycle, reach, cancelled.clone());
    std::thread::Builder::new().name("wasmdbg-dap-read".into()).spawn(move || {
        reader::read(input, &cancelled, |received| sender.send(Input::Client(received)).is_ok());
        // Also while the adapter waits for the proxy: nothing may stay stopped for a client that is gone.
        link.close();
        let _ = sender.send(Input::Closed);
    })?;
    adapter.run(&inputs);
    Ok(())
}

/// Accepts clients at a loopback port; any number at once, of this process' own user and of root.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
}

impl Listener {
    /// Binds `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// The address is not to be had, or is not of this machine alone: whoever connects controls the
    /// debugger.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            let text =
                format!("{address} can be reached from other machines: give 127.0.0.1 and use a tunnel");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(Self { listener: TcpListener::bind(address)? })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves clients for ever; `report` gets a line when another user's is refused.
    pub fn run(&self, mut report: impl FnMut(&str)) -> ! {
        let mut admission = Admission::default();
        let mut parting = VecDeque::new();
        loop {
            let Ok((stream, _)) = self.listener.accept() else {
                // Of one connection, or of too many.
                std::thread::sleep(RETRY);
                continue;
            };
            if let Err(refusal) = admission.check(&stream) {
                turn_away(&stream, &refusal.why);
                parting.push_back(stream);
                if parting.len() > PARTING {
                    parting.pop_front();
                }
                refusal.line.iter().for_each(|line| report(line));
                continue;
            }
            let client = move || {
                // Steps are many small messages.
                let _ = stream.set_nodelay(true);
                if let (Ok(reading), Ok(writing)) = (stream.try_clone(), stream.try_clone()) {
                    let _ = serve(reading, writing, Reach::SourceFolders);
                }
                let _ = stream.shutdown(Shutdown::Both);
            };
            // Without a thread the connection ends.
            let _ = std::thread::Builder::new().name("wasmdbg-dap".into()).spawn(client);
        }
    }
}

/// Says why in the client's console, as far as that costs no time: the client is not waited for.
fn turn_away(mut stream: &TcpStream, why: &str) {
    let output = format!("wasmdbg does not serve this connection: {why}\n");
    let event =
        Event::Output(OutputEvent { category: Category::Important, output, source: None, line: None });
    let message = Outgoing { seq: 1, kind: OutgoingKind::Event { event: &event } };
    if let (Ok(()), Ok(body)) = (stream.set_nonblocking(true), serde_json::to_vec(&message)) {
        let _ = framing::write(&mut stream, &body);
    }
    let _ = stream.shutdown(Shutdown::Write);
}
