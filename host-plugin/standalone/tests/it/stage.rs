//! One host with one filter, at a port of its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use wasmdbg_control::session::{Attach, LaneStart};
use wasmdbg_control::status::{GetStatus, Status};
use wasmdbg_control::{Client, Event, Events, ModulePc};
use wasmdbg_proxy_wasm::{FilterConfig, Settings};
use wasmdbg_standalone::{Happening, Host, Listening, Options, Report, Upstream, request_file};

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A filter that sees requests and does nothing.
pub(crate) const PASSING: &str = r#"(func (export "proxy_on_log") (param i32))"#;

/// Keeps what is told.
#[derive(Default)]
struct Told {
    happenings: Mutex<Vec<Happening>>,
    callbacks: AtomicBool,
}

impl Report for Told {
    fn take(&self, happening: Happening) {
        self.happenings.lock().unwrap().push(happening);
    }

    fn wants_callbacks(&self) -> bool {
        self.callbacks.load(Ordering::SeqCst)
    }
}

/// A proxy with one filter, its report, and what the test waits for.
pub(crate) struct Stage {
    told: Arc<Told>,
    // Dropped in this order.
    listening: Listening,
    host: Host,
}

impl Stage {
    /// `functions`: of the filter; `settings`, `limits`: YAML; `origin`: where requests go.
    pub(crate) fn new(functions: &str, settings: &str, fail_open: bool, origin: Option<SocketAddr>) -> Self {
        let url = origin.map(|origin| format!("http://{origin}"));
        Self::before(functions, settings, fail_open, url.as_deref())
    }

