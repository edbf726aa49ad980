//! An origin server whose answers a test decides.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

/// A request as the origin got it.
#[derive(Debug, Clone)]
pub struct Received {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, by Content-Length.
    pub body: Vec<u8>,
}

impl Received {
    /// The first header of this name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// What the origin answers.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    Whole(Vec<u8>),
    Chunks(Vec<String>),
}

impl Answer {
    /// Status 200 with a body.
    #[must_use]
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200, body)
    }

    /// Any status with a body.
    #[must_use]
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: Body::Whole(body.into()) }
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with a chunked body.
    #[must_use]
    pub fn chunks(mut self, chunks: &[&str]) -> Self {
        self.body = Body::Chunks(chunks.iter().map(|chunk| (*chunk).to_string()).collect());
        self
    }

    fn encode(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Answer\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &self.body {
            Body::Whole(body) => {
                head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
                let mut bytes = head.into_bytes();
                bytes.extend_from_slice(body);
                bytes
            }
            Body::Chunks(chunks) => {
                head.push_str("Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks {
                    head.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
                }
                head.push_str("0\r\n\r\n");
                head.into_bytes()
            }
        }
    }
}

type Handler = dyn Fn(&Received) -> Answer + Send + Sync;

/// A running origin; a thread for each connection, ended when dropped.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<Received>>>,
}

impl Origin {
    /// Listens on a free loopback port and answers each request with what `handler` returns.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(handler: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let handler: Arc<Handler> = Arc::new(handler);
        let (stop, seen) = (Arc::clone(&ended), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (handler, seen, stop) = (Arc::clone(&handler), Arc::clone(&seen), Arc::clone(&stop));
                std::thread::spawn(move || serve(&stream, &*handler, &seen, &stop));
            }
        });
        Ok(Self { address, ended, requests })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: &TcpStream, handler: &Handler, seen: &Mutex<Vec<Received>>, ended: &AtomicBool) {
    let mut reader = BufReader::new(stream);
    while let Some(received) = read_request(&mut reader) {
        if ended.load(Ordering::SeqCst) {
            break;
        }
        let answer = handler(&received).encode();
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(received);
        let mut writer = stream;
        if writer.write_all(&answer).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn read_request(reader: &mut impl BufRead) -> Option<Received> {
    let first = read_line(reader)?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_string(), words.next()?.to_string());
    let mut received = Received { method, path, headers: Vec::new(), body: Vec::new() };
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        received.headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
    }
    let length = received.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    received.body.resize(length, 0);
    reader.read_exact(&mut received.body).ok()?;
    Some(received)
}

fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    match reader.read_line(&mut line) {
        Ok(1..) => Some(line.trim_end_matches(['\r', '\n']).to_string()),
        _ => None,
    }
}
