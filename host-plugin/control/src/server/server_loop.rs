//! The loop itself: what it waits for, and one turn of it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::connected::{Connected, FAREWELL};
use super::disconnect::{ClientId, Disconnect};
use super::listener::Listener;
use super::outbox::ClientHandle;
use super::peer::Peer;
use super::remote::{self, Incoming, Remote};
use super::service::Service;
use super::waker::Waker;
use crate::messages::message::{ErrorKind, Request, WireError};
use crate::messages::session::Welcome;
use crate::wire::version::PROTOCOL_VERSION;

/// Connections at once; more are told to come back later.
pub const MAX_CLIENTS: usize = 64;

/// How long a client may take to greet.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);

/// How long to leave the listener alone when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The loop and its sockets.
#[derive(Debug)]
pub struct ServerLoop {
    listener: Option<Listener>,
    welcome: Welcome,
    waker: Waker,
    remote: Remote,
    incoming: Incoming,
    pub(super) clients: BTreeMap<ClientId, Connected>,
    next_client: u64,
    accept_after: Option<Instant>,
}

impl ServerLoop {
    /// A loop over `listener` (none: only connections made with [`ServerLoop::remote`]) that greets with
    /// `welcome`; its protocol version is set here.
    ///
    /// # Errors
    /// The system has no file descriptor left.
    pub fn new(listener: Option<Listener>, mut welcome: Welcome) -> io::Result<Self> {
        welcome.protocol = PROTOCOL_VERSION;
        let waker = Waker::new()?;
        let (remote, incoming) = remote::channel(waker.clone());
        Ok(Self {
            listener,
            welcome,
            waker,
            remote,
            incoming,
            clients: BTreeMap::new(),
            next_client: 1,
            accept_after: None,
        })
    }

    /// Wakes or stops the loop from any thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Makes connections to this loop inside the process.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Serves until [`Waker::stop`]. The listener is removed before this returns, whatever the host has yet to
    /// wait for; clients are disconnected when the loop is dropped.
    ///
    /// # Errors
    /// The system cannot poll.
    pub fn run(&mut self, service: &mut impl Service) -> io::Result<()> {
        while !self.waker.stopped() {
            self.turn(service)?;
        }
        self.listener = None;
        for client in self.clients.values_mut() {
            client.flush();
        }
        Ok(())
    }

    /// Waits for something to do, and does it.
    ///
    /// # Errors
    /// The system cannot poll.
    pub fn turn(&mut self, service: &mut impl Service) -> io::Result<()> {
        let ready = self.wait(service.next_tick())?;
        self.waker.quiet();
        if ready.listener {
            self.accept(service);
        }
        for stream in self.incoming.take() {
            self.admit(stream, service);
        }
        for id in ready.hung_up {
            if let Some(client) = self.clients.get_mut(&id) {
                client.hang_up();
            }
        }
        for id in ready.clients {
            self.receive(id, service);
        }
        service.tick(Instant::now());
        for client in self.clients.values_mut() {
            client.flush();
        }
        self.reap(service);
        Ok(())
    }

    fn wait(&mut self, next_tick: Option<Instant>) -> io::Result<Ready> {
        let now = Instant::now();
        self.accept_after = self.accept_after.filter(|&until| until > now);
        let accepting = self.accept_after.is_none();
        let wake_at = self
            .clients
            .values()
            .filter_map(Connected::give_up)
            .chain(next_tick)
            .chain(self.accept_after)
            .min();
        let mut fds = vec![PollFd::new(self.waker.fd(), PollFlags::POLLIN)];
        let listener = self.listener.as_ref().filter(|_| accepting);
        fds.extend(listener.map(|listener| PollFd::new(listener.socket.as_fd(), PollFlags::POLLIN)));
        let first = fds.len();
        fds.extend(self.clients.values().map(|client| PollFd::new(client.stream.as_fd(), client.interest())));
        let held = self.clients.values().any(Connected::can_go_on);
        let wake_at = if held { Some(now) } else { wake_at };
        match poll(&mut fds, timeout(wake_at, now)) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let any = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        let listener = first == 2 && any(&fds[1]);
        let mut ready = Ready { listener, clients: Vec::new(), hung_up: Vec::new() };
        for ((id, client), fd) in self.clients.iter().zip(&fds[first..]) {
            let closed = fd.revents().is_some_and(|events| events.intersects(PollFlags::POLLHUP));
            // What it still had to say is not read: without this the poll would return at once for ever.
            if closed && client.backed_up() {
                ready.hung_up.push(*id);
            } else if any(fd) || client.can_go_on() {
                ready.clients.push(*id);
            }
        }
        Ok(ready)
    }

