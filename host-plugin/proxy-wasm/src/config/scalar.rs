//! Scalars of a YAML text that are read by a function of their own. A function's error gets the line and
//! column of the scalar itself, which serde gives only to errors that a visitor returns.

use std::fmt;

use serde::de::{Error, Visitor};

/// Reads a scalar as it is written, quoted or not.
pub(crate) struct Scalar<T> {
    read: fn(&str) -> Result<T, String>,
    expects: &'static str,
}

impl<T> Scalar<T> {
    pub(crate) fn new(read: fn(&str) -> Result<T, String>, expects: &'static str) -> Self {
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
