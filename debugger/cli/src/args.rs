//! The command line: what the user wants, or what is wrong with it. Starts nothing.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;
use wasmdbg_control::rules::Rule;
use wasmdbg_session::text::{parse_duration, parse_rule};

pub(crate) const USAGE: &str = "\
wasmdbg: a debugger for Proxy-Wasm filters in a running proxy

  wasmdbg ps [PID] [--json]
      The proxies on this machine that have the plugin (or one of them), and their filters.

  wasmdbg attach [PID|SOCKET] [options]
      Attaches to the filters of a proxy; without PID or SOCKET to the only proxy there is.
      Requests that match stop at breakpoints, all others go on.

      --filter NAME         debug this filter (repeat for more; default: every active one)
      --when RULE           debug only matching requests (repeated: all rules must match):
                            header:NAME=VALUE, path:/PREFIX, client:ADDRESS, percent:N, next:N
                            default: a random header that is printed
      --all                 debug every request
      --deadline D          a stopped request goes on after D without a command, D being a number with
                            ms, s, m or h (default: 5m at a prompt, 30s in a batch)
      --module PATH         a .wasm file with debug info, or a source map (.map), for a filter that has none
                            (may be repeated)
      --source-map FROM=TO  source paths that begin with FROM are found at TO (may be repeated)
      -ex COMMAND           run a command (may be repeated)
      -x FILE               run the commands in FILE
      --batch               no prompt: end after the commands, and those on standard input unless that is a
                            terminal; `continue` waits for the next stop
      --timeout D           how long `continue` and steps wait for a stop (default: 30s in a batch)

  wasmdbg run FILTER.wasm (--listen ADDRESS:PORT | --request FILE.http) [options]
      Runs a filter in a small proxy of its own, under the debugger from its first instruction.
      With --request and no commands it only prints what each callback did.

      --listen ADDRESS:PORT serve HTTP/1.1 and HTTP/2 there (port 0: a free one)
      --upstream URL        where requests go: http://HOST:PORT (without it a plain 200 answers them)
      --request FILE.http   play the requests of this file: each is a line like `GET /path`, header fields, an
                            empty line and a body; a line of ### stands between two. A line `foreign: 7`, an
                            empty line and a text call the filter's proxy_on_foreign_function
      --config FILE         the filter's YAML, as for the plugin; FILTER.wasm is run in any case
      --configuration TEXT  what the filter's configure reads
      --settings FILE       limits, and a control socket for other debuggers
      --prompt              with --request: debug, from a prompt
      -ex, -x, --batch, --timeout, --deadline, --when, --module, --source-map as for attach

  wasmdbg gdb-server [PID|SOCKET] [--listen ADDRESS:PORT] [options]
      Serves LLDB 22 or newer: `process connect --plugin wasm connect://ADDRESS:PORT`. Only requests that
      match stop; LLDB sees one of them at a time.

      --listen ADDRESS:PORT where, for this user and root (default: 127.0.0.1:0, a free port, which is printed)
      --allow-remote        let other machines connect: whoever reaches the port controls the filters
      --filter, --when, --all, --deadline as for attach

  wasmdbg lldb [PID] [--yes] [--gdb | --program PATH] [-- ARGUMENTS]
      Starts lldb (or gdb) on the whole proxy process: filter, plugin and server in one stack. Every
      request stops while it stands. The plugin's settings must say `debug: { native: true }`.

      --yes                 do not ask
      --gdb                 gdb instead of lldb
      --program PATH        this debugger
      -- ARGUMENTS          for the debugger, as in `-- --batch -o bt`

  wasmdbg dap [--listen ADDRESS:PORT]
      Serves an editor by the Debug Adapter Protocol, on standard input and output, or any number of this
      user and root at a loopback port.

  wasmdbg help | --help | --version

Exit codes: 0 done, 1 a command failed, 2 usage, 3 cannot attach, 4 no stop in time.
";

