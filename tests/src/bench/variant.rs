//! The same filter in four forms, and no filter: what the servers of a measurement load.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::ats::{Ats, Filter, Options, Server};
use crate::http::Request;
use crate::process;

/// A small prime: deciding it takes a handful of divisions. `token.rules` knows it.
pub const LIGHT: u64 = 97;
/// A prime that takes a million divisions.
pub const HEAVY: u64 = 4_000_000_000_039;

/// The example that is the filter, and its name in the server.
pub const FILTER: &str = "rust-token";

/// What does the filter's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// No plugin at all.
    Nothing,
    /// A plugin in C.
    Native,
    /// Traffic Server's plugin that rewrites headers by rules.
    HeaderRewrite,
    /// Traffic Server's plugin that runs Lua (LuaJIT).
    Lua,
    /// The Wasm filter in the plugin of this project.
    Wasm,
    /// The same without a control socket.
    WasmNoControl,
    /// The same while a debugger is attached and holds a request at a breakpoint.
    WasmParked,
    /// The same in another build of the plugin: see [`baseline`].
    WasmBefore,
}

/// Another build of this project's plugin that takes part in the rounds, when `WASMDBG_BASELINE` names one.
#[must_use]
pub fn baseline() -> Option<PathBuf> {
    std::env::var_os("WASMDBG_BASELINE").map(PathBuf::from)
}

impl Variant {
    /// Its name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no plugin",
            Self::Native => "native C plugin",
            Self::HeaderRewrite => "header_rewrite",
            Self::Lua => "tslua",
            Self::Wasm => "wasmdbg",
            Self::WasmNoControl => "wasmdbg, control socket off",
            Self::WasmParked => "wasmdbg, a request stopped",
            Self::WasmBefore => "wasmdbg, the build of WASMDBG_BASELINE",
        }
    }

    /// A server that runs it; native code is compiled into `folder`.
    ///
    /// # Errors
    /// When the C compiler fails.
    pub fn options(self, folder: &Path) -> Result<Options> {
        let source = |name: &str| process::repository().join("tests/bench").join(name);
        let of_server = |plugin: &str, file: &str| -> Result<String> {
            Ok(format!("{} {}", Server::get()?.plugins.join(plugin).display(), source(file).display()))
        };
        let options = Ats::options().compile_anew();
        let filter = || Filter::example(FILTER, "release").configuration("token quiet");
        Ok(match self {
            Self::Nothing => options,
            Self::Native => {
                let plugin = compile(&source("token.c"), folder)?;
                options.plugin_line(&plugin.display().to_string())
            }
            Self::HeaderRewrite => options.plugin_line(&of_server("header_rewrite.so", "token.rules")?),
            Self::Lua => options.plugin_line(&of_server("tslua.so", "token.lua")?),
            Self::Wasm | Self::WasmParked => options.filter(filter()),
            Self::WasmBefore => {
                let plugin = baseline().context("WASMDBG_BASELINE names no plugin")?;
                options.filter(filter()).plugin(plugin)
            }
            Self::WasmNoControl => options.filter(filter()).settings("control:\n  enabled: false\n"),
        })
    }

    /// Checks that the server answers as this variant must: it would be easy to measure a filter that
    /// does nothing.
    ///
    /// # Errors
    /// When it does not, or does not answer.
    pub fn check(self, server: &Ats) -> Result<()> {
        let passed = server.fetch(&request(LIGHT))?;
        let header = passed.header("x-token-prime").map(str::to_string);
        let wanted = (self != Self::Nothing).then(|| LIGHT.to_string());
        ensure!(passed.status == 200, "{} answers {} to a prime", self.name(), passed.status);
        ensure!(header == wanted, "{} sets x-token-prime to {header:?}\n{}", self.name(), server.diags());
        let refused = server.fetch(&request(LIGHT + 1))?;
        let wanted = if self == Self::Nothing { 200 } else { 403 };
        ensure!(refused.status == wanted, "{} answers {} to no prime", self.name(), refused.status);
        Ok(())
    }
}

/// A request with this token for a small object that comes from the RAM cache after the first time.
#[must_use]
pub fn request(token: u64) -> Request {
    Request::get("/cache/100/bench").header("token", &token.to_string())
}

fn compile(source: &Path, folder: &Path) -> Result<PathBuf> {
    let plugin = folder.join("token.so");
    let output = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
        .arg(&plugin)
        .arg(source)
        .output()
        .context("cannot run cc: `tests/setup/install.sh bench` installs it")?;
    ensure!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
    Ok(plugin)
}
