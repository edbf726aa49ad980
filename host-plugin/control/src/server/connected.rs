//! One connected peer of the loop: what it has sent so far, how it is let go.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::disconnect::Disconnect;
use super::outbox::ClientHandle;
use super::peer::Peer;
use super::service::Service;
use crate::messages::message::{ErrorKind, Message, Request, RequestId, WireError};
use crate::messages::session::{Hello, Welcome};
use crate::text::{CLIENT_NAME, cut, escaped};
use crate::wire::codec::Decoder;
use crate::wire::version::{PROTOCOL_VERSION, Side, version_mismatch};

/// Bytes read from one client in one turn.
pub(super) const TURN_BYTES: usize = 256 * 1024;

/// While so much waits to be sent, none of that client's requests is served.
const BACKLOG: usize = 4 << 20;

/// While so many of its requests are being worked on, none of its further ones is served: with an answer of
/// a whole frame each they and the backlog stay below [`super::OUTBOX_LIMIT`].
pub(super) const IN_WORK: usize = 8;

/// How long a client that is being let go may take to read its last messages.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// A peer from its accept to its end.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) stream: UnixStream,
    pub(super) handle: ClientHandle,
    peer: Peer,
    decoder: Decoder,
    pub(super) greeted: bool,
    /// Requests of it can be in the decoder because it is backed up.
    pub(super) held: bool,
    /// Its socket is of no more use, not even for last words.
    pub(super) gone: bool,
    /// Until when it must have greeted or, when it is being let go, have read its last messages.
    patience: Option<Instant>,
}

impl Connected {
    pub(super) fn new(stream: UnixStream, handle: ClientHandle, peer: Peer, greet_until: Instant) -> Self {
        Self {
            stream,
            handle,
            peer,
            decoder: Decoder::new(),
            greeted: false,
            held: false,
            gone: false,
            patience: Some(greet_until),
        }
    }

    /// What the loop waits for.
    pub(super) fn interest(&self) -> PollFlags {
        let mut interest = PollFlags::empty();
        if !self.backed_up() {
            interest |= PollFlags::POLLIN;
        }
        if self.handle.backlog() > 0 {
            interest |= PollFlags::POLLOUT;
        }
        interest
    }

    /// Too much waits for it, or is being made for it, to serve more of its requests.
    pub(super) fn backed_up(&self) -> bool {
        self.handle.backlog() >= BACKLOG || self.handle.in_work() >= IN_WORK
    }

    /// Requests that were held back can be served now.
    pub(super) fn can_go_on(&self) -> bool {
        self.held && !self.backed_up()
    }

    pub(super) fn give_up(&self) -> Option<Instant> {
        self.patience
    }

