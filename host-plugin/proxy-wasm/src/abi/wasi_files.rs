//! WASI preview 1's files, of which a filter has none but its standard streams: output goes to the log,
//! input is empty, everything else does not exist.

use super::errno::Errno;
use super::table::{Failure, Table};
use crate::vm::guest::{Guest, read, read_u32, write, write_u32};
use crate::vm::output::Stream;

const CHARACTER_DEVICE: u8 = 2;
const RIGHT_READ: u8 = 1 << 1;
const RIGHT_WRITE: u8 = 1 << 6;

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.wasi("fd_write", fd_write)?;
    table.wasi("fd_read", fd_read)?;
    table.wasi("fd_close", standard)?;
    table.wasi("fd_sync", standard)?;
    table.wasi("fd_datasync", standard)?;
    table.wasi("fd_seek", |_: &mut Guest<'_>, fd: u32, _: i64, _: u32, _: u32| no_position(fd))?;
    table.wasi("fd_tell", |_: &mut Guest<'_>, fd: u32, _: u32| no_position(fd))?;
    table.wasi("fd_fdstat_get", fd_fdstat_get)?;
    table.wasi("fd_prestat_get", |_: &mut Guest<'_>, _: u32, _: u32| no_file())?;
    table.wasi("fd_prestat_dir_name", |_: &mut Guest<'_>, _: u32, _: u32, _: u32| absent())?;
    table.wasi("path_open", path_open)?;
    define_absent(table)
}

/// Functions on files that a filter cannot have.
fn define_absent(table: &mut Table) -> wasmtime::Result<()> {
    type G<'a> = Guest<'a>;
    table.wasi("fd_advise", |_: &mut G<'_>, _: u32, _: u64, _: u64, _: u32| absent())?;
    table.wasi("fd_allocate", |_: &mut G<'_>, _: u32, _: u64, _: u64| absent())?;
    table.wasi("fd_fdstat_set_flags", |_: &mut G<'_>, _: u32, _: u32| absent())?;
    table.wasi("fd_fdstat_set_rights", |_: &mut G<'_>, _: u32, _: u64, _: u64| absent())?;
    table.wasi("fd_filestat_get", |_: &mut G<'_>, _: u32, _: u32| absent())?;
    table.wasi("fd_filestat_set_size", |_: &mut G<'_>, _: u32, _: u64| absent())?;
    table.wasi("fd_filestat_set_times", |_: &mut G<'_>, _: u32, _: u64, _: u64, _: u32| absent())?;
    table.wasi("fd_pread", |_: &mut G<'_>, _: u32, _: u32, _: u32, _: u64, _: u32| absent())?;
    table.wasi("fd_pwrite", |_: &mut G<'_>, _: u32, _: u32, _: u32, _: u64, _: u32| absent())?;
    table.wasi("fd_readdir", |_: &mut G<'_>, _: u32, _: u32, _: u32, _: u64, _: u32| absent())?;
    table.wasi("fd_renumber", |_: &mut G<'_>, _: u32, _: u32| absent())?;
    table.wasi("path_create_directory", |_: &mut G<'_>, _: u32, _: u32, _: u32| absent())?;
    table.wasi("path_filestat_get", |_: &mut G<'_>, _: u32, _: u32, _: u32, _: u32, _: u32| absent())?;
    table.wasi(
        "path_filestat_set_times",
        |_: &mut G<'_>, _: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32| absent(),
    )?;
    table.wasi("path_link", |_: &mut G<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
        absent()
    })?;
    table.wasi("path_readlink", |_: &mut G<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| absent())?;
    table.wasi("path_remove_directory", |_: &mut G<'_>, _: u32, _: u32, _: u32| absent())?;
    table.wasi("path_rename", |_: &mut G<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| absent())?;
    table.wasi("path_symlink", |_: &mut G<'_>, _: u32, _: u32, _: u32, _: u32, _: u32| absent())?;
    table.wasi("path_unlink_file", |_: &mut G<'_>, _: u32, _: u32, _: u32| absent())?;
    table.wasi("sock_accept", |_: &mut G<'_>, _: u32, _: u32, _: u32| absent())?;
    table.wasi("sock_recv", |_: &mut G<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| absent())?;
    table.wasi("sock_send", |_: &mut G<'_>, _: u32, _: u32, _: u32, _: u32, _: u32| absent())?;
    table.wasi("sock_shutdown", |_: &mut G<'_>, _: u32, _: u32| absent())
}

fn absent() -> Result<(), Errno> {
    Err(Errno::Nosys)
}

/// No directory is opened for the guest.
fn no_file() -> Result<(), Errno> {
    Err(Errno::Badf)
}

fn no_position(fd: u32) -> Result<(), Errno> {
    Err(if fd <= 2 { Errno::Spipe } else { Errno::Badf })
}

/// Succeeds on the standard streams and changes nothing.
fn standard(_: &mut Guest<'_>, fd: u32) -> Result<(), Errno> {
    if fd <= 2 { Ok(()) } else { Err(Errno::Badf) }
}

/// Writes the buffers of an array of `(pointer, size)`.
fn fd_write(
    guest: &mut Guest<'_>,
    fd: u32,
    buffers_at: u32,
    count: u32,
    written_at: u32,
) -> Result<(), Failure<Errno>> {
    let stream = match fd {
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        _ => return Err(Errno::Badf.into()),
    };
    let mut written = 0u32;
    for index in 0..count {
        let at = index.checked_mul(8).and_then(|at| at.checked_add(buffers_at)).ok_or(Errno::Fault)?;
        let pointer = read_u32(guest.memory, at)?;
        let size = read_u32(guest.memory, at.checked_add(4).ok_or(Errno::Fault)?)?;
        guest.vm.budget.work(16)?;
        guest.vm.print(stream, read(guest.memory, pointer, size)?);
        written = written.checked_add(size).ok_or(Errno::Inval)?;
    }
    Ok(write_u32(guest.memory, written_at, written)?)
}

/// Standard input is at its end.
fn fd_read(guest: &mut Guest<'_>, fd: u32, _buffers_at: u32, _count: u32, read_at: u32) -> Result<(), Errno> {
    if fd != 0 {
        return Err(Errno::Badf);
    }
    Ok(write_u32(guest.memory, read_at, 0)?)
}

/// `fdstat` of a standard stream: a character device that is read (0) or written (1, 2).
fn fd_fdstat_get(guest: &mut Guest<'_>, fd: u32, stat_at: u32) -> Result<(), Errno> {
    let rights = match fd {
        0 => RIGHT_READ,
        1 | 2 => RIGHT_WRITE,
        _ => return Err(Errno::Badf),
    };
    let stat = write(guest.memory, stat_at, 24)?;
    stat.fill(0);
    stat[0] = CHARACTER_DEVICE;
    stat[8] = rights;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "WASI's signature")]
fn path_open(
    _: &mut Guest<'_>,
    _directory: u32,
    _lookup: u32,
    _path_at: u32,
    _path_size: u32,
    _open: u32,
    _rights: u64,
    _inheriting: u64,
    _flags: u32,
    _fd_at: u32,
) -> Result<(), Errno> {
    Err(Errno::Noent)
}
