//! `proxy_get_property`, `proxy_set_property`. What describes the filter is answered here; everything
//! else is the transaction's.

use super::headers::{admit_replacing, too_much};
use super::table::{Failure, Table};
use crate::embedder::{HeaderMap, Status};
use crate::vm::guest::{Guest, Place, read};
use crate::vm::lent::Write;

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

/// NOT_FOUND when there is no such property, or it has no value now.
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
        path => {
            let transaction = vm.contexts.transaction().map_err(|_| Status::NotFound)?;
            transaction.property(path, &mut vm.scratch)?;
        }
    }
    Ok(place)
}

/// NOT_FOUND when it cannot be set, BAD_ARGUMENT above the limits. A header field is part of its map.
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
    let field = match path.segments() {
        [b"request", b"headers", name] => Some((HeaderMap::RequestHeaders, name)),
        [b"response", b"headers", name] => Some((HeaderMap::ResponseHeaders, name)),
        _ => None,
    };
    if let Some((map, name)) = field {
        let mut lent = vm.contexts.headers(map).map_err(|_| Status::NotFound)?;
        // In this phase there may be no such map.
        lent.headers.count().map_err(|_| Status::NotFound)?;
        admit_replacing(&mut lent, &vm.core, &mut vm.budget, name, value)?;
    } else {
        let write = Write { bytes: path_size as usize + value.len(), ..Write::default() };
        let admitted = vm.contexts.admit_property(write, &vm.core.limits).map_err(|_| Status::NotFound)?;
        if !admitted {
            return Err(too_much(&vm.core).into());
        }
    }
    Ok(vm.contexts.transaction()?.set_property(path.segments(), value)?)
}
