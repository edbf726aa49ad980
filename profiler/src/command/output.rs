//! Where results go: the format by the file's name, and files that appear whole or not at all.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use wasmdbg_profiler::output;
use wasmdbg_profiler::profile::Profile;

use super::place::Place;

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

    /// Writes a file: first another one beside it, so that an error leaves what was there. A pipe or a device is
    /// written to as it is, and `-` is standard output.
    pub(crate) fn write_file(self, profile: &Profile, path: &Path) -> Result<()> {
        if path == Path::new("-") {
            return self.write(profile, BufWriter::new(std::io::stdout().lock()));
        }
        let write = |file| self.write(profile, BufWriter::new(file));
        let written = Place::of(path).and_then(|place| {
            if place.is_special() { write(place.open_special()?) } else { place.replace(write) }
        });
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Whether it is there, and neither a file nor a folder.
pub(super) fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| !data.is_file() && !data.is_dir())
}

/// An error when `output` is one of the files that are read.
pub(super) fn refuse_input(output: &Path, inputs: &[PathBuf]) -> Result<()> {
    let is_output = |input: &PathBuf| {
        let same = |input: PathBuf| output.canonicalize().is_ok_and(|output| output == input);
        input.canonicalize().is_ok_and(same)
    };
    match inputs.iter().find(|input| is_output(input)) {
        Some(input) if !is_special(input) => {
            bail!("{} would be replaced by what is made of it: name another file with -o", input.display())
        }
        _ => Ok(()),
    }
}

/// How much of the time in modules has names and lines.
pub(super) fn print_coverage(profile: &Profile) {
    let coverage = profile.coverage;
    if coverage.wasm == 0 {
        return;
    }
    let share = |part: u64| part as f64 * 100.0 / coverage.wasm as f64;
    say!(
        "innermost frame in a module: {:.2} % with a function, {:.2} % with a line ({:.2} % approximate, {:.2} % \
         of a call to a function without lines)",
        share(coverage.named),
        share(coverage.line),
        share(coverage.approximate),
        share(coverage.caller)
    );
}
