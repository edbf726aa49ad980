//! The one table that is printed.

use std::fmt::Write;

/// One line of the table.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// What was measured; a detail of the row above starts with two spaces.
    pub what: String,
    /// What came out.
    pub result: String,
    /// What it must be.
    pub must: String,
    /// What it should be.
    pub aim: String,
    /// Whether it is what it must or should be; empty for a row that is only shown.
    pub verdict: String,
}

impl Row {
    /// A row that is only shown.
    #[must_use]
    pub fn shown(what: impl Into<String>, result: impl Into<String>) -> Self {
        Self { what: what.into(), result: result.into(), ..Self::default() }
    }

    /// A row for what could not be measured: the first line of why.
    #[must_use]
    pub fn failed(what: impl Into<String>, error: &anyhow::Error) -> Self {
        let verdict = Verdict::NotMeasured.name().into();
        let why = format!("{error:#}").lines().next().unwrap_or_default().chars().take(80).collect();
        Self { what: what.into(), result: why, verdict, ..Self::default() }
    }

    /// Adds what the value must be and should be.
    #[must_use]
    pub fn limits(mut self, must: impl Into<String>, aim: impl Into<String>, verdict: Verdict) -> Self {
        self.must = must.into();
        self.aim = aim.into();
        self.verdict = verdict.name().into();
        self
    }

    /// Adds what the value should be, when there is nothing that it must be.
    #[must_use]
    pub fn aim(mut self, aim: impl Into<String>, reached: bool) -> Self {
        self.aim = aim.into();
        self.verdict = if reached { Verdict::Aim.name() } else { "" }.into();
        self
    }

    /// Whether this row misses what it must be, or could not be measured.
    #[must_use]
    pub fn is_missed(&self) -> bool {
        self.verdict == Verdict::Missed.name() || self.verdict == Verdict::NotMeasured.name()
    }
}

/// How a value stands to its limits; the best is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The aim is reached.
    Aim,
    /// What must be is, the aim is not reached.
    Must,
    /// What must be is not.
    Missed,
    /// There is no value.
    NotMeasured,
}

impl Verdict {
    /// For a value that should be small.
    #[must_use]
    pub fn at_most(value: f64, must: f64, aim: f64) -> Self {
        Self::of(value <= must, value <= aim)
    }

    /// For a value that should be large.
    #[must_use]
    pub fn at_least(value: f64, must: f64, aim: f64) -> Self {
        Self::of(value >= must, value >= aim)
    }

    /// The worse of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }

    // NaN compares false and is a miss.
    fn of(must: bool, aim: bool) -> Self {
        match (must, aim) {
            (true, true) => Self::Aim,
            (true, false) => Self::Must,
            (false, _) => Self::Missed,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Aim => "aim",
            Self::Must => "must",
            Self::Missed => "MISSED",
            Self::NotMeasured => "NOT MEASURED",
        }
    }
}

/// The rows as a Markdown table whose columns also line up as text.
#[must_use]
pub fn render(rows: &[Row]) -> String {
    let head = ["what", "result", "must", "aim", "reached"].map(String::from);
    let mut lines = vec![head];
    lines.extend(rows.iter().map(|row| {
        // A leading space would vanish in Markdown.
        let what =
            row.what.strip_prefix("  ").map_or_else(|| row.what.clone(), |detail| format!("· {detail}"));
        [what, row.result.clone(), row.must.clone(), row.aim.clone(), row.verdict.clone()]
    }));
    let mut widths = [0; 5];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        for (width, cell) in widths.iter().zip(line) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if index == 0 {
            for width in widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Row, Verdict, render};

    #[test]
    fn a_value_reaches_the_aim_or_the_limit_or_neither() {
        assert_eq!(Verdict::at_most(1.0, 2.0, 1.0), Verdict::Aim);
        assert_eq!(Verdict::at_most(1.5, 2.0, 1.0), Verdict::Must);
        assert_eq!(Verdict::at_most(2.5, 2.0, 1.0), Verdict::Missed);
        assert_eq!(Verdict::at_least(0.98, 0.97, 1.0), Verdict::Must);
        assert_eq!(Verdict::at_least(f64::NAN, 0.97, 1.0), Verdict::Missed);
        assert_eq!(Verdict::Must.and(Verdict::Aim), Verdict::Must);
        assert_eq!(Verdict::Must.and(Verdict::Missed), Verdict::Missed);
    }

    #[test]
    fn columns_line_up() {
        let rows = [Row::shown("  a·b", "1"), Row::shown("c", "22").limits("≤ 3", "0", Verdict::Missed)];
        let text = render(&rows);
        let widths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|&width| width == widths[0]), "{text}");
        assert!(text.contains("| · a·b "), "{text}");
        assert!(rows[1].is_missed() && !rows[0].is_missed());
    }
}
