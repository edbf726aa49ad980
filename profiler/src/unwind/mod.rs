//! From registers and the top of a stack to callers. Compiled Wasm always keeps frame pointers, the host
//! often does not: frame pointers are followed in Wasm and in what other engines describe,
//! unwind tables (CFI) in the host. Where neither says who the caller is, the stack ends there and says so: a
//! caller is never guessed.

mod frames;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{FrameAddress, Unwinder as _};
use rustc_hash::FxBuildHasher;

pub use self::frames::Frames;
use crate::target::host::Covered;
use crate::target::space::{Object, ObjectId, Piece, Space, UNKNOWN, WasmObject};

/// Where a stack ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the thread's first function.
    Root,
    /// The part of the stack that was copied is too short.
    StackCopy,
    /// It goes on where no copy can reach: in another stack, as that of a fiber does.
    Elsewhere,
    /// In code without unwind tables.
    NoTables,
    /// At an address that is no code.
    NoCode,
}

/// The frame of one call: the address to look up (for a caller, the byte before the return address).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawFrame {
    /// Whose code.
    pub object: ObjectId,
    /// The object's own address of it, see [`Piece::bias`].
    pub address: u64,
}

/// Registers at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// rip
    pub ip: u64,
    /// rsp
    pub sp: u64,
    /// rbp
    pub bp: u64,
}

/// See the module.
pub struct Walker {
    unwinder: UnwinderX86_64<Arc<[u8]>>,
    /// Rules that were read before. One holds 509, by address; a proxy under load has thousands of callers.
    caches: Vec<CacheX86_64>,
    /// Whether there is an unwind rule, by address.
    covered: HashMap<u64, Covered, FxBuildHasher>,
    /// See [`Walker::follow_frame_pointers`].
    frame_pointers: bool,
    generation: u64,
}

impl std::fmt::Debug for Walker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walker").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// No copy of a stack is longer: its size is a number of 16 bits.
const LONGEST_COPY: u64 = 1 << 16;

/// A stack deeper than this is a loop.
const DEEPEST: usize = 1024;

/// See [`Walker::caches`]; a power of two.
const CACHES: usize = 16;

impl Default for Walker {
    fn default() -> Self {
        Self {
            unwinder: UnwinderX86_64::new(),
            caches: (0..CACHES).map(|_| CacheX86_64::new()).collect(),
            covered: HashMap::default(),
            frame_pointers: false,
            generation: 0,
        }
    }
}

impl Walker {
    /// Whether to follow frame pointers in code of unknown origin too: engines that describe their code to
    /// profilers keep them.
    pub fn follow_frame_pointers(&mut self, on: bool) {
        self.frame_pointers = on;
    }

    /// Appends the frames to `out` as their numbers in `frames`, innermost first, and says why they end. `stack`
    /// is the memory from `registers.sp` on, `code` reads [`CODE`] bytes of code of unknown origin.
    pub fn walk(
        &mut self,
        space: &Space,
        registers: Registers,
        stack: &[u8],
        code: impl Fn(u64) -> Option<[u8; CODE]>,
        frames: &mut Frames,
        out: &mut Vec<u32>,
    ) -> End {
        self.follow(space);
        let base = registers.sp;
        let farthest = Cell::new(base);
        let read = |address: u64| -> Option<u64> {
            farthest.set(address);
            let at = usize::try_from(address.checked_sub(base)?).ok()?;
            stack.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
        };
        let mut now = registers;
        let mut leaf = true;
        let first = out.len();
        while out.len() - first < DEEPEST {
            if now.ip == 0 {
                return End::Root;
            }
            let lookup = if leaf { now.ip } else { now.ip - 1 };
            let Some(piece) = space.find(lookup) else {
                out.push(frames.number(RawFrame { object: UNKNOWN, address: lookup }));
                return End::NoCode;
            };
            out.push(frames.number(RawFrame { object: piece.id, address: lookup.wrapping_sub(piece.bias) }));
            let caller = match &piece.object {
                Some(Object::Wasm(object)) => wasm_caller(object, piece, now, leaf, read),
                Some(Object::Host(_)) => self.host_caller(piece, now, leaf, read),
                None if self.frame_pointers => described_caller(space, now, leaf, read, &code),
                None => Err(End::NoTables),
            };
            match caller {
                // A stack that does not shrink is a wrong one.
                Ok(next) if next.sp <= now.sp && !leaf => return End::NoTables,
                Ok(next) => now = next,
                Err(End::StackCopy) if farthest.get().wrapping_sub(base) >= LONGEST_COPY => {
                    return End::Elsewhere;
                }
                Err(end) => return end,
            }
            leaf = false;
        }
        End::StackCopy
    }