    fn accept(&mut self, service: &mut impl Service) {
        let mut accepted = Vec::new();
        if let Some(listener) = &self.listener {
            // A bounded number, so that a crowd at the door does not keep the others waiting.
            for _ in 0..MAX_CLIENTS {
                match listener.socket.accept() {
                    Ok((stream, _)) => accepted.push(stream),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(_) => {
                        self.accept_after = Some(Instant::now() + ACCEPT_PAUSE);
                        break;
                    }
                }
            }
        }
        for stream in accepted {
            self.admit(stream, service);
        }
    }

    fn admit(&mut self, stream: UnixStream, service: &mut impl Service) {
        let Ok(peer) = Peer::of(&stream) else { return };
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let id = ClientId(self.next_client);
        self.next_client += 1;
        let handle = ClientHandle::new(id, self.waker.clone());
        let verdict = if self.clients.len() >= MAX_CLIENTS {
            Err(format!("{MAX_CLIENTS} clients are connected already: end one of them"))
        } else {
            service.allow(&peer)
        };
        let now = Instant::now();
        let client = match verdict {
            Ok(()) => Connected::new(stream, handle, peer, now + HELLO_PATIENCE),
            Err(reason) => {
                service.refused(&peer, &reason);
                // Id 0 answers no request: it is about the connection.
                let _ = handle.refuse(0, WireError::new(ErrorKind::Denied, reason));
                let mut client = Connected::new(stream, handle, peer, now + FAREWELL);
                client.flush();
                return;
            }
        };
        self.clients.insert(id, client);
    }

    /// Hands requests on: those that were held back, then what the socket has, a bounded amount. Nothing is read
    /// while a request waits, so what a client has sent and nobody has looked at is bounded too.
    fn receive(&mut self, id: ClientId, service: &mut impl Service) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.handle.ending().is_some() {
            client.discard();
            return;
        }
        client.held = false;
        let (mut filled, mut end) = (false, None);
        loop {
            if client.backed_up() {
                client.held = true;
                break;
            }
            match client.next_request() {
                Ok(None) if filled => break,
                Ok(None) => {
                    filled = true;
                    end = client.fill();
                }
                Ok(Some((request, Request::Hello(hello)))) => client.greet(request, hello, &self.welcome, service),
                Ok(Some((request, _))) if !client.greeted => client.refuse_greeting(
                    request,
                    "`hello` must be the first request: this client speaks no version of the control protocol",
                ),
                Ok(Some((request, body))) => {
                    client.handle.begin(request, &body);
                    service.request(id, request, body);
                }
                Err(why) => {
                    let text = format!("{why}: the connection ends here");
                    let _ = client.handle.refuse(0, WireError::new(ErrorKind::Malformed, text));
                    client.end(why);
                }
            }
            if client.handle.ending().is_some() {
                break;
            }
        }
        if let Some(why) = end {
            client.end(why);
            client.gone = true;
        }
    }

    /// Lets go of clients that are done.
    fn reap(&mut self, service: &mut impl Service) {
        let now = Instant::now();
        let mut gone = Vec::new();
        self.clients.retain(|id, client| {
            client.expire(now);
            let done = client.done(now);
            if done && client.greeted {
                let why = client.handle.ending().unwrap_or(Disconnect::HungUp);
                client.handle.end(why.clone());
                gone.push((*id, why));
            }
            !done
        });
        for (id, why) in gone {
            service.disconnected(id, &why);
        }
    }
}

struct Ready {
    listener: bool,
    clients: Vec<ClientId>,
    /// Backed up, and closed by the other end.
    hung_up: Vec<ClientId>,
}

/// Milliseconds until `at`, rounded up: rounding down would poll many times in the last one.
fn timeout(at: Option<Instant>, now: Instant) -> PollTimeout {
    let Some(at) = at else { return PollTimeout::NONE };
    let micros = at.saturating_duration_since(now).as_micros();
    PollTimeout::try_from(micros.div_ceil(1000)).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_sleeps_to_the_end_of_a_millisecond() {
        let now = Instant::now();
        let until = |micros| timeout(Some(now + Duration::from_micros(micros)), now);
        assert_eq!(
            [until(0), until(1), until(1000), until(1001)].map(|time| time.as_millis()),
            [Some(0), Some(1), Some(1), Some(2)]
        );
        assert_eq!(timeout(Some(now), now + Duration::from_secs(1)).as_millis(), Some(0), "it has passed");
        assert_eq!(timeout(None, now), PollTimeout::NONE);
    }
}
