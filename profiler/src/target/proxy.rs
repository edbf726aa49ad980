//! The proxy as somebody to ask over its control socket. It may belong to another user: it is not waited for without
//! end, and no answer is believed to be the last but one.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use wasmdbg_control::client::{AttachError, CallError};
use wasmdbg_control::{Call, Client};

use crate::limits::{ANSWER, ANSWERS, Budget, TooMuch};

/// The control socket of the recorded proxy, asked within a time limit.
pub(crate) struct Proxy {
    client: Client,
    /// Takes an event; whether there was one.
    take_event: Box<dyn Fn() -> bool>,
    /// For one answer, and for all that are still to come.
    patience: (Duration, Duration),
    /// Why it is not asked any more.
    fault: Option<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("client", &self.client)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

/// What the proxy's log calls us.
pub(crate) const NAME: &str = concat!("wasmprof ", env!("CARGO_PKG_VERSION"));

impl Proxy {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// See [`AttachError`]; it has not greeted within `patience`.
    pub(crate) fn connect(path: &Path, patience: Duration) -> Result<Self, AttachError> {
        let (client, events) = Client::unix_within(path, NAME, patience)?;
        let take_event = Box::new(move || events.try_iter().next().is_some());
        Ok(Self { client, take_event, patience: (ANSWER, ANSWERS), fault: None })
    }

    /// Its process id here.
    pub(crate) fn pid(&self) -> u32 {
        self.client.pid()
    }

    /// Whether it has this optional part of the protocol.
    pub(crate) fn can(&self, capability: &str) -> bool {
        self.client.welcome().capabilities.iter().any(|name| name == capability)
    }

    /// Why it is not asked any more, if it is not.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Looks at what came without being asked for: only a session has events, and this is none.
    pub(crate) fn heed(&mut self) {
        if (self.take_event)() {
            self.fault = Some("it sends events that nobody asked for".into());
        }
    }

    /// The answer to a request; none when it refuses, or is not asked any more.
    pub(crate) fn ask<R: Call>(&mut self, request: R) -> Option<R::Reply> {
        self.heed();
        if self.fault.is_some() {
            return None;
        }
        let start = Instant::now();
        let result = self.client.call_within(request, self.patience.0.min(self.patience.1));
        self.patience.1 = self.patience.1.saturating_sub(start.elapsed());
        match result {
            Ok(reply) if !self.patience.1.is_zero() => return Some(reply),
            Ok(_) => self.fault = Some("its answers take too long".into()),
            Err(CallError::Refused(_) | CallError::Request(_)) => {}
            Err(error) => self.fault = Some(error.to_string()),
        }
        None
    }

