//! What modules built with Emscripten import besides the ABI.

use super::table::{Answer, Table};
use crate::vm::guest::Guest;

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table
        .env("pthread_equal", |_: &mut Guest<'_>, left: u32, right: u32| Number(i32::from(left == right)))?;
    table.env_silent("emscripten_notify_memory_growth", |_: u32| ())
}

/// A plain number, not a status.
struct Number(i32);

impl Answer for Number {
    fn code(self) -> wasmtime::Result<i32> {
        Ok(self.0)
    }
}
