//! `wasmprof flamegraph`: a flame graph of a recording.

use std::ffi::OsString;

use anyhow::Result;

pub(super) fn run(arguments: Vec<OsString>) -> Result<()> {
    super::export::run(arguments)
}
