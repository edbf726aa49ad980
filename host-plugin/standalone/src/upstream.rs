//! Where requests go: one HTTP/1.1 server. Owns the connections of one worker to it.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Body as _;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What goes wrong while a body is read.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// Any body.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why a URL is no upstream.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} is no upstream: {reason}")]
pub struct UpstreamError {
    url: String,
    reason: &'static str,
}

/// An HTTP/1.1 server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    authority: String,
    host: String,
    port: u16,
    /// In front of every path; no `/` at its end.
    base: String,
}

impl Upstream {
    /// Of `http://HOST[:PORT][/BASE]`.
    ///
    /// # Errors
    /// It is another kind of URL.
    pub fn parse(url: &str) -> Result<Self, UpstreamError> {
        let error = |reason| UpstreamError { url: url.to_owned(), reason };
        let parsed: http::Uri = url.parse().map_err(|_| error("give http://HOST:PORT"))?;
        match parsed.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(error("TLS is not spoken here, give http:// and a port without TLS"));
            }
            _ => return Err(error("give http://HOST:PORT")),
        }
        let authority = parsed.authority().ok_or_else(|| error("it names no host"))?;
        if parsed.query().is_some() {
            return Err(error("it has a query, which belongs to each request"));
        }
        Ok(Self {
            authority: authority.as_str().to_owned(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            base: parsed.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl Upstream {
    /// `HOST:PORT` as in the URL.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.base)
    }
}

/// A connection that may be used again.
struct Idle {
    sender: SendRequest<Body>,
    address: Option<SocketAddr>,
}

/// The connections of one worker.
pub(crate) struct Pool {
    upstream: Upstream,
    idle: RefCell<Vec<Idle>>,
}

impl Pool {
    pub(crate) fn new(upstream: Upstream) -> Rc<Self> {
        Rc::new(Self { upstream, idle: RefCell::default() })
    }

    /// Sends a request whose URI is a path. Returns the response and the address that gave it.
    pub(crate) async fn send(
        &self,
        mut request: http::Request<Body>,
    ) -> Result<(http::Response<hyper::body::Incoming>, Option<SocketAddr>), String> {
        if !self.upstream.base.is_empty() {
            let path = format!("{}{}", self.upstream.base, request.uri());
            *request.uri_mut() = path.parse().map_err(|error| format!("{path:?} is no path: {error}"))?;
        }
        if !request.headers().contains_key(http::header::HOST)
            && let Ok(host) = self.upstream.authority.parse()
        {
            request.headers_mut().insert(http::header::HOST, host);
        }
        // A request without a body can be sent once more when an idle connection turns out to be dead.
        let again = request.body().is_end_stream().then(|| copy_of(&request));
        let (mut connection, used) = match self.take() {
            Some(idle) => (idle, true),
            None => (self.connect().await?, false),
        };
        let sent = match connection.sender.send_request(request).await {
            Err(_) if used && let Some(again) = again => {
                connection = self.connect().await?;
                connection.sender.send_request(again).await
            }
            sent => sent,
        };
        let response = sent.map_err(|error| format!("{} does not answer: {error}", self.upstream))?;
        let address = connection.address;
        self.idle.borrow_mut().push(connection);
        Ok((response, address))
    }

    /// One whose last response has been read.
    fn take(&self) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|connection| !connection.sender.is_closed());
        let ready = idle.iter().position(|connection| connection.sender.is_ready())?;
        Some(idle.swap_remove(ready))
    }

    async fn connect(&self) -> Result<Idle, String> {
        let error = |error: &dyn fmt::Display| format!("cannot connect to {}: {error}", self.upstream);
        let place = (self.upstream.host.as_str(), self.upstream.port);
        let stream = TcpStream::connect(place).await.map_err(|e| error(&e))?;
        // Small requests must not wait for one another.
        let _ = stream.set_nodelay(true);
        let address = stream.peer_addr().ok();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| error(&e))?;
        tokio::task::spawn_local(async move {
            // Its failure shows in the request under way.
            let _ = connection.await;
        });
        Ok(Idle { sender, address })
    }
}

fn copy_of(request: &http::Request<Body>) -> http::Request<Body> {
    let mut copy = http::Request::new(empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// No body.
pub(crate) fn empty() -> Body {
    full(Bytes::new())
}

/// A body that is there already.
pub(crate) fn full(bytes: Bytes) -> Body {
    use http_body_util::BodyExt as _;
    http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let upstream = Upstream::parse("http://[::1]:8080/base/").unwrap();
        assert_eq!((upstream.host.as_str(), upstream.port, upstream.base.as_str()), ("::1", 8080, "/base"));
        assert_eq!(Upstream::parse("http://origin").unwrap().port, 80);
        assert_eq!(Upstream::parse("http://origin").unwrap().to_string(), "http://origin");
    }

    #[test]
    fn others_say_what_to_give() {
        assert!(Upstream::parse("https://origin").unwrap_err().to_string().contains("TLS"));
        for url in ["origin:80", "/path", "ftp://origin"] {
            assert!(Upstream::parse(url).unwrap_err().to_string().contains("give http://HOST:PORT"), "{url}");
        }
    }
}
