//! What happens in each round beside the load. Each part waits for its own end and fails for whatever is not
//! as it must be.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};

use super::control::Control;
use super::{Options, file};
use crate::ats::Ats;
use crate::http::{Connection, Pending, Request};
use crate::process;
use crate::scratch::{PATIENCE, wait_for};
use crate::wasmdbg::Wasmdbg;

/// One kind of disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Requests are gathered in a filter and let go in one callback, in each of three ways.
    Release,
    /// Clients leave: before their request is whole, while it is paused, while they are answered.
    Leave,
    /// Sessions attach and end.
    Attach,
    /// A debugger is killed while requests are stopped.
    Kill,
    /// The profiler records for a second.
    Record,
}

/// What the parts work on.
pub(super) struct Scene<'a> {
    pub(super) ats: &'a Ats,
    pub(super) control: &'a Control,
    pub(super) folder: &'a Path,
    pub(super) options: &'a Options,
}

impl Scene<'_> {
    /// Waits until `holds`; the first error ends it: a server that is gone is not waited for.
    fn wait_for(&self, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        wait_for(what, PATIENCE, || match holds() {
            Ok(false) => None,
            Ok(true) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        })?
    }
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Release, Self::Leave, Self::Attach, Self::Kill, Self::Record];

    /// The part of this name, in small letters.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| format!("{part:?}").eq_ignore_ascii_case(name))
    }

    /// Does it once; how many requests were answered as they must be.
    pub(super) fn run(self, scene: &Scene) -> Result<usize> {
        match self {
            Self::Release => {
                // The next filter answers what is continued or lost.
                let ways = [("continue", 403), ("answer", 418), ("trap", 403)];
                ways.iter().map(|(way, status)| release(scene, way, *status)).sum()
            }
            Self::Leave => leave(scene),
            Self::Attach => attach(scene),
            Self::Kill => kill(scene),
            Self::Record => record(scene),
        }
    }
}

fn release(scene: &Scene, way: &str, status: u16) -> Result<usize> {
    let address = scene.ats.address();
    let count = scene.options.parked;
    let park = Request::get("/cache/1000/x").header("token", "8").header("gate", "park");
    let mut parked = Vec::with_capacity(count);
    for _ in 0..count {
        let mut connection = Connection::open(address, PATIENCE)?;
        connection.send(&park)?;
        parked.push(connection);
    }
    let paused = || scene.control.paused("gate");
    scene
        .wait_for("all requests to be paused", || Ok(paused()? == count as u64))
        .with_context(|| format!("{:?} of {count} are paused", paused().ok()))?;
    // Each event thread has a gate of its own: connections are spread over them.
    let open = Request::get("/cache/1000/x").header("token", "7").header("gate", way);
    let released = scene.wait_for("the release of all requests", || {
        crate::http::fetch(address, &open)?;
        Ok(paused()? == 0)
    });
    released.with_context(|| format!("let go by {way}"))?;
    for connection in &mut parked {
        let response = connection.receive().with_context(|| format!("let go by {way}"))?;
        ensure!(response.status == status, "let go by {way}: status {}", response.status);
    }
    Ok(count)
}

fn leave(scene: &Scene) -> Result<usize> {
    let address = scene.ats.address();
    let paused = Request::get("/cache/1000/x").header("token", "7").header("do", "request=pause");
    let large = Request::get("/cache/1000000/x").header("token", "7");
    for turn in 0..scene.options.leaving {
        match turn % 3 {
            0 => TcpStream::connect(address)?.write_all(b"GET /cache/1000/x HTTP/1.1\r\nHost: x\r\ntok")?,
            1 => Connection::open(address, PATIENCE)?.send(&paused)?,
            _ => {
                let mut connection = Connection::open(address, PATIENCE)?;
                connection.send(&large)?;
                connection.socket().peek(&mut [0]).context("no answer")?;
            }
        }
    }
    // They were nobody's requests.
    Ok(0)
}

fn attach(scene: &Scene) -> Result<usize> {
    for turn in 0..scene.options.attaches {
        scene
            .control
            .attach_and_leave("cpp-headers", turn % 2 == 0)
            .with_context(|| format!("attach {turn}"))?;
    }
    Ok(0)
}

fn kill(scene: &Scene) -> Result<usize> {
    static ROUND: AtomicUsize = AtomicUsize::new(0);
    let token = format!("kill-{}", ROUND.fetch_add(1, Ordering::Relaxed));
    let (pid, rule) = (scene.ats.pid().to_string(), format!("header:x-kill={token}"));
    let mut debugger = Wasmdbg::start(&[
        "attach",
        &pid,
        "--batch",
        "--deadline",
        "5m",
        "--filter",
        "rust-token",
        "--when",
        &rule,
        "-ex",
        "break proxy_on_request_headers",
    ])?;
    debugger.ask("info filters", "debug info")?;
    let request = Request::get("/cache/1000/x").header("token", "7").header("x-kill", &token);
    let start = |_| Pending::start(scene.ats.address(), request.clone(), PATIENCE);
    let pending: Vec<Pending> = (0..3).map(start).collect();
    debugger.ask("continue", "stopped")?;
    scene.wait_for("three stops", || {
        let slots = scene.control.status()?.slots;
        Ok(slots.iter().filter(|slot| slot.stopped).count() >= 3)
    })?;
    debugger.kill()?;
    let count = pending.len();
    for pending in pending {
        let response = pending.wait().context("a request of the killed debugger")?;
        ensure!(response.status == 200, "a request of the killed debugger got {}", response.status);
    }
    Ok(count)
}

fn record(scene: &Scene) -> Result<usize> {
    let pid = scene.ats.pid().to_string();
    let output = Command::new(process::product("wasmprof")?)
        .args(["record", "-p", &pid, "-d", "1", "-o", &file(scene.folder, "soak.wasmprof")])
        .output()
        .context("cannot run wasmprof")?;
    if !output.status.success() {
        bail!("wasmprof: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(0)
}
