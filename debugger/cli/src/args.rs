//! The command line: what the user wants, or what is wrong with it. Starts nothing.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;
use wasmdbg_control::rules::Rule;

use crate::rule::{parse_duration, parse_rule};

pub(crate) const USAGE: &str = "\
wasmdbg: a debugger for Proxy-Wasm filters in a running proxy

  wasmdbg ps [--json]
      The proxies on this machine that have the plugin, and their filters.

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
      --module PATH         a .wasm file with debug info for a filter that has none (may be repeated)
      --source-map FROM=TO  source paths that begin with FROM are found at TO (may be repeated)
      -ex COMMAND           run a command (may be repeated)
      -x FILE               run the commands in FILE
      --batch               no prompt: end after the commands, and those on standard input unless that is a
                            terminal; `continue` waits for the next stop
      --timeout D           how long `continue` and steps wait for a stop (default: 30s in a batch)

  wasmdbg dap [--listen ADDRESS:PORT]
      Serves an editor by the Debug Adapter Protocol, on standard input and output or at a loopback port.

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
    },
    /// Debug.
    Attach(Box<Attach>),
    /// Serve editors.
    Dap {
        /// Where; `None`: one editor on standard input and output.
        listen: Option<SocketAddr>,
    },
}

/// `wasmdbg attach`.
#[derive(Debug)]
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
        None => bail!("give a command: ps, attach or dap"),
        Some(Short('h') | Long("help")) => return Ok(Action::Help),
        Some(Short('V') | Long("version")) => return Ok(Action::Version),
        Some(Value(command)) => command,
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.to_str() {
        Some("help") => Ok(Action::Help),
        Some("ps") => parse_ps(parser),
        Some("attach") => parse_attach(parser),
        Some("dap") => parse_dap(parser),
        _ => bail!("{:?} is no command: give ps, attach or dap", command.to_string_lossy()),
    }
}

fn parse_ps(mut parser: lexopt::Parser) -> Result<Action> {
    let mut json = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") => json = true,
            Short('h') | Long("help") => return Ok(Action::Help),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Action::Ps { json })
}

fn parse_dap(mut parser: lexopt::Parser) -> Result<Action> {
    let mut listen = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("listen") => {
                let address = text(&mut parser)?;
                let parsed = address.parse().with_context(|| {
                    format!("--listen: {address:?} is no address and port, as in 127.0.0.1:0")
                })?;
                listen = Some(parsed);
            }
            Short('h') | Long("help") => return Ok(Action::Help),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Action::Dap { listen })
}

fn parse_attach(mut parser: lexopt::Parser) -> Result<Action> {
    let mut attach = Attach {
        target: None,
        filters: Vec::new(),
        rules: Vec::new(),
        all: false,
        deadline: None,
        batch: false,
        timeout: None,
        commands: Vec::new(),
        modules: Vec::new(),
        source_maps: Vec::new(),
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("filter") => attach.filters.push(text(&mut parser)?),
            Long("when") => attach.rules.push(parse_rule(&text(&mut parser)?).context("--when")?),
            Long("all") => attach.all = true,
            Long("deadline") => {
                attach.deadline = Some(parse_duration(&text(&mut parser)?).context("--deadline")?)
            }
            Long("timeout") => {
                attach.timeout = Some(parse_duration(&text(&mut parser)?).context("--timeout")?)
            }
            Long("batch") => attach.batch = true,
            Long("ex") => attach.commands.push(Source::Command(text(&mut parser)?)),
            Short('x') => attach.commands.push(Source::File(parser.value()?.into())),
            Long("module") => attach.modules.push(parser.value()?.into()),
            Long("source-map") => {
                let map = text(&mut parser)?;
                let Some((from, to)) = map.split_once('=').filter(|(from, _)| !from.is_empty()) else {
                    bail!("--source-map: {map:?} has no two paths: give FROM=TO");
                };
                attach.source_maps.push((from.to_owned(), to.into()));
            }
            Short('h') | Long("help") => return Ok(Action::Help),
            Value(target) if attach.target.is_none() => attach.target = Some(target),
            Value(target) => {
                bail!("{:?} is one target too many: attach to one proxy", target.to_string_lossy())
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if attach.all && !attach.rules.is_empty() {
        bail!("--all and --when exclude each other: the rules would have no effect");
    }
    Ok(Action::Attach(Box::new(attach)))
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
        assert_eq!(error(&[]), "give a command: ps, attach or dap");
        assert_eq!(error(&["atach"]), "\"atach\" is no command: give ps, attach or dap");
        assert_eq!(error(&["ps", "--jason"]), "invalid option '--jason'");
        assert_eq!(error(&["attach", "1", "2"]), "\"2\" is one target too many: attach to one proxy");
        assert!(error(&["attach", "--deadline", "5"]).starts_with("--deadline: \"5\" is no duration"));
        assert!(error(&["attach", "--when", "x"]).starts_with("--when: \"x\" is no rule"));
        assert!(error(&["attach", "--source-map", "/build"]).contains("give FROM=TO"));
        assert!(error(&["attach", "--all", "--when", "next:1"]).contains("exclude each other"));
        assert!(error(&["attach", "-ex"]).contains("missing argument for option '--ex'"));
    }
}
