//! The port: threads that accept connections, each with a worker of its own.

use std::convert::Infallible;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wasmdbg_proxy_wasm::debug::Ending;

use crate::http::serve::{Counted, Served, serve};
use crate::process::embedder::STACK;
use crate::process::error::Error;
use crate::process::shared::Shared;
use crate::process::worker::Worker;
use crate::report::Happening;
use crate::transaction::flow::Flow;
use crate::transaction::state::Peers;
use crate::upstream::{Body, BodyError};

/// A pause after an accept that failed: most often no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests under way may take once the port is closed.
const GRACE: Duration = Duration::from_secs(5);

/// A port that is served; closed when dropped, which waits for the requests under way, but not long.
pub struct Listening {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Listening {
    pub(crate) fn start(shared: &Arc<Shared>, address: SocketAddr, threads: usize) -> Result<Self, Error> {
        let fault = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(fault)?;
        listener.set_nonblocking(true).map_err(fault)?;
        let bound = listener.local_addr().map_err(fault)?;
        let (stop, stopped) = watch::channel(false);
        let mut listening = Self { address: bound, stop, threads: Vec::new() };
        for _ in 0..threads.max(1) {
            let listener = listener.try_clone().map_err(fault)?;
            let (shared, stopped) = (Arc::clone(shared), stopped.clone());
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
            let body = move || {
                let tasks = tokio::task::LocalSet::new();
                tasks.block_on(&runtime, async move {
                    accept(listener, &Worker::new(shared), stopped).await;
                });
            };
            let thread = thread::Builder::new().name("[WASMDBG_NET]".into()).stack_size(STACK).spawn(body);
            listening.threads.push(thread.map_err(Error::Thread)?);
        }
        Ok(listening)
    }

    /// Where, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, worker: &Rc<Worker>, mut stopped: watch::Receiver<bool>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let starting = Rc::clone(worker);
    tokio::task::spawn_local(async move { starting.begin().await });
    let mut connections = JoinSet::new();
    let for_each = stopped.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn_local(connection(Rc::clone(worker), stream, for_each.clone()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    // Those that take longer are cut.
    let _ = tokio::time::timeout(GRACE, ended).await;
}

async fn connection(worker: Rc<Worker>, stream: TcpStream, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let peers = Peers { client: stream.peer_addr().ok(), local: stream.local_addr().ok() };
    let service = service_fn(|request: Request<Incoming>| {
        let worker = Rc::clone(&worker);
        async move {
            let counted = Counted::new(&worker);
            let request = request.map(|body| body.map_err(BodyError::from).boxed_unsync());
            let served = serve(&worker, request, peers).await;
            Ok::<_, Infallible>(until_its_end(&worker, served, counted))
        }
    });
    let mut server = auto::Builder::new(Local);
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new());
    // A client that breaks HTTP or goes away is no news.
    let serving = server.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// Tasks stay on their thread.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// A body whose end is the end of the transaction.
struct Ends {
    body: Body,
    worker: Rc<Worker>,
    flow: Option<Flow>,
    status: u16,
    transaction: wasmdbg_control::TransactionId,
    complete: bool,
    _counted: Counted,
}

fn until_its_end(worker: &Rc<Worker>, served: Served, counted: Counted) -> Response<Ends> {
    let Served { response, flow, transaction } = served;
    let status = response.status().as_u16();
    response.map(|body| Ends {
        complete: body.is_end_stream(),
        body,
        worker: Rc::clone(worker),
        flow: Some(flow),
        status,
        transaction,
        _counted: counted,
    })
}

impl HttpBody for Ends {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.complete = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let ending = Ending { status: Some(u32::from(self.status)), aborted: !self.complete };
        if let Some(flow) = self.flow.take() {
            flow.finish_later(ending);
        }
        let report = &self.worker.shared.report;
        if report.wants_callbacks() {
            report.take(Happening::Ended { transaction: self.transaction, status: Some(self.status) });
        }
    }
}
