//! The files of an isolated Traffic Server: runroot, remap rules, plugins, filters.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::server::Server;
use super::{Ats, code, records};
use crate::process;
use crate::scratch::Scratch;

/// What to start. [`Options::start`] starts it.
#[derive(Debug, Clone)]
pub struct Options {
    pub(super) event_threads: usize,
    pub(super) filters: Vec<Filter>,
    pub(super) settings: Option<String>,
    pub(super) plugin: Option<PathBuf>,
    pub(super) plugin_lines: Vec<String>,
    pub(super) records: Vec<String>,
    pub(super) remaps: Vec<String>,
    pub(super) tls: bool,
    pub(super) http2: bool,
    pub(super) environment: Vec<(String, String)>,
    pub(super) wrapper: Vec<String>,
    pub(super) deadlines_pass: bool,
    pub(super) compile_anew: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            event_threads: 1,
            filters: Vec::new(),
            settings: None,
            plugin: None,
            plugin_lines: Vec::new(),
            records: Vec::new(),
            remaps: Vec::new(),
            tls: false,
            http2: false,
            environment: Vec::new(),
            wrapper: Vec::new(),
            deadlines_pass: false,
            compile_anew: false,
        }
    }
}

impl Options {
    /// Threads that serve connections.
    #[must_use]
    pub fn event_threads(mut self, count: usize) -> Self {
        self.event_threads = count;
        self
    }

    /// Loads the plugin with this filter, behind those before it.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// The content of `wasmdbg.yaml`.
    #[must_use]
    pub fn settings(mut self, yaml: &str) -> Self {
        self.settings = Some(yaml.into());
        self
    }

    /// Another build of this project's plugin than the one that is tested.
    #[must_use]
    pub fn plugin(mut self, plugin: PathBuf) -> Self {
        self.plugin = Some(plugin);
        self
    }

    /// A line of plugin.config for another plugin.
    #[must_use]
    pub fn plugin_line(mut self, line: &str) -> Self {
        self.plugin_lines.push(line.into());
        self
    }

    /// A record, such as `proxy.config.http.insert_age_in_response INT 0`.
    #[must_use]
    pub fn record(mut self, record: &str) -> Self {
        self.records.push(record.into());
        self
    }

    /// Sends `prefix` (such as `/origin/`) to an origin server.
    #[must_use]
    pub fn origin(mut self, prefix: &str, origin: SocketAddr) -> Self {
        self.remaps.push(format!("map {prefix} http://{origin}/"));
        self
    }

    /// The same to one with TLS, whatever its certificate is.
    #[must_use]
    pub fn tls_origin(mut self, prefix: &str, origin: SocketAddr) -> Self {
        self.remaps.push(format!("map {prefix} https://{origin}/"));
        self.record("proxy.config.ssl.client.verify.server.policy STRING DISABLED")
    }

    /// A further port with TLS, HTTP/2 and HTTP/1.1, and a certificate made for it.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Serves HTTP/2 without TLS too, on the first port.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// An environment variable of the server.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// A command that runs the server, such as valgrind with its options; it must become the server
    /// (exec). One that stays its parent must end with it, and its test ends the server.
    #[must_use]
    pub fn under(mut self, wrapper: &[String]) -> Self {
        self.wrapper = wrapper.to_vec();
        self
    }

    /// The first attach compiles, whatever earlier servers have compiled.
    #[must_use]
    pub fn compile_anew(mut self) -> Self {
        self.compile_anew = true;
        self
    }

    /// Its test wants stops to go on by their deadline. With any other one that is a failure: what it waits
    /// for would come without what it tests.
    #[must_use]
    pub fn deadlines_pass(mut self) -> Self {
        self.deadlines_pass = true;
        self
    }

    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// When Traffic Server or the plugin is not there, or it ends at start; the error has its log.
    pub fn start(&self) -> Result<Ats> {
        Ats::start(self)
    }
}

/// A filter and its YAML file.
#[derive(Debug, Clone)]
pub struct Filter {
    name: String,
    module: PathBuf,
    configuration: String,
    fail_open: bool,
    config_lines: Vec<String>,
    vm_lines: Vec<String>,
    raw: Option<String>,
}

impl Filter {
    /// A filter with this name, root id and VM id, from a `.wasm` file.
    #[must_use]
    pub fn new(name: &str, module: &Path) -> Self {
        Self {
            name: name.into(),
            module: module.into(),
            configuration: String::new(),
            fail_open: true,
            config_lines: Vec::new(),
            vm_lines: Vec::new(),
            raw: None,
        }
    }

    /// One of the examples, such as `rust-token`, as `debug` or `release` build.
    #[must_use]
    pub fn example(name: &str, build: &str) -> Self {
        Self::new(name, &example(name, build))
    }

    /// A filter file written as it stands, right or wrong.
    #[must_use]
    pub fn raw(name: &str, yaml: &str) -> Self {
        Self { raw: Some(yaml.into()), ..Self::new(name, Path::new("")) }
    }

    /// What `proxy_on_configure` gets.
    #[must_use]
    pub fn configuration(mut self, text: &str) -> Self {
        self.configuration = text.into();
        self
    }

