//! The top of a profile as a table: by function, line, filter or callback, by self and by total.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::str::FromStr;

use crate::profile::{Label, LabelKind, Profile};

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Functions, of modules and of the host.
    Function,
    /// Lines of modules.
    Line,
    /// Filters.
    Filter,
    /// Callbacks of filters.
    Callback,
    /// Threads.
    Thread,
}

/// No such thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no table by {0:?}: use function, line, filter, callback or thread")]
pub struct UnknownBy(String);

impl FromStr for By {
    type Err = UnknownBy;

    fn from_str(name: &str) -> Result<Self, UnknownBy> {
        Ok(match name {
            "function" => Self::Function,
            "line" => Self::Line,
            "filter" => Self::Filter,
            "callback" => Self::Callback,
            "thread" => Self::Thread,
            _ => return Err(UnknownBy(name.to_owned())),
        })
    }
}

impl By {
    fn takes(self, label: &Label) -> bool {
        match self {
            Self::Function => {
                label.is_wasm()
                    || matches!(label.kind, LabelKind::Host | LabelKind::Kernel | LabelKind::Trampoline)
            }
            Self::Line => label.kind == LabelKind::Line,
            Self::Filter => label.kind == LabelKind::Filter,
            Self::Callback => label.kind == LabelKind::Callback,
            Self::Thread => label.kind == LabelKind::Thread,
        }
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The filter it belongs to, for functions, lines and callbacks of modules.
    pub filter: Option<String>,
    /// Weight of the samples that were taken in its own code; that of a filter or a callback is all of the module's, unless
    /// another one of the kind is further inside, and that of a thread is all.
    pub own: u64,
    /// Weight of the samples in which it occurs at all.
    pub total: u64,
}

/// All rows, the largest own weight first.
#[must_use]
pub fn rows(profile: &Profile, by: By) -> Vec<Row> {
    let mut sums: HashMap<(u32, Option<u32>), (u64, u64)> = HashMap::new();
    for (stack, weight) in &profile.stacks {
        let mut filter = None;
        let mut seen = HashSet::new();
        let mut last = None;
        for number in stack {
            let label = profile.labels.get(*number);
            match label.kind {
                LabelKind::Filter => filter = Some(*number),
                LabelKind::Host | LabelKind::Kernel => filter = None,
                _ => {}
            }
            if by.takes(label) {
                let of = if label.is_wasm() || label.kind == LabelKind::Line { filter } else { None };
                last = Some((*number, of));
                seen.insert((*number, of));
            }
        }
        // A filter and a callback own the module's functions that are called from them; a function does not.
        let innermost = stack.last().map(|number| profile.labels.get(*number));
        let owns = match by {
            By::Function => {
                innermost.is_some_and(|label| By::Function.takes(label) || label.kind == LabelKind::Line)
            }
            By::Line => innermost.is_some_and(|label| label.kind == LabelKind::Line),
            By::Filter | By::Callback => {
                innermost.is_some_and(|label| label.is_wasm() || label.kind == LabelKind::Line)
            }
            By::Thread => true,
        };
        if let Some(last) = last.filter(|_| owns) {
            sums.entry(last).or_default().0 += weight;
        }
        for key in seen {
            sums.entry(key).or_default().1 += weight;
        }
    }
    if by == By::Line {
        for (key, total) in &profile.line_totals {
            sums.entry(*key).or_default().1 = *total;
        }
    }
    let text = |number: u32| profile.labels.get(number).text.to_string();
    let row = |((number, filter), (own, total)): ((u32, Option<u32>), (u64, u64))| Row {
        name: text(number),
        filter: filter.map(|filter| text(filter).trim_start_matches("filter ").to_owned()),
        own,
        total,
    };
    let mut rows: Vec<Row> = sums.into_iter().map(row).collect();
    rows.sort_by(|a, b| (b.own, b.total, &a.name).cmp(&(a.own, a.total, &b.name)));
    rows
}

/// Writes the first `count` rows.
///
/// # Errors
/// `out` cannot be written.
pub fn write(profile: &Profile, by: By, count: usize, mut out: impl Write) -> io::Result<()> {
    let rows = rows(profile, by);
    let rows = &rows[..count.min(rows.len())];
    let amounts = rows.iter().map(|row| profile.amount(row.total).len());
    let width = amounts.max().unwrap_or_default().max(12);
    writeln!(out, "{:>7} {:>width$} {:>7} {:>width$}  name", "self %", "self", "total %", "total")?;
    for row in rows {
        let filter = row.filter.as_ref().map(|filter| format!("  [{filter}]")).unwrap_or_default();
        writeln!(
            out,
            "{:>6.2}% {:>width$} {:>6.2}% {:>width$}  {}{filter}",
            profile.percent(row.own),
            profile.amount(row.own),
            profile.percent(row.total),
            profile.amount(row.total),
            row.name,
        )?;
    }
    out.flush()
}
