//! Folded stacks, one a line: what `flamegraph.pl`, inferno and speedscope read.

use std::io::{self, Write};

use crate::profile::Profile;

/// Writes them.
///
/// # Errors
/// `out` cannot be written.
pub fn write(profile: &Profile, mut out: impl Write) -> io::Result<()> {
    for line in lines(profile) {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// The lines, sorted by name.
fn lines(profile: &Profile) -> Vec<String> {
    let line = |(stack, weight): &(Vec<u32>, u64)| {
        let mut text = String::new();
        for label in stack {
            if !text.is_empty() {
                text.push(';');
            }
            text.push_str(&profile.labels.get(*label).text);
        }
        text.push(' ');
        text.push_str(&weight.to_string());
        text
    };
    let mut lines: Vec<String> = profile.stacks.iter().map(line).collect();
    lines.sort_unstable();
    lines
}
