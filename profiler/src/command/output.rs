//! Where results go: the format by the file's name, and files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use wasmdbg_profiler::output;
use wasmdbg_profiler::profile::Profile;

/// A form of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Svg,
    Collapsed,
    Json,
}

impl FromStr for Format {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "svg" => Self::Svg,
            "collapsed" | "folded" => Self::Collapsed,
            "json" => Self::Json,
            _ => bail!("there is no format {name:?}: use svg, collapsed or json"),
        })
    }
}

impl Format {
    /// By the end of a file's name; an SVG when it has none.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        Ok(match path.extension().and_then(|extension| extension.to_str()) {
            Some("folded" | "collapsed" | "txt") => Self::Collapsed,
            Some("json") => Self::Json,
            Some("svg") | None => Self::Svg,
            Some(other) => bail!("{}: .{other} is none of .svg, .folded and .json", path.display()),
        })
    }

    /// What such a file holds.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Svg => "flame graph",
            Self::Collapsed => "collapsed stacks",
            Self::Json => "profile",
        }
    }

    pub(crate) fn write(self, profile: &Profile, out: impl Write) -> Result<()> {
        match self {
            Self::Svg => output::svg(profile, out)?,
            Self::Collapsed => output::collapsed(profile, out)?,
            Self::Json => output::json(profile, out)?,
        }
        Ok(())
    }

    /// Writes a file: first another one beside it, so that an error leaves what was there.
    pub(crate) fn write_file(self, profile: &Profile, path: &Path) -> Result<()> {
        let mut name = path.file_name().context("the output's path names no file")?.to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let written = File::create(&part)
            .map_err(anyhow::Error::from)
            .and_then(|file| self.write(profile, BufWriter::new(file)))
            .and_then(|()| Ok(fs::rename(&part, path)?));
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}
