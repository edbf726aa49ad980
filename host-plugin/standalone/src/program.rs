//! A filter as a user names it: the module's file, and what may go with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmdbg_proxy_wasm::config::{ConfigError, LimitsOverride};
use wasmdbg_proxy_wasm::{FilterConfig, Settings};

use crate::host::Options;
use crate::report::Report;
use crate::upstream::{Upstream, UpstreamError};

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// The filter's `.wasm` file.
    pub module: PathBuf,
    /// The filter's YAML, as for the plugin; its module is not looked at.
    pub config: Option<PathBuf>,
    /// What the filter's configure reads, instead of the YAML's.
    pub configuration: Option<String>,
    /// The plugin's settings.
    pub settings: Option<PathBuf>,
    /// `http://HOST:PORT`; none: a plain 200 answers every request that the filter lets pass.
    pub upstream: Option<String>,
}

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// Its YAML, or that of the settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its upstream.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl Program {
    /// Reads its files. Returns what a host is made of, and what in them has no effect.
    ///
    /// # Errors
    /// See [`ProgramError`].
    pub fn options(&self, report: Arc<dyn Report>) -> Result<(Options, Vec<String>), ProgramError> {
        let upstream = self.upstream.as_deref().map(Upstream::parse).transpose()?;
        let mut notes = Vec::new();
        let settings = match &self.settings {
            Some(path) => {
                let (settings, warnings) = Settings::read(path)?;
                notes.extend(warnings.iter().map(|warning| format!("{}: {warning}", path.display())));
                settings
            }
            None => Settings::default(),
        };
        let mut filter = match &self.config {
            Some(path) => {
                let (filter, warnings) = FilterConfig::read(path, None)?;
                notes.extend(warnings.iter().map(|warning| format!("{}: {warning}", path.display())));
                filter
            }
            None => plain(&self.module),
        };
        filter.module_path.clone_from(&self.module);
        if let Some(text) = &self.configuration {
            filter.configuration.clone_from(text);
        }
        if upstream.is_none() {
            notes.push("no upstream: a plain 200 answers every request that the filter lets pass".into());
        }
        Ok((Options { filter, settings, upstream, report, cache_folder: cache_folder() }, notes))
    }
}

/// A filter without a file about it.
fn plain(module: &Path) -> FilterConfig {
    let name = module.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    FilterConfig {
        root_id: name.clone(),
        vm_id: name.clone(),
        name,
        configuration: String::new(),
        fail_open: true,
        http: None,
        vm_configuration: String::new(),
        module_path: module.to_owned(),
        environment: Vec::new(),
        capabilities: None,
        limits: LimitsOverride::default(),
    }
}

/// `$XDG_CACHE_HOME/wasmdbg/code`; without a home nothing is kept.
fn cache_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?.join("wasmdbg");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("code"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::report::Happening;

    struct Silent;

    impl Report for Silent {
        fn take(&self, _: Happening) {}

        fn wants_callbacks(&self) -> bool {
            false
        }
    }

    #[test]
    fn what_the_command_line_names_goes_before_what_the_file_says() {
        let folder = std::env::temp_dir().join(format!("wasmdbg-program-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (config, settings) = (folder.join("filter.yaml"), folder.join("settings.yaml"));
        let text = "config:\n  configuration: of the file\n  colour: red\n  vmConfig: {code: {local: {filename: other.wasm}}}\n";
        fs::write(&config, text).unwrap();
        fs::write(&settings, "limits: {memory: 1 MB}\nx: 1\n").unwrap();
        let mut program = Program {
            module: "/a/named.wasm".into(),
            config: Some(config.clone()),
            settings: Some(settings.clone()),
            ..Program::default()
        };
        let (options, notes) = program.options(Arc::new(Silent)).unwrap();
        assert_eq!(options.filter.module_path, Path::new("/a/named.wasm"));
        assert_eq!(options.filter.configuration, "of the file");
        assert_eq!(options.settings.limits.memory, 1 << 20);
        assert_eq!(
            notes,
            [
                format!("{}: unknown key x at line 2 is ignored", settings.display()),
                format!("{}: unknown key config.colour at line 3 is ignored", config.display()),
                "no upstream: a plain 200 answers every request that the filter lets pass".to_owned(),
            ]
        );
        program.configuration = Some("of the command line".into());
        program.upstream = Some("http://127.0.0.1:1".into());
        let (options, notes) = program.options(Arc::new(Silent)).unwrap();
        assert_eq!(options.filter.configuration, "of the command line");
        assert_eq!((options.upstream.is_some(), notes.len()), (true, 2));
        fs::remove_dir_all(&folder).unwrap();
    }
}