/// What to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Print the usage.
    Help,
    /// Print the version.
    Version,
    /// List proxies.
    Ps {
        /// For programs.
        json: bool,
        /// Only this one.
        pid: Option<u32>,
    },
    /// Debug.
    Attach(Box<Attach>),
    /// Run a filter in a proxy of our own.
    Run(Box<Run>),
    /// Serve LLDB.
    GdbServer(Box<GdbServer>),
    /// Start a debugger for the whole proxy.
    Lldb(Native),
    /// Serve editors.
    Dap {
        /// Where; `None`: one editor on standard input and output.
        listen: Option<SocketAddr>,
    },
}

/// `wasmdbg attach`.
#[derive(Debug, Default)]
pub(crate) struct Attach {
    pub(crate) target: Option<OsString>,
    pub(crate) filters: Vec<String>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) all: bool,
    pub(crate) deadline: Option<Duration>,
    pub(crate) batch: bool,
    /// How long to wait for a stop.
    pub(crate) timeout: Option<Duration>,
    pub(crate) commands: Vec<Source>,
    pub(crate) modules: Vec<PathBuf>,
    pub(crate) source_maps: Vec<(String, PathBuf)>,
}

/// `wasmdbg run`.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) program: PathBuf,
    pub(crate) config: Option<PathBuf>,
    pub(crate) configuration: Option<String>,
    pub(crate) settings: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) upstream: Option<String>,
    pub(crate) request: Option<PathBuf>,
    /// A prompt, where it is not the rule.
    pub(crate) prompt: bool,
    /// What it has in common with an attach; `all` unless there are rules.
    pub(crate) attach: Attach,
}

/// `wasmdbg lldb`.
#[derive(Debug, Default)]
pub(crate) struct Native {
    pub(crate) pid: Option<u32>,
    pub(crate) yes: bool,
    pub(crate) gdb: bool,
    pub(crate) program: Option<OsString>,
    pub(crate) arguments: Vec<OsString>,
}

/// `wasmdbg gdb-server`.
#[derive(Debug)]
pub(crate) struct GdbServer {
    pub(crate) listen: SocketAddr,
    pub(crate) remote: bool,
    /// What it has in common with an attach.
    pub(crate) attach: Attach,
}

/// Commands of the command line, in its order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `-ex`
    Command(String),
    /// `-x`
    File(PathBuf),
}

/// Reads the arguments behind the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Action> {
    // gdb's users write `-ex`, which to a parser of short options is `-e -x`.
    let arguments =
        arguments.into_iter().map(|argument| if argument == "-ex" { "--ex".into() } else { argument });
    let mut parser = lexopt::Parser::from_args(arguments);
    let command = match parser.next()? {
        None => bail!("give a command: ps, attach, run, gdb-server, lldb or dap"),
        Some(Short('h') | Long("help")) => return Ok(Action::Help),
        Some(Short('V') | Long("version")) => return Ok(Action::Version),
        Some(Value(command)) => command,
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.to_str() {
        Some("help") => Ok(Action::Help),
        Some("ps") => parse_ps(parser),
        Some("attach") => parse_attach(parser),
        Some("run") => parse_run(parser),
        Some("gdb-server") => parse_gdb_server(parser),
        Some("lldb") => parse_lldb(parser),
        Some("dap") => parse_dap(parser),
        _ => bail!(
            "{:?} is no command: give ps, attach, run, gdb-server, lldb or dap",
            command.to_string_lossy()
        ),
    }
}

fn parse_ps(mut parser: lexopt::Parser) -> Result<Action> {
    let (mut json, mut pid) = (false, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") => json = true,
            Value(text) if pid.is_none() => pid = Some(process_id(&text)?),
            Short('h') | Long("help") => return Ok(Action::Help),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Action::Ps { json, pid })
}

fn process_id(text: &OsStr) -> Result<u32> {
    let text = text.to_string_lossy();
    text.parse().ok().with_context(|| format!("{text:?} is no process id: see `wasmdbg ps`"))
}

fn parse_dap(mut parser: lexopt::Parser) -> Result<Action> {
    let mut listen = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("listen") => {
                listen = Some(address(&mut parser)?);
            }
            Short('h') | Long("help") => return Ok(Action::Help),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Action::Dap { listen })
}

