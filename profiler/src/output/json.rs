//! A profile for programs: the figures, the tables and the stacks.

use std::io::{self, Write};

use serde::Serialize;

use super::table::{By, Row, rows};
use crate::profile::{Coverage, Profile};
use crate::recording::Summary;

#[derive(Serialize)]
struct Document<'a> {
    title: &'a str,
    unit: &'a str,
    samples: u64,
    total: u64,
    summary: Option<&'a Summary>,
    coverage: Coverage,
    functions: Vec<Row>,
    lines: Vec<Row>,
    filters: Vec<Row>,
    callbacks: Vec<Row>,
    stacks: Vec<Folded<'a>>,
}

#[derive(Serialize)]
struct Folded<'a> {
    frames: Vec<&'a str>,
    weight: u64,
}

/// Writes it.
///
/// # Errors
/// `out` cannot be written.
pub fn write(profile: &Profile, mut out: impl Write) -> io::Result<()> {
    let folded = |(stack, weight): &(Vec<u32>, u64)| {
        let frames = stack.iter().map(|label| &*profile.labels.get(*label).text).collect();
        (frames, *weight)
    };
    let document = Document {
        title: &profile.title,
        unit: &profile.unit,
        samples: profile.samples,
        total: profile.total,
        summary: profile.summary.as_ref(),
        coverage: profile.coverage,
        functions: rows(profile, By::Function),
        lines: rows(profile, By::Line),
        filters: rows(profile, By::Filter),
        callbacks: rows(profile, By::Callback),
        stacks: profile.stacks.iter().map(folded).map(|(frames, weight)| Folded { frames, weight }).collect(),
    };
    serde_json::to_writer(&mut out, &document)?;
    writeln!(out)?;
    out.flush()
}
