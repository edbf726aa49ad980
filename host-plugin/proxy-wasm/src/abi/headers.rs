//! The header-map functions. They work on what [`lent`] finds for a number, whatever that is.

use super::serialize::{deserialize, serialize};
use super::table::{Failure, Table};
use super::unimplemented::not_there;
use crate::config::Limits;
use crate::embedder::{HeaderMap, Headers, Level, Status};
use crate::filter::core::FilterCore;
use crate::vm::contexts::Contexts;
use crate::vm::guest::{Guest, Place, read, write_u32};
use crate::vm::lent::{Lent, Write};
use crate::vm::limits::CpuBudget;

/// No field has a longer name: it is not looked for.
const LONGEST_NAME: usize = 64 << 10;

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env("proxy_get_header_map_size", size)?;
    table.env_placing("proxy_get_header_map_pairs", pairs)?;
    table.env("proxy_set_header_map_pairs", set_pairs)?;
    table.env_placing("proxy_get_header_map_value", value)?;
    table.env("proxy_add_header_map_value", add)?;
    table.env("proxy_replace_header_map_value", replace)?;
    table.env("proxy_remove_header_map_value", remove)
}

/// The map of a number. BAD_ARGUMENT when there is none.
// Inlined: where one is only read, nothing else of it is made.
#[inline(always)]
fn lent<'a>(contexts: &'a mut Contexts, core: &FilterCore, map: u32) -> Result<Lent<'a>, Status> {
    match map {
        0 => contexts.headers(HeaderMap::RequestHeaders),
        1 => contexts.headers(HeaderMap::RequestTrailers),
        2 => contexts.headers(HeaderMap::ResponseHeaders),
        3 => contexts.headers(HeaderMap::ResponseTrailers),
        4 | 5 => Err(not_there(core, "header maps of gRPC calls", Status::Unimplemented)),
        6 | 7 => Err(not_there(core, "header maps of HTTP calls", Status::Unimplemented)),
        _ => Err(Status::BadArgument),
    }
}

/// Number of pairs of a map, and its serialized size in bytes.
fn extent(headers: &mut dyn Headers) -> Result<(usize, usize), Status> {
    let (mut count, mut size) = (0, 4);
    headers.pairs(&mut |name, value| {
        count += 1;
        size += 8 + name.len() + 1 + value.len() + 1;
    })?;
    Ok((count, size))
}

/// Size of the serialized map in bytes.
fn size(guest: &mut Guest<'_>, map: u32, size_at: u32) -> Result<(), Status> {
    let vm = &mut *guest.vm;
    let (_, size) = extent(lent(&mut vm.contexts, &vm.core, map)?.headers)?;
    let size = u32::try_from(size).map_err(|_| Status::SerializationFailure)?;
    write_u32(guest.memory, size_at, size)
}

fn pairs(guest: &mut Guest<'_>, map: u32, pointer_at: u32, size_at: u32) -> Result<Place, Status> {
    let vm = &mut *guest.vm;
    let lent = lent(&mut vm.contexts, &vm.core, map)?;
    let place = Place::new(guest.memory, pointer_at, size_at)?;
    serialize(lent.headers, &mut vm.scratch, &mut vm.lengths)?;
    Ok(place)
}

/// Replaces the whole map. PARSE_FAILURE when it cannot be read, BAD_ARGUMENT when it is above the limits;
/// one that came larger can be written back.
fn set_pairs(guest: &mut Guest<'_>, map: u32, at: u32, size: u32) -> Result<(), Failure<Status>> {
    let vm = &mut *guest.vm;
    let lent = lent(&mut vm.contexts, &vm.core, map)?;
    let limits = vm.core.limits;
    let bytes = read(guest.memory, at, size)?;
    let (count, replaced) = extent(lent.headers)?;
    let (fields, size) =
        (count.saturating_add(limits.map_fields as usize), limits.map_bytes.saturating_add(replaced as u64));
    let pairs = match deserialize(bytes, fields, size) {
        Err(Status::BadArgument) => return Err(too_much(&vm.core).into()),
        pairs => pairs?,
    };
    // A proxy may compare each field with every other one.
    vm.budget.work(bytes.len() + pairs.len().pow(2))?;
    let write = Write { bytes: bytes.len(), fields: pairs.len().saturating_sub(count), replaced };
    if lent.written.admit(write, &limits).is_none() {
        return Err(too_much(&vm.core).into());
    }
    Ok(lent.headers.set_all(&pairs)?)
}