    /// The same, with the upstream's URL.
    pub(crate) fn before(functions: &str, settings: &str, fail_open: bool, url: Option<&str>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file =
            std::env::temp_dir().join(format!("wasmdbg-standalone-{}-{number}.wasm", std::process::id()));
        fs::write(&file, wat::parse_str(module(functions)).unwrap()).unwrap();
        let yaml = format!(
            "config: {{fail_open: {fail_open}, vmConfig: {{code: {{local: {{filename: {}}}}}}}}}",
            file.display()
        );
        let (filter, _) = FilterConfig::parse(&yaml, &PathBuf::from("/filter.yaml"), None).unwrap();
        let (settings, _) = Settings::parse(settings, &PathBuf::from("/settings.yaml")).unwrap();
        let told = Arc::new(Told::default());
        let upstream = url.map(|url| Upstream::parse(url).unwrap());
        let report: Arc<dyn Report> = told.clone();
        let host = Host::new(Options { filter, settings, upstream, report, cache_folder: None });
        fs::remove_file(&file).unwrap();
        let host = host.unwrap();
        let listening = host.listen((Ipv4Addr::LOCALHOST, 0).into(), 1).unwrap();
        Self { told, listening, host }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.listening.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends `request`, without the empty line at its end and with what follows it, and returns the status.
    pub(crate) fn ask(&self, head: &str, body: &str) -> u16 {
        let mut stream = self.connect();
        write!(stream, "{head}\r\nConnection: close\r\n\r\n{body}").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response.split(' ').nth(1).expect("a status line").parse().unwrap()
    }

    /// Sends `request` as [`Stage::ask`] does, without closing, and returns the whole response as it came: its
    /// head, and as much of its body as the head says.
    pub(crate) fn response(&self, stream: &mut TcpStream, head: &str, body: &str) -> String {
        write!(stream, "{head}\r\n\r\n{body}").unwrap();
        let mut response = Vec::new();
        let end = loop {
            let mut byte = [0];
            assert_eq!(
                stream.read(&mut byte).unwrap(),
                1,
                "it ends in {:?}",
                String::from_utf8_lossy(&response)
            );
            response.push(byte[0]);
            if response.ends_with(b"\r\n\r\n") {
                break response.len();
            }
        };
        let head = String::from_utf8(response.clone()).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        response.resize(end + length.unwrap_or(0), 0);
        stream.read_exact(&mut response[end..]).unwrap();
        String::from_utf8(response).unwrap()
    }

    /// Plays the requests of a file to their end.
    pub(crate) fn play(&self, text: &str) {
        self.host.play(request_file::parse(text).unwrap()).unwrap().wait();
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// From now on the report wants to hear of requests and callbacks too.
    pub(crate) fn tell_callbacks(&self) {
        self.told.callbacks.store(true, Ordering::SeqCst);
    }

    /// All that was told.
    pub(crate) fn told(&self) -> Vec<Happening> {
        self.told.happenings.lock().unwrap().clone()
    }

    /// Waits until so many requests have ended, and returns all that was told.
    pub(crate) fn told_of(&self, requests: usize) -> Vec<Happening> {
        let until = Instant::now() + PATIENCE;
        loop {
            let told = self.told();
            let ended = told.iter().filter(|happening| matches!(happening, Happening::Ended { .. })).count();
            if ended == requests {
                return told;
            }
            assert!(Instant::now() < until, "{ended} requests have ended: {told:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What was logged.
    pub(crate) fn lines(&self) -> Vec<String> {
        let message = |happening| match happening {
            Happening::Log { message, .. } => Some(message),
            _ => None,
        };
        self.told().into_iter().filter_map(message).collect()
    }

    pub(crate) fn client(&self) -> (Client, Events) {
        Client::greet(self.host.connect().unwrap(), "test 1.0").unwrap()
    }

    /// A client that debugs every request.
    pub(crate) fn attached(&self) -> (Client, Events) {
        let (client, events) = self.client();
        let attach = Attach {
            filters: Vec::new(),
            rules: Vec::new(),
            all: true,
            deadline_ms: None,
            start: LaneStart::AtOnce,
        };
        client.call_within(attach, PATIENCE).unwrap();
        (client, events)
    }

    /// Waits until the state is as `good` wants it.
    pub(crate) fn wait_status(&self, what: &str, good: impl Fn(&Status) -> bool) -> Status {
        let (client, _events) = self.client();
        let until = Instant::now() + PATIENCE;
        loop {
            let status = client.call(GetStatus {}).unwrap();
            if good(&status) {
                return status;
            }
            assert!(Instant::now() < until, "never: {what}: {status:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Waits for the event that `pick` wants.
pub(crate) fn wait<T>(events: &Events, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let event = events.recv_timeout(left).unwrap_or_else(|_| panic!("no event: {what}"));
        if let Some(found) = pick(event) {
            return found;
        }
    }
}

/// An origin that answers each request with the whole of `response` and closes.
pub(crate) fn origin(response: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|size| size > 2) {
                line.clear();
            }
            let _ = (&stream).write_all(response.as_bytes());
        }
    });
    address
}

/// What an origin does with a request: its number on its connection, from 0, and its head in lower case; `None`: it
/// closes without an answer.
type Answer = dyn Fn(usize, &str) -> Option<String> + Send + Sync;

/// An origin that keeps its connections.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    /// Heads of requests in lower case, with the number of their connection from 0.
    pub(crate) heads: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Origin {
    pub(crate) fn start(answer: impl Fn(usize, &str) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<(usize, String)>>>::default();
        let (seen, answer): (_, Arc<Answer>) = (Arc::clone(&heads), Arc::new(answer));
        // All of them end with the process.
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().flatten().enumerate() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                thread::spawn(move || {
                    let mut reader = BufReader::new(&stream);
                    for number in 0.. {
                        let mut head = String::new();
                        while reader.read_line(&mut head).is_ok_and(|size| size > 2) {}
                        if head.is_empty() {
                            return;
                        }
                        let head = head.to_ascii_lowercase();
                        let length =
                            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                        reader.read_exact(&mut vec![0; length.unwrap_or(0)]).unwrap();
                        seen.lock().unwrap().push((connection, head.clone()));
                        let Some(answer) = answer(number, &head) else { return };
                        (&stream).write_all(answer.as_bytes()).unwrap();
                    }
                });
            }
        });
        Self { address, heads }
    }

    /// The only request so far.
    pub(crate) fn head(&self) -> String {
        let heads = self.heads.lock().unwrap();
        assert_eq!(heads.len(), 1, "{heads:?}");
        heads[0].1.clone()
    }
}

/// A serialized header map as the text of a data segment, and its size.
pub(crate) fn pairs(fields: &[(&str, &str)]) -> (String, usize) {
    let word = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let mut bytes = word(fields.len()).to_vec();
    for (name, value) in fields {
        bytes.extend([word(name.len()), word(value.len())].concat());
    }
    for (name, value) in fields {
        bytes.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    (bytes.iter().map(|byte| format!("\\{byte:02x}")).collect(), bytes.len())
}

/// Where `i32.const MARKER` is in the module of `functions`; markers are above 4095.
pub(crate) fn pc(functions: &str, marker: u32) -> ModulePc {
    let bytes = wat::parse_str(module(functions)).unwrap();
    let pattern = [0x41, (marker & 0x7f) as u8 | 0x80, (marker >> 7) as u8];
    assert!(marker < 1 << 13, "two bytes");
    let found: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(&pattern)).collect();
    assert_eq!(found.len(), 1, "marker {marker} is there once");
    ModulePc::at(found[0])
}

fn module(functions: &str) -> String {
    format!(
        r#"(module
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (import "env" "proxy_get_header_map_value"
                (func $header (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_replace_header_map_value"
                (func $replace (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_send_local_response"
                (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
            (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
            (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
            (import "env" "proxy_set_tick_period_milliseconds" (func $ticks (param i32) (result i32)))
            (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) ":authority01")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 4096))
            (func $digit (param i32)
                (drop (call $log (i32.const 2) (i32.add (i32.const 26) (local.get 0)) (i32.const 1))))
            {functions})"#
    )
}
