//! Plays a file: its requests and its calls of the filter, one after the other, without a port.

use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use http_body_util::BodyExt as _;
use wasmdbg_proxy_wasm::Letter;
use wasmdbg_proxy_wasm::debug::Ending;

use crate::http::request_file::{FileRequest, Section};
use crate::http::serve::{Counted, Served, serve};
use crate::process::embedder::STACK;
use crate::process::error::Error;
use crate::process::shared::Shared;
use crate::process::worker::Worker;
use crate::report::Happening;
use crate::transaction::state::Peers;

/// A file that is being played.
pub struct Playing {
    thread: Option<JoinHandle<()>>,
}

impl Playing {
    pub(crate) fn start(shared: &Arc<Shared>, sections: Vec<Section>) -> Result<Self, Error> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
        let shared = Arc::clone(shared);
        let body = move || {
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let worker = Worker::new(shared);
                worker.begin().await;
                for section in sections {
                    match section {
                        Section::Request(request) => exchange(&worker, request).await,
                        Section::ForeignFunction { function, arguments, .. } => {
                            let arguments = arguments.into();
                            let called =
                                worker.deliver(Letter::ForeignFunction { function, arguments }).await;
                            worker.shared.report.take(Happening::ForeignFunction { function, called });
                        }
                    }
                }
            });
        };
        let thread = thread::Builder::new().name("[WASMDBG_PLAY]".into()).stack_size(STACK).spawn(body);
        Ok(Self { thread: Some(thread.map_err(Error::Thread)?) })
    }

    /// Waits until all are through.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Whether all are through.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// A request and its response.
async fn exchange(worker: &Rc<Worker>, mut request: FileRequest) {
    let host = worker.shared.upstream.as_ref().map_or("localhost", |to| to.authority());
    if let Ok(host) = host.parse() {
        request.headers.entry(http::header::HOST).or_insert(host);
    }
    let _counted = Counted::new(worker);
    let Served { response, flow, transaction } = serve(worker, request.into_http(), Peers::default()).await;
    let status = response.status().as_u16();
    let aborted = response.into_body().collect().await.is_err();
    flow.finish(Ending { status: Some(u32::from(status)), aborted }).await;
    worker.shared.report.take(Happening::Ended { transaction, status: Some(status) });
}
