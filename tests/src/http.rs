//! A small HTTP/1.1 client: one request on a connection, several on one, or one that stays open.
//!
//! It says exactly what came back; it never retries and never follows a redirect.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::scratch::PATIENCE;

/// What to ask for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method, such as `GET`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Headers besides Host and Content-Length, in order.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Vec<u8>,
}

impl Request {
    /// A GET without further headers.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self { method: "GET".into(), path: path.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// A POST with a body.
    #[must_use]
    pub fn post(path: &str, body: &[u8]) -> Self {
        Self { method: "POST".into(), path: path.into(), headers: Vec::new(), body: body.to_vec() }
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn encode(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || self.method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// All headers in order, names as sent.
    pub headers: Vec<(String, String)>,
    /// The whole body, chunks joined.
    pub body: Vec<u8>,
    /// From the first byte sent to the last byte received.
    pub elapsed: Duration,
}

impl Response {
    /// The first header of this name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that is kept between requests.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    /// Connects; reads and writes give up after `limit`.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(address: SocketAddr, limit: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, limit)
            .with_context(|| format!("nobody accepts at {address}"))?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), host: address.to_string() })
    }

    /// Sends a request and does not wait: for what happens while it is stopped.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, request: &Request) -> Result<()> {
        self.stream.get_mut().write_all(&request.encode(&self.host)).context("cannot send the request")
    }

    /// Reads the response to what was sent before, a HEAD request excepted.
    ///
    /// # Errors
    /// When the connection ends or stays silent before the response is whole.
    pub fn receive(&mut self) -> Result<Response> {
        let start = Instant::now();
        let line = self.line().context("no status line")?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("not a status line: {line:?}"))?;
        let mut response =
            Response { status, headers: Vec::new(), body: Vec::new(), elapsed: Duration::ZERO };
        loop {
            let line = self.line().context("the headers are cut")?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').with_context(|| format!("not a header: {line:?}"))?;
            response.headers.push((name.to_string(), value.trim().to_string()));
        }
        self.read_body(&mut response).context("the body is cut")?;
        response.elapsed = start.elapsed();
        Ok(response)
    }

    /// Sends and receives.
    ///
    /// # Errors
    /// As [`Connection::send`] and [`Connection::receive`].
    pub fn exchange(&mut self, request: &Request) -> Result<Response> {
        let start = Instant::now();
        self.send(request)?;
        let mut response = self.receive()?;
        response.elapsed = start.elapsed();
        Ok(response)
    }

    /// The socket, to close one of its sides.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the connection was closed");
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_string())
    }

    fn read_body(&mut self, response: &mut Response) -> Result<()> {
        if matches!(response.status, 100..200 | 204 | 304) {
            return Ok(());
        }
        if let Some(length) = response.header("content-length") {
            let mut body = vec![0; length.parse().context("content-length is no number")?];
            self.stream.read_exact(&mut body)?;
            response.body = body;
        } else if response.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
            self.read_chunks(&mut response.body)?;
        } else {
            self.stream.read_to_end(&mut response.body)?;
        }
        Ok(())
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> Result<()> {
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size =
                usize::from_str_radix(digits, 16).with_context(|| format!("not a chunk size: {line:?}"))?;
            let start = body.len();
            body.resize(start + size, 0);
            self.stream.read_exact(&mut body[start..])?;
            // The line end behind the chunk; behind the last one it ends the (empty) trailers.
            if !self.line()?.is_empty() {
                bail!("a chunk is longer than it says");
            }
            if size == 0 {
                return Ok(());
            }
        }
    }
}

/// One request on a connection of its own.
///
/// # Errors
/// When the response does not come whole within [`PATIENCE`].
pub fn fetch(address: SocketAddr, request: &Request) -> Result<Response> {
    fetch_within(address, request, PATIENCE)
}

/// The same with a limit.
///
/// # Errors
/// When the response does not come whole within `limit`.
pub fn fetch_within(address: SocketAddr, request: &Request, limit: Duration) -> Result<Response> {
    let response = Connection::open(address, limit)?.exchange(request);
    response.map_err(|error| match is_timeout(&error) {
        true => error.context(format!("{} {}: waited {limit:?} in vain", request.method, request.path)),
        false => error,
    })
}

/// Whether time was up, and the connection did not end.
fn is_timeout(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.into_iter().any(|kind| matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
}

/// Whether nobody listens at `address` any more.
///
/// # Errors
/// When connections fail for another reason.
pub fn is_refused(address: SocketAddr) -> Result<bool> {
    match TcpStream::connect(address) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot connect to {address}")),
    }
}

/// A request that another thread waits for.
#[derive(Debug)]
pub struct Pending {
    thread: std::thread::JoinHandle<Result<Response>>,
}

impl Pending {
    /// Sends the request on a thread of its own, with a limit for its response.
    #[must_use]
    pub fn start(address: SocketAddr, request: Request, limit: Duration) -> Self {
        Self { thread: std::thread::spawn(move || fetch_within(address, &request, limit)) }
    }

    /// Whether the answer is there.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// As [`fetch_within`].
    pub fn wait(self) -> Result<Response> {
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => bail!("the client thread panicked"),
        }
    }

    /// Waits for the end of its connection, whose server dies.
    ///
    /// # Errors
    /// When it is answered, or its time is up: a connection that does not end is not one that was lost.
    pub fn wait_for_loss(self) -> Result<()> {
        match self.wait() {
            Ok(response) => bail!("the request was answered with {}", response.status),
            Err(error) if is_timeout(&error) => Err(error),
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::{Pending, Request, fetch, is_refused};
    use crate::origin::{Answer, Origin};
    use crate::scratch::PATIENCE;

    #[test]
    fn a_server_that_is_silent_is_not_one_that_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let start = |limit| Pending::start(address, Request::get("/"), limit);
        let error = start(Duration::from_millis(50)).wait_for_loss().unwrap_err();
        assert!(error.to_string().contains("waited 50ms in vain"), "{error:#}");
        assert!(!is_refused(address).unwrap());
        let lost = start(PATIENCE);
        drop(listener.accept().unwrap());
        // Whoever was accepted first is gone; the other one's connection ends with the listener.
        drop(listener);
        lost.wait_for_loss().unwrap();
        assert!(is_refused(address).unwrap());
    }

    #[test]
    fn a_chunked_body_is_joined() {
        let origin = Origin::start(|_| Answer::ok("").chunks(&["one ", "two"])).unwrap();
        let response = fetch(origin.address(), &Request::get("/")).unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "one two"));
    }
}
