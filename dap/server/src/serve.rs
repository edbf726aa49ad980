//! Where clients come from: standard input and output, or connections to a loopback port. Owns the threads
//! that read; each client has an adapter of its own.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;

use crate::adapter::{Adapter, Input};
use crate::framing;
use crate::line::Line;
use crate::peer::Peer;
use crate::protocol::{Decoded, Request, decode};

/// Serves the client on standard input and output to its end.
///
/// # Errors
/// No thread can be started.
pub fn stdio() -> io::Result<()> {
    serve(io::stdin(), io::stdout())
}

/// Serves one client to its end: until it disconnects or its stream ends.
///
/// # Errors
/// No thread can be started.
pub fn serve(input: impl Read + Send + 'static, output: impl Write + Send + 'static) -> io::Result<()> {
    let (sender, inputs) = mpsc::channel();
    let line = Line::default();
    let adapter = Adapter::new(Peer::new(Box::new(output)), sender.clone(), line.clone());
    let cancelled = adapter.cancelled();
    std::thread::Builder::new().name("wasmdbg-dap-read".into()).spawn(move || {
        let mut input = BufReader::new(input);
        loop {
            let decoded = match framing::read(&mut input) {
                Ok(Some(body)) => decode(&body),
                Ok(None) => break,
                Err(error) => {
                    let _ = sender.send(Input::Malformed(format!("the client's stream is broken: {error}")));
                    break;
                }
            };
            let sent = match decoded {
                Decoded::Request(incoming) => {
                    // A cancel must overtake what it cancels.
                    if incoming.command == "cancel"
                        && let Ok(Request::Cancel(arguments)) = Request::parse(incoming.clone())
                    {
                        cancelled.add(&arguments);
                    }
                    sender.send(Input::Message(incoming))
                }
                Decoded::Malformed(why) => sender.send(Input::Malformed(why)),
                Decoded::Other => continue,
            };
            if sent.is_err() {
                return;
            }
        }
        // Also while the adapter waits for the proxy: nothing may stay stopped for a client that is gone.
        line.close();
        let _ = sender.send(Input::Closed);
    })?;
    adapter.run(&inputs);
    Ok(())
}

/// Accepts clients at a loopback port; any number at once.
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

    /// Serves clients for ever.
    ///
    /// # Errors
    /// Connections cannot be accepted any more.
    pub fn run(&self) -> io::Result<()> {
        loop {
            let (stream, _) = self.listener.accept()?;
            std::thread::Builder::new().name("wasmdbg-dap".into()).spawn(move || {
                // Steps are many small messages.
                let _ = stream.set_nodelay(true);
                if let Ok(reading) = stream.try_clone() {
                    let Ok(writing) = stream.try_clone() else { return };
                    let _ = serve(reading, writing);
                }
                let _ = stream.shutdown(std::net::Shutdown::Both);
            })?;
        }
    }
}
