//! `proxy_send_local_response`.

use crate::abi::headers::too_much;
use crate::abi::serialize::deserialize;
use crate::embedder::Status;
use crate::guest::{Guest, read};
use crate::linker::{Failure, Table};
use crate::outcome::{Action, LocalResponse};
use crate::settings::Limits;

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
    let Limits { map_fields, map_bytes, .. } = guest.vm.core.limits;
    let headers = match deserialize(fields, map_fields as usize, map_bytes) {
        Err(Status::BadArgument) => return Err(too_much(&guest.vm.core).into()),
        headers => headers?,
    };
    let bytes = details.len() + body.len() + fields.len();
    guest.vm.answer(bytes)?;
    guest.vm.work(bytes)?;
    let response = LocalResponse { status, details: details.to_vec(), body: body.to_vec(), headers };
    Ok(guest.vm.contexts.decide(Action::Respond(response))?)
}