    /// Gives the unwinder the files of a changed address space.
    fn follow(&mut self, space: &Space) {
        if self.generation == space.generation() {
            return;
        }
        self.generation = space.generation();
        self.unwinder = UnwinderX86_64::new();
        self.covered.clear();
        for piece in space.pieces() {
            if let Some(Object::Host(host)) = &piece.object
                && let Some(tables) = &host.tables
            {
                self.unwinder.add_module(tables.module(&host.path, piece.range.clone(), piece.bias));
            }
        }
    }

    fn host_caller(
        &mut self,
        piece: &Piece,
        now: Registers,
        leaf: bool,
        read: impl Fn(u64) -> Option<u64>,
    ) -> Result<Registers, End> {
        let Some(Object::Host(host)) = &piece.object else { return Err(End::NoTables) };
        let lookup = if leaf { now.ip } else { now.ip - 1 };
        let covered = *self.covered.entry(lookup).or_insert_with(|| {
            let tables = host.tables.as_ref();
            tables.map_or(Covered::No, |tables| tables.covers(lookup.wrapping_sub(piece.bias)))
        });
        match covered {
            Covered::Yes => {}
            Covered::No => return Err(End::NoTables),
            Covered::ElsewhereInMemory => return Err(End::Elsewhere),
        }
        let address = if leaf {
            FrameAddress::from_instruction_pointer(now.ip)
        } else {
            FrameAddress::from_return_address(now.ip).ok_or(End::Root)?
        };
        let mut registers = UnwindRegsX86_64::new(now.ip, now.sp, now.bp);
        let mut read = |address| read(address).ok_or(());
        // Each cache takes addresses by their remainder, so that they are told apart by other bits here.
        let cache = &mut self.caches[(lookup ^ lookup >> 13) as usize % CACHES];
        match self.unwinder.unwind_frame(address, &mut registers, cache, &mut read) {
            Ok(Some(ip)) => Ok(Registers { ip, sp: registers.sp(), bp: registers.bp() }),
            Ok(None) | Err(framehop::Error::ReturnAddressIsNull) => Err(End::Root),
            Err(framehop::Error::CouldNotReadStack(_)) => Err(End::StackCopy),
            Err(_) => Err(End::NoTables),
        }
    }
}

const PUSH_RBP: u8 = 0x55;
const MOV_RBP_RSP: [u8; 3] = [0x48, 0x89, 0xe5];
/// Without and with a number of bytes to pop.
const RETS: [u8; 2] = [0xc3, 0xc2];

/// Bytes of code that tell how far a function's prologue has come: from the byte before the instruction on.
pub const CODE: usize = 5;

/// In code of an engine that keeps frame pointers: as in Wasm, but where its functions begin is not known.
/// What the frame pointer leads to must be code.
fn described_caller(
    space: &Space,
    now: Registers,
    leaf: bool,
    read: impl Fn(u64) -> Option<u64>,
    code: impl Fn(u64) -> Option<[u8; CODE]>,
) -> Result<Registers, End> {
    let value = |address| read(address).ok_or(End::StackCopy);
    let caller = match leaf.then(|| code(now.ip.wrapping_sub(1))).flatten() {
        Some([_, first, rest @ ..]) if first == PUSH_RBP && rest == MOV_RBP_RSP || RETS.contains(&first) => {
            Registers { ip: value(now.sp)?, sp: now.sp + 8, bp: now.bp }
        }
        Some([PUSH_RBP, next @ .., _]) if next == MOV_RBP_RSP => {
            Registers { ip: value(now.sp + 8)?, sp: now.sp + 16, bp: value(now.sp)? }
        }
        _ if now.bp < now.sp => return Err(End::NoTables),
        _ => {
            Registers { ip: value(now.bp.wrapping_add(8))?, sp: now.bp.wrapping_add(16), bp: value(now.bp)? }
        }
    };
    let is_code = caller.ip.checked_sub(1).is_some_and(|address| space.find(address).is_some());
    if is_code { Ok(caller) } else { Err(End::NoTables) }
}

