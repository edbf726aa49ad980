//! `proxy_get_property`, `proxy_set_property`. What describes the filter is answered here; everything
//! else is the transaction's: its host's, or what filters have left with it under names of their own.

use super::headers::{admit_replacing, too_much};
use super::serialize::serialize;
use super::table::{Failure, Table};
use crate::embedder::{HeaderMap, Status, Transaction};
use crate::own_properties::OwnProperties;
use crate::vm::guest::{Guest, Place, read};
use crate::vm::lent::Write;
use crate::vm::state::VmState;

/// Segments of a path; the longest of the field has five.
const SEGMENTS: usize = 16;
/// Bytes of a path; there are header names in some.
const LONGEST_PATH: usize = 64 << 10;

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env_placing("proxy_get_property", get)?;
    table.env("proxy_set_property", set)
}

/// A path: segments joined by NUL, with or without one at the end.
struct Path<'a> {
    segments: [&'a [u8]; SEGMENTS],
    count: usize,
}

impl<'a> Path<'a> {
    fn new(path: &'a [u8]) -> Result<Self, Status> {
        if path.len() > LONGEST_PATH {
            return Err(Status::NotFound);
        }
        let path = path.strip_suffix(b"\0").unwrap_or(path);
        let mut segments = [&path[..0]; SEGMENTS];
        let mut count = 0;
        for segment in path.split(|byte| *byte == 0) {
            *segments.get_mut(count).ok_or(Status::NotFound)? = segment;
            count += 1;
        }
        Ok(Self { segments, count })
    }

    fn segments(&self) -> &[&'a [u8]] {
        &self.segments[..self.count]
    }
}

/// NOT_FOUND when there is no such property, or it has no value now. One that filters have left is found by all
/// filters of its transaction.
fn get(
    guest: &mut Guest<'_>,
    path_at: u32,
    path_size: u32,
    pointer_at: u32,
    size_at: u32,
) -> Result<Place, Status> {
    let place = Place::new(guest.memory, pointer_at, size_at)?;
    let path = Path::new(read(guest.memory, path_at, path_size)?)?;
    let vm = &mut *guest.vm;
    vm.scratch.clear();
    let config = &vm.core.config;
    match path.segments() {
        [b"plugin_name"] => vm.scratch.extend_from_slice(config.name.as_bytes()),
        [b"plugin_root_id"] => vm.scratch.extend_from_slice(config.root_id.as_bytes()),
        [b"plugin_vm_id"] => vm.scratch.extend_from_slice(config.vm_id.as_bytes()),
        // What Traffic Server's own Wasm plugin answers: nothing describes the node.
        [b"node"] => {}
        [b"request", b"headers"] => all(vm, HeaderMap::RequestHeaders)?,
        [b"response", b"headers"] => all(vm, HeaderMap::ResponseHeaders)?,
        path => {
            let transaction = vm.contexts.transaction().map_err(|_| Status::NotFound)?;
            match transaction.property(path, &mut vm.scratch) {
                Err(Status::NotFound) => own(transaction, path, &mut vm.scratch)?,
                known => known?,
            }
        }
    }
    Ok(place)
}

/// A whole map, as `proxy_get_header_map_pairs` gives it.
fn all(vm: &mut VmState, map: HeaderMap) -> Result<(), Status> {
    let lent = vm.contexts.headers(map).map_err(|_| Status::NotFound)?;
    serialize(lent.headers, &mut vm.scratch, &mut vm.lengths).map_err(|status| match status {
        // In this phase there is no such map.
        Status::BadArgument => Status::NotFound,
        other => other,
    })
}

/// One that a filter has left with the transaction.
fn own(transaction: &mut dyn Transaction, path: &[&[u8]], value: &mut Vec<u8>) -> Result<(), Status> {
    let mut found = Err(Status::NotFound);
    transaction.own_properties(&mut |own| {
        if let Some(bytes) = own.get(path) {
            value.extend_from_slice(bytes);
            found = Ok(());
        }
    });
    found
}

/// NOT_FOUND when it cannot be set, BAD_ARGUMENT above the limits. A header field is part of its map; a name that no
/// host has is the filter's own.
fn set(
    guest: &mut Guest<'_>,
    path_at: u32,
    path_size: u32,
    value_at: u32,
    value_size: u32,
) -> Result<(), Failure<Status>> {
    let path = Path::new(read(guest.memory, path_at, path_size)?)?;
    let value = read(guest.memory, value_at, value_size)?;
    let vm = &mut *guest.vm;
    let path = path.segments();
    let field = match path {
        [b"request", b"headers", name] => Some((HeaderMap::RequestHeaders, name)),
        [b"response", b"headers", name] => Some((HeaderMap::ResponseHeaders, name)),
        _ => None,
    };
    if let Some((map, name)) = field {
        let mut lent = vm.contexts.headers(map).map_err(|_| Status::NotFound)?;
        // In this phase there may be no such map.
        lent.headers.count().map_err(|_| Status::NotFound)?;
        admit_replacing(&mut lent, &vm.core, &mut vm.budget, name, value)?;
    } else if OwnProperties::is_own(path) {
        return set_own(vm, path, value);
    } else {
        let write = Write { bytes: path_size as usize + value.len(), ..Write::default() };
        let admitted = vm.contexts.admit_property(write, &vm.core.limits).map_err(|_| Status::NotFound)?;
        if !admitted {
            return Err(too_much(&vm.core).into());
        }
    }
    Ok(vm.contexts.transaction()?.set_property(path, value)?)
}

fn set_own(vm: &mut VmState, path: &[&[u8]], value: &[u8]) -> Result<(), Failure<Status>> {
    vm.budget.work(value.len())?;
    let limit = vm.core.limits.properties;
    let transaction = vm.contexts.transaction().map_err(|_| Status::NotFound)?;
    match transaction.set_property(path, value) {
        Err(Status::NotFound) => {}
        known => return Ok(known?),
    }
    let mut kept = false;
    transaction.own_properties_mut(&mut |own| kept = own.set(path, value, limit));
    if kept { Ok(()) } else { Err(vm.core.property_refused().into()) }
}
