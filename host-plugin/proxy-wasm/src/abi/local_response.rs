//! `proxy_send_local_response`.

use super::serialize::deserialize;
use super::table::{Failure, Table};
use crate::config::Limits;
use crate::embedder::{Level, Status};
use crate::outcome::{Action, LocalResponse};
use crate::vm::guest::{Guest, read};

/// Fields of a local response. The proxy sets them outside of the filter's CPU budget, maybe for thousands of
/// transactions that one callback answers, and may compare each with every other one.
const FIELDS: usize = 64;

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env("proxy_send_local_response", send)
}

/// Answers the transaction of the effective context. The first response counts. BAD_ARGUMENT for a
/// status outside 200 to 599, for more bytes or fields than a filter may write, and when the transaction
/// is neither parked nor in a callback of its own: the proxy is past the point where it could be answered
/// here.
#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
fn send(
    guest: &mut Guest<'_>,
    status: u32,
    details_at: u32,
    details_size: u32,
    body_at: u32,
    body_size: u32,
    headers_at: u32,
    headers_size: u32,
    _grpc_status: i32,
) -> Result<(), Failure<Status>> {
    if !(200..600).contains(&status) {
        return Err(Status::BadArgument.into());
    }
    let details = read(guest.memory, details_at, details_size)?;
    let body = read(guest.memory, body_at, body_size)?;
    let fields = read(guest.memory, headers_at, headers_size)?;
    let Limits { map_bytes, .. } = guest.vm.core.limits;
    let headers = match deserialize(fields, FIELDS, map_bytes) {
        Err(Status::BadArgument) => {
            let text = format!(
                "a local response is not sent, the filter gets BAD_ARGUMENT: it may have {FIELDS} fields, and limits.map_bytes allows {map_bytes} bytes of them"
            );
            guest.vm.core.log_once(Level::Warn, &text);
            return Err(Status::BadArgument.into());
        }
        headers => headers?,
    };
    let bytes = details.len() + body.len() + fields.len();
    guest.vm.answer(bytes)?;
    guest.vm.budget.work(bytes)?;
    let response = LocalResponse { status, details: details.to_vec(), body: body.to_vec(), headers };
    Ok(guest.vm.contexts.decide(Action::Respond(Box::new(response)))?)
}