    /// Reads something in parts. `request` asks for what is at an offset, `part` gives the size of the whole and what was
    /// read. None when it does not give it.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) fn read_whole<R: Call>(
        &mut self,
        budget: &mut Budget,
        request: impl Fn(u64) -> R,
        part: impl Fn(R::Reply) -> (u64, Vec<u8>),
    ) -> Result<Option<Vec<u8>>, TooMuch> {
        let mut bytes = Vec::new();
        loop {
            let Some((size, data)) = self.ask(request(bytes.len() as u64)).map(&part) else {
                return Ok(None);
            };
            budget.check(size)?;
            let read = bytes.len() as u64 + data.len() as u64;
            if data.is_empty() || read > size {
                return Ok(None);
            }
            bytes.extend(data);
            if read == size {
                budget.count(size);
                return Ok(Some(bytes));
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;
    use std::sync::mpsc;
    use std::thread;

    use wasmdbg_control::code::{CodeList, ListCode};
    use wasmdbg_control::filters::{ModuleBytes, ReadModule};
    use wasmdbg_control::session::{LanePhase, LaneProgress, Welcome};
    use wasmdbg_control::{Decoder, Event, FilterId, Message, ModuleHash, PROTOCOL_VERSION, Request, encode};

    use super::*;

    /// A proxy that greets, and answers each further request with `answer`; its socket goes with this.
    pub(crate) struct FakeProxy(PathBuf);

    impl FakeProxy {
        pub(crate) fn start(
            name: &str,
            mut answer: impl FnMut(&Peer, u64, Request) + Send + 'static,
        ) -> (Self, Proxy) {
            let path = std::env::temp_dir().join(format!("wasmprof-{}-{name}.sock", std::process::id()));
            let _ = std::fs::remove_file(&path);
            let listener = UnixListener::bind(&path).unwrap();
            thread::spawn(move || {
                let mut peer = Peer(listener.accept().unwrap().0);
                let (mut decoder, mut part) = (Decoder::new(), [0; 4096]);
                while let Ok(count @ 1..) = peer.0.read(&mut part) {
                    decoder.push(&part[..count]);
                    while let Ok(Some(Message::Request { id, body })) = decoder.next_message() {
                        if !matches!(body, Request::Hello(_)) {
                            answer(&peer, id, body);
                            continue;
                        }
                        let welcome = Welcome {
                            protocol: PROTOCOL_VERSION,
                            plugin: "test".into(),
                            host: "test".into(),
                            pid: std::process::id(),
                            capabilities: vec!["code".into()],
                        };
                        peer.send(&Message::Response { id, body: welcome.into() });
                    }
                }
            });
            let proxy = Proxy::connect(&path, Duration::from_secs(60)).unwrap();
            (Self(path), proxy)
        }
    }

    /// The proxy's end of the connection.
    pub(crate) struct Peer(UnixStream);

    impl Peer {
        pub(crate) fn send(&self, message: &Message) {
            // Whoever has heard enough hangs up.
            let _ = (&self.0).write_all(&encode(message).unwrap());
        }
    }

    impl Drop for FakeProxy {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn one_that_does_not_answer_is_not_asked_again() {
        let (asked, requests) = mpsc::channel();
        let (_socket, mut proxy) =
            FakeProxy::start("silent", move |_, _, _| asked.send(()).unwrap_or_default());
        proxy.patience.0 = Duration::from_millis(1);
        assert!(proxy.ask(ListCode {}).is_none());
        assert!(proxy.fault().unwrap().contains("has not answered `code`"), "{:?}", proxy.fault());
        proxy.patience.0 = Duration::from_secs(3600);
        assert!(proxy.ask(ListCode {}).is_none());
        drop(proxy);
        assert!(requests.into_iter().count() <= 1);
    }

    #[test]
    fn all_answers_together_have_a_limit() {
        let (_socket, mut proxy) = FakeProxy::start("slow", |peer, id, _| {
            peer.send(&Message::Response { id, body: CodeList { images: Vec::new() }.into() });
        });
        assert!(proxy.ask(ListCode {}).is_some());
        proxy.patience.1 = Duration::from_nanos(1);
        assert!(proxy.ask(ListCode {}).is_none() && proxy.fault().is_some());
    }

    #[test]
    fn events_that_nobody_asked_for_end_it() {
        let (_socket, mut proxy) = FakeProxy::start("talkative", |peer, id, _| {
            let (filter, name) = (FilterId(0), "first".to_owned());
            let progress = LaneProgress { filter, name, phase: LanePhase::Compiling, elapsed_ms: 1 };
            peer.send(&Message::Event(Event::LaneProgress(progress)));
            peer.send(&Message::Response { id, body: CodeList { images: Vec::new() }.into() });
        });
        assert!(proxy.ask(ListCode {}).is_some(), "events come before the answer");
        assert!(proxy.ask(ListCode {}).is_none());
        assert_eq!(proxy.fault(), Some("it sends events that nobody asked for"));
    }

    #[test]
    fn what_is_larger_than_there_is_room_for_is_not_read() {
        let (_socket, mut proxy) = FakeProxy::start("huge", |peer, id, request| {
            assert!(matches!(request, Request::ReadModule(_)), "{request:?}");
            let data = vec![7; 8];
            peer.send(&Message::Response { id, body: ModuleBytes { size: 24, data }.into() });
        });
        let mut read = |budget: &mut Budget| {
            let request = |offset| ReadModule { module: ModuleHash([0; 32]), offset, length: 8 };
            proxy.read_whole(budget, request, |part| (part.size, part.data))
        };
        assert_eq!(read(&mut Budget::new(23, 100)), Err(TooMuch::Each(24, 23)));
        let mut budget = Budget::new(24, 40);
        assert_eq!(read(&mut budget), Ok(Some(vec![7; 24])));
        assert_eq!(read(&mut budget), Err(TooMuch::All(24, 40)));
    }
}