    /// Reads what there is, up to a limit; says whether this was the end.
    pub(super) fn fill(&mut self) -> Option<Disconnect> {
        let mut chunk = [0; 16 * 1024];
        let mut total = 0;
        while total < TURN_BYTES {
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    return Some(self.decoder.finish().err().map_or(Disconnect::HungUp, Disconnect::Frame));
                }
                Ok(count) => {
                    self.decoder.push(&chunk[..count]);
                    total += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Some(Disconnect::HungUp);
                }
                Err(error) => return Some(Disconnect::Io(error.to_string())),
            }
        }
        None
    }

    /// Throws away what a client sends that is being let go; notices its end.
    pub(super) fn discard(&mut self) {
        self.decoder = Decoder::new();
        if self.fill().is_some() {
            self.gone = true;
        }
        self.decoder = Decoder::new();
    }

    /// Bytes of it that are in no request handed on so far.
    #[cfg(test)]
    pub(super) fn undecoded(&self) -> usize {
        self.decoder.undecoded()
    }

    pub(super) fn next_request(&mut self) -> Result<Option<(RequestId, Request)>, Disconnect> {
        match self.decoder.next_message()? {
            None => Ok(None),
            Some(Message::Request { id, body }) => Ok(Some((id, body))),
            Some(_) => Err(Disconnect::NoRequest),
        }
    }

    pub(super) fn greet(
        &mut self,
        id: RequestId,
        hello: Hello,
        welcome: &Welcome,
        service: &mut impl Service,
    ) {
        // It goes into logs and lists as it stands here.
        let hello = Hello { client: escaped(&cut(&hello.client, CLIENT_NAME)).into_owned(), ..hello };
        if hello.protocol != PROTOCOL_VERSION {
            let text = version_mismatch(
                Side::Plugin(&welcome.plugin),
                PROTOCOL_VERSION,
                Side::Client(&hello.client),
                hello.protocol,
            );
            self.refuse_greeting(id, &text);
            return;
        }
        if self.handle.reply(id, welcome.clone()).is_ok() && !self.greeted {
            self.greeted = true;
            self.patience = None;
            service.connected(self.handle.clone(), self.peer, hello);
        }
    }

    pub(super) fn refuse_greeting(&mut self, id: RequestId, why: &str) {
        let _ = self.handle.refuse(id, WireError::new(ErrorKind::Version, why));
        self.end(Disconnect::NoGreeting(why.to_owned()));
    }

    /// Lets the client go; what is queued may still be read for a moment.
    pub(super) fn end(&mut self, why: Disconnect) {
        self.handle.end(why);
    }

    /// Its other end is closed: nobody is there to read an answer.
    pub(super) fn hang_up(&mut self) {
        self.end(Disconnect::HungUp);
        self.gone = true;
    }

    pub(super) fn flush(&mut self) {
        if self.gone {
            return;
        }
        if let Err(error) = self.handle.flush(&self.stream) {
            self.handle.end(match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Disconnect::HungUp,
                _ => Disconnect::Io(error.to_string()),
            });
            self.gone = true;
        }
    }

    /// Looks at the clock.
    pub(super) fn expire(&mut self, now: Instant) {
        let ending = self.handle.ending().is_some();
        if ending && (self.greeted || self.patience.is_none()) {
            self.patience.get_or_insert(now + FAREWELL);
        } else if !ending && !self.greeted && self.patience.is_some_and(|until| until <= now) {
            self.end(Disconnect::NoGreeting("it said nothing".into()));
        }
    }

    /// Whether nothing more can be done for it.
    pub(super) fn done(&self, now: Instant) -> bool {
        match self.handle.ending() {
            None => self.gone,
            Some(Disconnect::HungUp | Disconnect::Unread { .. } | Disconnect::Io(_)) => true,
            Some(_) => {
                self.gone || self.handle.backlog() == 0 || self.patience.is_some_and(|until| until <= now)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::messages::session::ActivityNoted;
    use crate::server::{ClientId, Waker};

    /// A peer that was accepted at `now`, and its own end.
    fn accepted(now: Instant) -> (Connected, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let handle = ClientHandle::new(ClientId(1), Waker::new().unwrap());
        let peer = Peer::of(&ours).unwrap();
        (Connected::new(ours, handle, peer, now + Duration::from_secs(10)), theirs)
    }

    #[test]
    fn who_says_nothing_is_let_go_when_its_time_is_up() {
        let start = Instant::now();
        let (mut silent, _theirs) = accepted(start);
        silent.expire(start + Duration::from_millis(9_999));
        assert_eq!(silent.handle.ending(), None);
        silent.expire(start + Duration::from_secs(10));
        assert_eq!(silent.handle.ending(), Some(Disconnect::NoGreeting("it said nothing".into())));
        let (mut greeted, _theirs) = accepted(start);
        (greeted.greeted, greeted.patience) = (true, None);
        greeted.expire(start + Duration::from_secs(3600));
        assert_eq!((greeted.handle.ending(), greeted.give_up()), (None, None));
    }

    #[test]
    fn who_is_let_go_has_a_moment_for_its_last_messages() {
        let now = Instant::now();
        let (mut client, _theirs) = accepted(now);
        (client.greeted, client.patience) = (true, None);
        client.handle.reply(7, ActivityNoted {}).unwrap();
        client.end(Disconnect::Closed);
        client.expire(now);
        assert_eq!(client.give_up(), Some(now + FAREWELL), "the loop wakes for it");
        assert!(!client.done(now), "its last message waits");
        // The moment is one, not one after the other.
        client.expire(now + FAREWELL / 2);
        assert!(client.done(now + FAREWELL));
        client.flush();
        assert!(client.done(now), "it has all of it");
    }

    #[test]
    fn a_turn_reads_a_bounded_amount() {
        let (mut client, mut theirs) = accepted(Instant::now());
        // More than the socket holds: what is written goes on while it is read.
        let writer = std::thread::spawn(move || {
            for _ in 0..64 {
                theirs.write_all(&[b' '; 64 * 1024]).unwrap();
            }
        });
        while client.fill().is_none() {
            assert!(client.undecoded() <= TURN_BYTES + 16 * 1024, "{} bytes in one turn", client.undecoded());
            client.decoder = Decoder::new();
        }
        writer.join().unwrap();
    }
}
