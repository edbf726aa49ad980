//! Scalars of a YAML text that are read by a function of their own: durations, time limits, sizes. A function's
//! error gets the line and column of the scalar itself, which serde gives only to errors that a visitor
//! returns.

use std::fmt;
use std::time::Duration;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Reads a scalar as it is written, quoted or not.
pub(super) struct Scalar<T> {
    read: fn(&str) -> Result<T, String>,
    expects: &'static str,
}

impl<T> Scalar<T> {
    pub(super) fn new(read: fn(&str) -> Result<T, String>, expects: &'static str) -> Self {
        Self { read, expects }
    }
}

impl<T> Visitor<'_> for Scalar<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expects)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).map_err(E::custom)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }
}

/// Reads `500 ms`, `5s`, `2 m`, `1h`.
///
/// # Errors
/// Says how a duration is written.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{text:?} is not a duration: a number with ms, s, m or h")),
    };
    number
        .and_then(|number| Duration::try_from_secs_f64(number * seconds).ok())
        .ok_or_else(|| format!("{text:?} is not a duration: a number with ms, s, m or h"))
}

/// Reads a duration above zero, or `off` for no limit.
///
/// # Errors
/// Says how a time limit is written.
fn parse_time_limit(text: &str) -> Result<Option<Duration>, String> {
    match text.trim() {
        "off" => Ok(None),
        text => match parse_duration(text)? {
            Duration::ZERO => Err(format!("{text:?} leaves no time at all: write off for no limit")),
            limit => Ok(Some(limit)),
        },
    }
}

/// Reads `65536`, `256 MB`, `1GiB`; K, M and G are powers of 1024, with or without `B` or `iB`.
///
/// # Errors
/// Says how a size is written.
fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err(format!("{text:?} is not a size: a number with KB, MB or GB")),
    };
    match number {
        // A size above 2^53 loses bits here and is far above any limit that can be met.
        Some(number) if number >= 0.0 => Ok((number * f64::from(1u32 << shift)) as u64),
        _ => Err(format!("{text:?} is not a size: a number with KB, MB or GB")),
    }
}

fn number_and_unit(text: &str) -> (Option<f64>, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number.parse().ok(), unit.trim_start())
}

/// serde: a [`Duration`] written as [`parse_duration`] reads it.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Scalar::new(parse_duration, "a number with ms, s, m or h"))
}

/// serde: a time limit written as [`parse_time_limit`] reads it.
pub(super) fn time_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    deserializer.deserialize_any(Scalar::new(parse_time_limit, "a number with ms, s, m or h, or off"))
}

/// serde: a number of bytes written as [`parse_size`] reads it.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Scalar::new(parse_size, "a number with KB, MB or GB"))
}
