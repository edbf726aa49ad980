//! A Traffic Server of one's own: a runroot in a scratch folder, a free loopback port, the plugin
//! and its filters; it ends when dropped.
//!
//! It never touches the system's configuration, logs or service, and any user may run it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt};

use crate::http::{self, Request, Response};
use crate::process;
use crate::scratch::{PATIENCE, Scratch, wait_for};

mod code;
mod config;
mod records;
mod server;
mod verdict;

pub use config::{Filter, Options, example};
pub use server::Server;

/// A running Traffic Server.
#[derive(Debug)]
pub struct Ats {
    child: Child,
    /// Ends the server when this process dies without dropping it: its standard input closes then.
    reaper: Child,
    address: SocketAddr,
    tls: Option<SocketAddr>,
    scratch: Scratch,
    options: Options,
    born: Instant,
}

impl Ats {
    /// What to start: no filter, one event thread, a generated origin.
    #[must_use]
    pub fn options() -> Options {
        Options::default()
    }

    pub(crate) fn start(options: &Options) -> Result<Self> {
        // Another program may take the port between its choice and the server's bind: choose anew.
        let mut last = None;
        for _ in 0..5 {
            match Self::try_start(options) {
                Ok(ats) => return Ok(ats),
                Err(error) if format!("{error:#}").contains("Address already in use") => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no free port")))
    }

    fn try_start(options: &Options) -> Result<Self> {
        let scratch = Scratch::new("ats")?;
        let address = free_address()?;
        let tls = if options.tls { Some(free_address()?) } else { None };
        let server = Server::get()?;
        config::write(&scratch, server, options, address, tls)?;
        let (child, reaper) = spawn(server, options, scratch.path())?;
        let (options, born) = (options.clone(), Instant::now());
        let mut ats = Self { child, reaper, address, tls, scratch, options, born };
        ats.wait_until_ready()?;
        Ok(ats)
    }

    /// Ends it with `signal`; its files stay for [`Ats::start_again`], and so does its port.
    ///
    /// # Errors
    /// As for [`Ats::stop`].
    pub fn end_for_now(&mut self, signal: Signal) -> Result<Port> {
        process::signal(self.child.id(), signal)?;
        self.end()?;
        Port::hold(self.address)
    }

    /// Starts it once more: the same port, files, filters and control socket.
    ///
    /// # Errors
    /// As for [`Options::start`].
    pub fn start_again(&mut self, port: Port) -> Result<()> {
        // Its lines tell when it is ready.
        std::fs::remove_file(self.folder().join("log/diags.log"))?;
        (self.child, self.reaper) = spawn(Server::get()?, &self.options, self.scratch.path())?;
        let ready = self.wait_until_ready();
        drop(port);
        ready
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        // The port accepts before the plugins and the cache are ready; this line comes when they are.
        let ready = if Server::get()?.major < 10 { "traffic server running" } else { "is fully initialized" };
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("traffic_server ended at start ({status}):\n{}{}", self.output(), self.diags());
            }
            if self.diags().contains(ready) && TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("traffic_server does not get ready:\n{}{}", self.output(), self.diags());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where it accepts HTTP/1.1.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it accepts TLS with HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// When [`Options::tls`] was not asked for.
    pub fn tls_address(&self) -> Result<SocketAddr> {
        self.tls.context("this server was started without TLS")
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder with `etc`, `log`, `run` and `plugins`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// The plugin's control socket, waited for.
    ///
    /// # Errors
    /// When none appears in the runtime folder.
    pub fn socket(&self) -> Result<PathBuf> {
        let run = self.folder().join("run");
        wait_for("the plugin's control socket", PATIENCE, || {
            let entries = std::fs::read_dir(&run).ok()?;
            entries.flatten().map(|entry| entry.path()).find(|path| is_control_socket(path))
        })
        .with_context(|| self.diags())
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// When no whole response comes in time.
    pub fn fetch(&self, request: &Request) -> Result<Response> {
        http::fetch(self.address, request)
    }

    /// All of `diags.log` so far.
    #[must_use]
    pub fn diags(&self) -> String {
        read_lossy(&self.folder().join("log/diags.log"))
    }

    /// All of `error.log` so far.
    #[must_use]
    pub fn errors(&self) -> String {
        read_lossy(&self.folder().join("log/error.log"))
    }

    /// What it printed: a crash shows here.
    #[must_use]
    pub fn output(&self) -> String {
        read_lossy(&self.folder().join("log/output"))
    }

    /// Waits for a line in `diags.log` that contains `text`, and returns it.
    ///
    /// # Errors
    /// When it does not come within [`PATIENCE`].
    pub fn wait_for_log(&self, text: &str) -> Result<String> {
        wait_for(&format!("{text:?} in diags.log"), PATIENCE, || {
            self.diags().lines().find(|line| line.contains(text)).map(str::to_string)
        })
        .with_context(|| format!("diags.log is:\n{}", self.diags()))
    }

    /// Whether the process is alive; tests of crashes end with it.
    #[must_use]
    pub fn is_running(&self) -> bool {
        process::is_running(self.pid())
    }

    /// Ends it as an operator would, with SIGTERM, and says how it ended.
    ///
    /// # Errors
    /// When it does not end, or its logs say that it crashed, that the plugin has a fault, or that a stop
    /// went on by its deadline (see [`Options::deadlines_pass`]).
    pub fn stop(mut self) -> Result<std::process::ExitStatus> {
        self.end()
    }

    fn end(&mut self) -> Result<std::process::ExitStatus> {
        // The server's own id cannot be taken by another process before it is waited for below.
        let ended = match self.child.try_wait()? {
            Some(status) => Ok(status),
            None => {
                process::signal(self.child.id(), Signal::SIGTERM)?;
                let child = &mut self.child;
                let ended = wait_for("the end of traffic_server after SIGTERM", PATIENCE, || {
                    child.try_wait().ok().flatten()
                });
                if ended.is_err() {
                    self.child.kill()?;
                    self.child.wait()?;
                }
                ended
            }
        };
        // First the reaper: the id it would signal is free now.
        let _ = self.reaper.kill();
        let _ = self.reaper.wait();
        if !self.options.compile_anew {
            code::take_from(self.scratch.path())?;
        }
        let faults = verdict::faults(self.scratch.path(), self.options.deadlines_pass);
        ensure!(faults.is_empty(), "the logs of this traffic_server say:\n{}", faults.join("\n"));
        ended
    }
}

impl Drop for Ats {
    /// Fails the test for what its server's logs say, when nothing else has.
    fn drop(&mut self) {
        let ended = self.end();
        note_time(self.born.elapsed());
        match ended {
            Err(error) if std::thread::panicking() => eprintln!("{error:#}"),
            Err(error) => panic!("{error:#}"),
            Ok(_) => {}
        }
    }
}

/// Adds a line `SECONDS TEST` to the file named by `WASMDBG_TIMES`: what servers of which test ran how long.
fn note_time(time: Duration) {
    let Some(path) = std::env::var_os("WASMDBG_TIMES") else { return };
    // The test runner names a test's thread after it.
    let line = format!("{:7.1} {}\n", time.as_secs_f64(), std::thread::current().name().unwrap_or("?"));
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        eprintln!("WASMDBG_TIMES: {error}");
    }
}

/// Starts the server, and what ends it when this process dies.
fn spawn(server: &Server, options: &Options, folder: &Path) -> Result<(Child, Child)> {
    let file = std::fs::File::create(folder.join("log/output"))?;
    let mut words = options.wrapper.iter().map(OsStr::new).chain([server.program.as_os_str()]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command.env("TS_RUNROOT", folder.join("runroot.yaml")).stdin(Stdio::null());
    for (name, value) in &options.environment {
        command.env(name, value);
    }
    let mut child = command
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot start {}", server.program.display()))?;
    match start_reaper(child.id(), folder) {
        Ok(reaper) => Ok((child, reaper)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// A port of a server that has ended for now: nobody else gets it meanwhile. The socket is bound and does not
/// listen, so that the server can have it again.
#[derive(Debug)]
pub struct Port {
    _socket: OwnedFd,
}

impl Port {
    fn hold(address: SocketAddr) -> Result<Self> {
        let SocketAddr::V4(address) = address else { bail!("{address} is no IPv4 address") };
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        bind(socket.as_raw_fd(), &SockaddrIn::from(address)).context("the port is taken already")?;
        Ok(Self { _socket: socket })
    }
}

/// Waits for the end of its standard input, which is this process's end, and cleans up after it.
fn start_reaper(pid: u32, folder: &Path) -> Result<Child> {
    let keep = if std::env::var_os("WASMDBG_KEEP").is_some() { "yes" } else { "no" };
    Command::new("sh")
        .args(["-c", "trap '' INT; read -r line; kill -KILL \"$1\"; [ $3 = yes ] || rm -rf \"$2\"", "reaper"])
        .arg(pid.to_string())
        .arg(folder)
        .arg(keep)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start sh")
}

fn is_control_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.contains("wasmdbg") && std::fs::metadata(path).is_ok_and(|data| data.file_type().is_socket())
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port")?;
    Ok(listener.local_addr()?)
}

fn read_lossy(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