fn parse_attach(mut parser: lexopt::Parser) -> Result<Action> {
    let mut attach = Attach::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("filter") => attach.filters.push(text(&mut parser)?),
            Long("all") => attach.all = true,
            Short('h') | Long("help") => return Ok(Action::Help),
            Value(target) if attach.target.is_none() => attach.target = Some(target),
            Value(target) => {
                bail!("{:?} is one target too many: attach to one proxy", target.to_string_lossy())
            }
            Short(short) => attach.option(&Known::Short(short), &mut parser)?,
            Long(long) => {
                let long = Known::Long(long.to_owned());
                attach.option(&long, &mut parser)?;
            }
        }
    }
    if attach.all && !attach.rules.is_empty() {
        bail!("--all and --when exclude each other: the rules would have no effect");
    }
    Ok(Action::Attach(Box::new(attach)))
}

fn parse_run(mut parser: lexopt::Parser) -> Result<Action> {
    let mut program = None;
    let (mut config, mut configuration, mut settings) = (None, None, None);
    let (mut listen, mut upstream, mut request, mut prompt) = (None, None, None, false);
    let mut attach = Attach::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("config") => config = Some(parser.value()?.into()),
            Long("configuration") => configuration = Some(text(&mut parser)?),
            Long("settings") => settings = Some(parser.value()?.into()),
            Long("listen") => listen = Some(address(&mut parser)?),
            Long("upstream") => upstream = Some(text(&mut parser)?),
            Long("request") => request = Some(parser.value()?.into()),
            Long("prompt") => prompt = true,
            Short('h') | Long("help") => return Ok(Action::Help),
            Value(value) if program.is_none() => program = Some(value.into()),
            Value(value) => bail!("{:?} is one filter too many: run one", value.to_string_lossy()),
            Short(short) => attach.option(&Known::Short(short), &mut parser)?,
            Long(long) => {
                let long = Known::Long(long.to_owned());
                attach.option(&long, &mut parser)?;
            }
        }
    }
    let Some(program) = program else { bail!("run what? Give the filter's .wasm file") };
    match (&listen, &request) {
        (None, None) => bail!("give --listen ADDRESS:PORT, or --request FILE.http"),
        (Some(_), Some(_)) => bail!("--listen and --request exclude each other: run twice"),
        _ => {}
    }
    attach.all = attach.rules.is_empty();
    Ok(Action::Run(Box::new(Run {
        program,
        config,
        configuration,
        settings,
        listen,
        upstream,
        request,
        prompt,
        attach,
    })))
}

fn parse_gdb_server(mut parser: lexopt::Parser) -> Result<Action> {
    let mut server =
        GdbServer { listen: SocketAddr::from(([127, 0, 0, 1], 0)), remote: false, attach: Attach::default() };
    let attach = &mut server.attach;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("listen") => server.listen = address(&mut parser)?,
            Long("allow-remote") => server.remote = true,
            Long("filter") => attach.filters.push(text(&mut parser)?),
            Long("all") => attach.all = true,
            Long("when") => attach.rules.push(parse_rule(&text(&mut parser)?).context("--when")?),
            Long("deadline") => {
                attach.deadline = Some(parse_duration(&text(&mut parser)?).context("--deadline")?);
            }
            Short('h') | Long("help") => return Ok(Action::Help),
            Value(target) if attach.target.is_none() => attach.target = Some(target),
            other => return Err(other.unexpected().into()),
        }
    }
    if attach.all && !attach.rules.is_empty() {
        bail!("--all and --when exclude each other: the rules would have no effect");
    }
    Ok(Action::GdbServer(Box::new(server)))
}