/// Cranelift's functions and trampolines begin with `push rbp; mov rbp, rsp` and end with `pop rbp; ret`.
/// In between rbp points at the caller's.
fn wasm_caller(
    object: &WasmObject,
    piece: &Piece,
    now: Registers,
    leaf: bool,
    read: impl Fn(u64) -> Option<u64>,
) -> Result<Registers, End> {
    let value = |address| read(address).ok_or(End::StackCopy);
    if leaf {
        let offset = now.ip.wrapping_sub(piece.bias);
        let start = object.image.function_at(offset as u32).map(|function| u64::from(function.range.start));
        let byte = |at: u64| object.image.code.get(at as usize).copied();
        // Nothing is pushed yet, or everything is popped already.
        if start == Some(offset) || byte(offset).is_some_and(|byte| RETS.contains(&byte)) {
            return Ok(Registers { ip: value(now.sp)?, sp: now.sp + 8, bp: now.bp });
        }
        if start.is_some_and(|start| start + 1 == offset && byte(start) == Some(PUSH_RBP)) {
            return Ok(Registers { ip: value(now.sp + 8)?, sp: now.sp + 16, bp: now.bp });
        }
    }
    Ok(Registers { ip: value(now.bp.wrapping_add(8))?, sp: now.bp.wrapping_add(16), bp: value(now.bp)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::address_map::AddressMap;
    use crate::code::image::{CodeKind, CompiledFunction, Image};
    use crate::target::space::HostObject;

    /// Compiled code from address 0x1000 on.
    fn module(code: &[u8], functions: Vec<CompiledFunction>) -> Object {
        let image = Image {
            text: 0..0x1000,
            code: code.into(),
            version: None,
            functions,
            address_map: Ok(AddressMap::default()),
            module: None,
        };
        Object::Wasm(Arc::new(WasmObject { base: 0x1000, image }))
    }

    /// A stack that begins in the code of `object`, with this copy of it from address 0x7000 on.
    fn walk_in(object: Object, registers: Registers, words: &[u64]) -> (Vec<RawFrame>, End) {
        let object = Some(object);
        let space = Space::of(vec![Piece { range: 0x1000..0x2000, id: ObjectId(2), bias: 0x1000, object }]);
        let stack: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (mut frames, mut out) = (Frames::default(), Vec::new());
        let end = Walker::default().walk(&space, registers, &stack, |_| None, &mut frames, &mut out);
        (out.iter().map(|number| frames.list()[*number as usize]).collect(), end)
    }

    /// A stack of a module's frames.
    fn walk(words: &[u64]) -> (Vec<RawFrame>, End) {
        walk_in(module(&[], Vec::new()), Registers { ip: 0x1010, sp: 0x7000, bp: 0x7000 }, words)
    }

    fn frame(address: u64) -> RawFrame {
        RawFrame { object: ObjectId(2), address }
    }

    #[test]
    fn frame_pointers_are_followed_to_the_end() {
        let (frames, end) = walk(&[0x7010, 0x1021, 0, 0]);
        assert_eq!((frames, end), (vec![frame(0x10), frame(0x20)], End::Root));
        assert_eq!(walk(&[0x7010, 0x1021]).1, End::StackCopy, "the second frame is not in the copy");
        assert_eq!(walk(&[0x7010, 0x9999, 0, 0]).1, End::NoCode);
        assert_eq!(walk(&[0x6000, 0x1021, 0, 0]).1, End::Elsewhere, "callers lie above");
        assert_eq!(walk(&[0x17ff0, 0x1021, 0, 0]).1, End::Elsewhere, "no copy is that long");
        assert_eq!(walk(&[0x16ff0, 0x1021, 0, 0]).1, End::StackCopy);
    }

    /// `push rbp; mov rbp, rsp; …; pop rbp; ret` at 0x1010: before its frame is made and after it is gone the frame pointer
    /// is the caller's.
    #[test]
    fn every_opcode_of_a_function_has_its_caller() {
        const CODE: [u8; 16] = [0x55, 0x48, 0x89, 0xe5, 0x90, 0x90, 0x5d, 0xc3, 0, 0, 0, 0, 0, 0, 0, 0];
        let code = [[0x90; 16], CODE, [0x90; 16]].concat();
        let function = |range, index| CompiledFunction { range, kind: CodeKind::Function(index), name: None };
        // The caller is at 0x1025, and its own caller, by its frame at 0x7020, is at 0x102b.
        let (caller, outer) = (0x1025, [0x7040, 0x102b, 0, 0, 0, 0]);
        for (offset, pushed, popped) in
            [(0, 0, true), (1, 1, true), (4, 1, false), (6, 1, false), (7, 0, true)]
        {
            let functions = vec![function(0..16, 0), function(16..32, 1), function(32..48, 2)];
            // What is pushed: the return address, and then the caller's frame pointer.
            let mut words = vec![0x7020; pushed];
            words.push(caller);
            words.resize(4, 0);
            words.extend(outer);
            let bp = if popped { 0x7020 } else { 0x7000 };
            let registers = Registers { ip: 0x1010 + offset, sp: 0x7000, bp };
            let (frames, _) = walk_in(module(&code, functions), registers, &words);
            let expected = [frame(0x10 + offset), frame(caller - 1 - 0x1000), frame(0x2a)];
            assert!(frames.starts_with(&expected), "at {offset}: {frames:x?}");
        }
    }

    /// The host is compiled without frame pointers: what rbp leads to may look like a frame, and is none.
    #[test]
    fn without_unwind_tables_no_caller_is_guessed() {
        let (path, bytes) = ("/usr/lib/libhost.so".to_owned(), None);
        let host = HostObject { path, reached: None, bytes, tables: None };
        let registers = Registers { ip: 0x1010, sp: 0x7000, bp: 0x7000 };
        let found = walk_in(Object::Host(Arc::new(host)), registers, &[0x7010, 0x1021, 0, 0]);
        assert_eq!(found, (vec![frame(0x10)], End::NoTables));
    }
}