    /// Answer 503 when the filter fails, instead of going on without it.
    #[must_use]
    pub fn fail_closed(mut self) -> Self {
        self.fail_open = false;
        self
    }

    /// A further line under `config:`.
    #[must_use]
    pub fn config_line(mut self, line: &str) -> Self {
        self.config_lines.push(line.into());
        self
    }

    /// A further line under `vmConfig:`.
    #[must_use]
    pub fn vm_line(mut self, line: &str) -> Self {
        self.vm_lines.push(line.into());
        self
    }

    fn yaml(&self) -> String {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        // JSON strings are YAML strings.
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        let name = quote(&self.name);
        let mut yaml = format!("config:\n  name: {name}\n  rootId: {name}\n");
        yaml.push_str(&format!("  configuration: {}\n", quote(&self.configuration)));
        yaml.push_str(&format!("  fail_open: {}\n", self.fail_open));
        for line in &self.config_lines {
            yaml.push_str(&format!("  {line}\n"));
        }
        yaml.push_str(&format!("  vmConfig:\n    vmId: {name}\n    runtime: proxy-wasm.runtime.wasmtime\n"));
        for line in &self.vm_lines {
            yaml.push_str(&format!("    {line}\n"));
        }
        let module = quote(&self.module.display().to_string());
        yaml.push_str(&format!("    code:\n      local:\n        filename: {module}\n"));
        yaml
    }
}

/// The prebuilt module of an example, `debug` or `release`.
#[must_use]
pub fn example(name: &str, build: &str) -> PathBuf {
    process::repository().join(format!("examples/{name}/{name}.{build}.wasm"))
}

pub(super) fn write(
    scratch: &Scratch,
    server: &Server,
    options: &Options,
    address: SocketAddr,
    tls: Option<SocketAddr>,
) -> Result<()> {
    for folder in ["etc", "share", "plugins", "run", "log", "cache"] {
        std::fs::create_dir(scratch.path().join(folder))?;
    }
    scratch.write("runroot.yaml", runroot(scratch.path(), &server.prefix))?;
    records::write(scratch, server, options, address, tls)?;
    scratch.write("etc/storage.config", format!("{} 64M\n", scratch.path().join("cache").display()))?;
    scratch.write("etc/ip_allow.yaml", IP_ALLOW)?;
    let mut remaps = options.remaps.join("\n");
    // The generator answers /cache/BYTES/NAME and /nocache/BYTES/NAME without an origin.
    let generator = server.plugins.join("generator.so");
    remaps.push_str(&format!("\nmap / http://127.0.0.1:1/ @plugin={}\n", generator.display()));
    scratch.write("etc/remap.config", remaps)?;
    if tls.is_some() {
        write_certificate(scratch)?;
    }
    if !options.compile_anew {
        code::hand_to(scratch.path(), options.filters.iter().map(|filter| filter.module.as_path()))?;
    }
    write_plugins(scratch, options)
}

fn write_plugins(scratch: &Scratch, options: &Options) -> Result<()> {
    let mut lines = options.plugin_lines.clone();
    if !options.filters.is_empty() || options.settings.is_some() {
        let plugin = match &options.plugin {
            Some(plugin) => plugin.clone(),
            None => process::product("libwasmdbg_ats.so")?,
        };
        std::os::unix::fs::symlink(plugin, scratch.path().join("plugins/wasmdbg.so"))?;
        let mut line = String::from("wasmdbg.so");
        if let Some(settings) = &options.settings {
            line.push_str(&format!(" --settings {}", scratch.write("etc/wasmdbg.yaml", settings)?.display()));
        }
        for (index, filter) in options.filters.iter().enumerate() {
            let path = scratch.write(&format!("etc/filter-{index}.yaml"), filter.yaml())?;
            line.push_str(&format!(" {}", path.display()));
        }
        lines.push(line);
    }
    scratch.write("etc/plugin.config", lines.join("\n") + "\n")?;
    Ok(())
}

fn runroot(folder: &Path, installed: &Path) -> String {
    let (own, installed) = (folder.display(), installed.display());
    format!(
        "prefix: {own}\nexec_prefix: {installed}\nbindir: {installed}/bin\nsbindir: {installed}/sbin\n\
         sysconfdir: {own}/etc\ndatadir: {own}/share\nincludedir: {installed}/include\nlibdir: {installed}/lib\n\
         libexecdir: {own}/plugins\nlocalstatedir: {own}/run\nruntimedir: {own}/run\nlogdir: {own}/log\n\
         cachedir: {own}/cache\n"
    )
}

/// Without this file every client is refused.
const IP_ALLOW: &str =
    "ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.0/8\n    action: allow\n    methods: ALL\n";

fn write_certificate(scratch: &Scratch) -> Result<()> {
    let etc = scratch.path().join("etc");
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(etc.join("key.pem"))
        .arg("-out")
        .arg(etc.join("cert.pem"))
        .output()
        .context("cannot run openssl: `tests/setup/install.sh test` installs it")?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    let cert = etc.join("cert.pem");
    let key = etc.join("key.pem");
    let line = format!("dest_ip=* ssl_cert_name={} ssl_key_name={}\n", cert.display(), key.display());
    scratch.write("etc/ssl_multicert.config", line)?;
    Ok(())
}
