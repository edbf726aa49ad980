//! Which Traffic Server runs: that of `WASMDBG_ATS=PREFIX`, else the one in PATH. Asked once per process.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail, ensure};

/// Where the server's own plugins are below its prefix: upstream's layout, Debian's, Fedora's.
const PLUGINS: [&str; 3] =
    ["libexec/trafficserver", "lib/trafficserver/modules", "lib64/trafficserver/plugins"];

/// An installed Traffic Server.
#[derive(Debug)]
pub struct Server {
    /// Its program.
    pub program: PathBuf,
    /// What it was installed below: `/usr`.
    pub prefix: PathBuf,
    /// The folder of its own plugins, such as `generator.so`.
    pub plugins: PathBuf,
    /// What it says it is: `9.2.9`.
    pub version: String,
    /// How its configuration is written.
    pub(super) major: u32,
}

impl Server {
    /// The one that is used by everything of this process; says on standard error which it is.
    ///
    /// # Errors
    /// There is none, or it is not whole.
    pub fn get() -> Result<&'static Self> {
        static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
        let find = || {
            let server = Self::find().map_err(|error| format!("{error:#}"))?;
            // Not `eprintln`: what a test that passes prints is not shown.
            let _ = writeln!(
                std::io::stderr(),
                "Traffic Server {} ({})",
                server.version,
                server.program.display()
            );
            Ok(server)
        };
        SERVER.get_or_init(find).as_ref().map_err(|error| anyhow!("{error}"))
    }

    fn find() -> Result<Self> {
        let program = match std::env::var_os("WASMDBG_ATS") {
            Some(prefix) => {
                let program = Path::new(&prefix).join("bin/traffic_server");
                ensure!(program.is_file(), "WASMDBG_ATS: there is no {}", program.display());
                program
            }
            None => in_path("traffic_server")
                .context("no traffic_server in PATH: `tests/setup/install.sh ats` installs Debian's")?,
        };
        // A PATH can name /bin, which is a link to /usr/bin.
        let program = program.canonicalize()?;
        let prefix = program.ancestors().nth(2).context("the program has no prefix")?.to_owned();
        let plugins = PLUGINS.map(|folder| prefix.join(folder));
        let plugins = plugins.iter().find(|folder| folder.join("generator.so").is_file());
        let plugins = plugins.with_context(|| {
            format!("no generator.so below {}: looked into {}", prefix.display(), PLUGINS.join(", "))
        })?;
        let output = Command::new(&program)
            .arg("-V")
            .env_remove("TS_RUNROOT")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some((version, major)) = version_in(&said) else {
            bail!("{} -V says no version: {said}", program.display());
        };
        Ok(Self { plugins: plugins.clone(), program, prefix, version, major })
    }
}

/// The first word that is a version, and its first number.
fn version_in(said: &str) -> Option<(String, u32)> {
    said.split_whitespace().find_map(|word| {
        let (major, rest) = word.split_once('.')?;
        let numbered = rest.starts_with(|c: char| c.is_ascii_digit());
        numbered.then_some(()).and(Some((word.to_owned(), major.parse().ok()?)))
    })
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn the_version_is_found_in_what_each_says() {
        let nine = "Traffic Server 9.2.9 Apr  4 2026 14:52:39 localhost\n";
        let ten = "Apache Traffic Server - traffic_server - 10.2.0 - (build # 0 on Nov 29)\n";
        assert_eq!(version_in(nine), Some(("9.2.9".into(), 9)));
        assert_eq!(version_in(ten), Some(("10.2.0".into(), 10)));
        assert_eq!(version_in("usage: x. y"), None);
    }
}
