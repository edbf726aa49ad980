//! x
use crate::bench::table::Row;
use anyhow::{Result, bail};
/// x
pub fn rows() -> Result<Vec<Row>> {
    bail!("not yet")
}