fn parse_lldb(mut parser: lexopt::Parser) -> Result<Action> {
    let mut native = Native::default();
    loop {
        // Behind `--` everything is the debugger's, and so it is behind the pid.
        if let Some(rest) = parser.try_raw_args()
            && rest.peek().is_some_and(|argument| argument == "--")
        {
            native.arguments = rest.skip(1).collect();
            return Ok(Action::Lldb(native));
        }
        match parser.next()? {
            None => return Ok(Action::Lldb(native)),
            Some(Long("yes") | Short('y')) => native.yes = true,
            Some(Long("gdb")) => native.gdb = true,
            Some(Long("program")) => native.program = Some(parser.value()?),
            Some(Short('h') | Long("help")) => return Ok(Action::Help),
            Some(Value(pid)) if native.pid.is_none() => native.pid = Some(process_id(&pid)?),
            Some(other) => return Err(other.unexpected().into()),
        }
    }
}

/// An option that several commands have.
enum Known {
    Short(char),
    Long(String),
}

impl Attach {
    /// What attach and run have in common.
    fn option(&mut self, option: &Known, parser: &mut lexopt::Parser) -> Result<()> {
        match option {
            Known::Short('x') => self.commands.push(Source::File(parser.value()?.into())),
            Known::Short(other) => return Err(Short(*other).unexpected().into()),
            Known::Long(long) => match long.as_str() {
                "when" => self.rules.push(parse_rule(&text(parser)?).context("--when")?),
                "deadline" => self.deadline = Some(parse_duration(&text(parser)?).context("--deadline")?),
                "timeout" => self.timeout = Some(parse_duration(&text(parser)?).context("--timeout")?),
                "batch" => self.batch = true,
                "ex" => self.commands.push(Source::Command(text(parser)?)),
                "module" => self.modules.push(parser.value()?.into()),
                "source-map" => {
                    let map = text(parser)?;
                    let Some((from, to)) = map.split_once('=').filter(|(from, _)| !from.is_empty()) else {
                        bail!("--source-map: {map:?} has no two paths: give FROM=TO");
                    };
                    self.source_maps.push((from.to_owned(), to.into()));
                }
                other => return Err(Long(other).unexpected().into()),
            },
        }
        Ok(())
    }
}

fn address(parser: &mut lexopt::Parser) -> Result<SocketAddr> {
    let address = text(parser)?;
    address
        .parse()
        .with_context(|| format!("--listen: {address:?} is no address and port, as in 127.0.0.1:0"))
}

fn text(parser: &mut lexopt::Parser) -> Result<String> {
    Ok(parser.value()?.string()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attach(arguments: &[&str]) -> Attach {
        match parse(arguments.iter().map(OsString::from)).unwrap() {
            Action::Attach(attach) => *attach,
            other => panic!("{other:?}"),
        }
    }

    fn error(arguments: &[&str]) -> String {
        format!("{:#}", parse(arguments.iter().map(OsString::from)).unwrap_err())
    }

    #[test]
    fn commands_keep_their_order() {
        let attach = attach(&["attach", "-x", "setup.gdb", "-ex", "break judge", "4711", "-ex", "continue"]);
        assert_eq!(attach.target.as_deref(), Some("4711".as_ref()));
        let command = |text: &str| Source::Command(text.into());
        assert_eq!(
            attach.commands,
            [Source::File("setup.gdb".into()), command("break judge"), command("continue")]
        );
    }

    #[test]
    fn wrong_usage_is_named() {
        assert_eq!(error(&[]), "give a command: ps, attach, run, gdb-server, lldb or dap");
        assert_eq!(
            error(&["atach"]),
            "\"atach\" is no command: give ps, attach, run, gdb-server, lldb or dap"
        );
        assert_eq!(error(&["ps", "--jason"]), "invalid option '--jason'");
        assert_eq!(error(&["attach", "1", "2"]), "\"2\" is one target too many: attach to one proxy");
        assert!(error(&["attach", "--deadline", "5"]).starts_with("--deadline: \"5\" is no duration"));
        assert!(error(&["attach", "--when", "x"]).starts_with("--when: \"x\" is no rule"));
        assert!(error(&["attach", "--source-map", "/build"]).contains("give FROM=TO"));
        assert!(error(&["attach", "--all", "--when", "next:1"]).contains("exclude each other"));
        assert!(error(&["attach", "-ex"]).contains("missing argument for option '--ex'"));
    }
}