/// Says once that a filter writes more than it may.
pub(super) fn too_much(core: &FilterCore) -> Status {
    let Limits { map_fields, map_bytes, .. } = core.limits;
    let text = format!(
        "a header map is not changed, the filter gets BAD_ARGUMENT: limits.map_fields allows {map_fields} fields more than came and limits.map_bytes {map_bytes} bytes"
    );
    core.log_once(Level::Warn, &text);
    Status::BadArgument
}

/// Before a field is written into a map. `adds`: it will be one more. BAD_ARGUMENT above the limits.
fn admit(
    lent: &mut Lent<'_>,
    core: &FilterCore,
    budget: &mut CpuBudget,
    bytes: usize,
    adds: bool,
) -> Result<(), Failure<Status>> {
    let now = match lent.counted {
        None if adds => lent.headers.count()?,
        _ => 0,
    };
    let write = Write { bytes, fields: usize::from(adds), replaced: 0 };
    let Some(added) = lent.written.admit(write, &core.limits) else {
        return Err(too_much(core).into());
    };
    if adds {
        // A proxy may compare all fields with each other for each that is added. There are no more than
        // those that were there and those that the filter has added: counting them is not worth it.
        let most = lent.counted.map_or(now, |before| before.saturating_add(added));
        budget.work((most as usize).saturating_pow(2))?;
    }
    Ok(())
}

/// Before a field is set to one value, which adds it when it is absent. BAD_ARGUMENT above the limits.
pub(super) fn admit_replacing(
    lent: &mut Lent<'_>,
    core: &FilterCore,
    budget: &mut CpuBudget,
    name: &[u8],
    value: &[u8],
) -> Result<(), Failure<Status>> {
    let adds = lent.headers.get(name, &mut Vec::new()).is_err();
    admit(lent, core, budget, name.len() + value.len(), adds)
}

/// NOT_FOUND when the field is absent, an empty value when it is there and empty. In 0.1.0 an absent field is empty
/// too: its SDKs panic at NOT_FOUND.
fn value(
    guest: &mut Guest<'_>,
    map: u32,
    name_at: u32,
    name_size: u32,
    pointer_at: u32,
    size_at: u32,
) -> Result<Place, Status> {
    let vm = &mut *guest.vm;
    let lent = lent(&mut vm.contexts, &vm.core, map)?;
    let place = Place::new(guest.memory, pointer_at, size_at)?;
    let name = read(guest.memory, name_at, name_size)?;
    if name.len() > LONGEST_NAME {
        return Err(Status::NotFound);
    }
    vm.scratch.clear();
    match lent.headers.get(name, &mut vm.scratch) {
        Err(Status::NotFound) if vm.core.is_oldest() => {}
        found => found?,
    }
    Ok(place)
}

/// BAD_ARGUMENT above the limits.
fn add(
    guest: &mut Guest<'_>,
    map: u32,
    name_at: u32,
    name_size: u32,
    value_at: u32,
    value_size: u32,
) -> Result<(), Failure<Status>> {
    let vm = &mut *guest.vm;
    let mut lent = lent(&mut vm.contexts, &vm.core, map)?;
    let name = read(guest.memory, name_at, name_size)?;
    let value = read(guest.memory, value_at, value_size)?;
    // A pseudo-header is set, not added.
    let adds = name.first() != Some(&b':');
    admit(&mut lent, &vm.core, &mut vm.budget, name.len() + value.len(), adds)?;
    Ok(lent.headers.add(name, value)?)
}

/// Adds the field when it is absent. BAD_ARGUMENT above the limits.
fn replace(
    guest: &mut Guest<'_>,
    map: u32,
    name_at: u32,
    name_size: u32,
    value_at: u32,
    value_size: u32,
) -> Result<(), Failure<Status>> {
    let vm = &mut *guest.vm;
    let mut lent = lent(&mut vm.contexts, &vm.core, map)?;
    let name = read(guest.memory, name_at, name_size)?;
    let value = read(guest.memory, value_at, value_size)?;
    admit_replacing(&mut lent, &vm.core, &mut vm.budget, name, value)?;
    Ok(lent.headers.replace(name, value)?)
}

/// OK also when the field is absent.
fn remove(guest: &mut Guest<'_>, map: u32, name_at: u32, name_size: u32) -> Result<(), Status> {
    let vm = &mut *guest.vm;
    let lent = lent(&mut vm.contexts, &vm.core, map)?;
    let name = read(guest.memory, name_at, name_size)?;
    if name.len() > LONGEST_NAME {
        return Ok(());
    }
    lent.headers.remove(name)
}
