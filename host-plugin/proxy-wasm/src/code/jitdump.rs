//! `jit-PID.dump`, version 1 of the format in the kernel's `tools/perf/Documentation/jitdump-specification.txt`:
//! a header, and for each piece of code its lines and then the code itself.

use super::piece::Piece;

/// `JiTD`
const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
const HEADER: u32 = 40;
/// Older than every sample: the code was there before the profiler came.
const TIME: u64 = 1;

const JIT_CODE_LOAD: u32 = 0;
const JIT_CODE_DEBUG_INFO: u32 = 2;

#[cfg(target_arch = "x86_64")]
const MACHINE: u32 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u32 = 183;

/// A whole file.
pub(super) fn bytes(pid: u32, pieces: &[Piece<'_>]) -> Vec<u8> {
    let code: usize = pieces.iter().map(|piece| piece.code.len() + piece.name.len() + 64).sum();
    let mut out = Vec::with_capacity(code);
    for word in [MAGIC, VERSION, HEADER, MACHINE, 0, pid] {
        out.extend(word.to_ne_bytes());
    }
    out.extend(TIME.to_ne_bytes());
    out.extend(0u64.to_ne_bytes());
    for (index, piece) in pieces.iter().enumerate() {
        if !piece.lines.is_empty() {
            record(&mut out, JIT_CODE_DEBUG_INFO, |out| lines(out, piece));
        }
        record(&mut out, JIT_CODE_LOAD, |out| {
            out.extend(pid.to_ne_bytes());
            out.extend(pid.to_ne_bytes());
            for number in [piece.address, piece.address, piece.code.len() as u64, index as u64] {
                out.extend(number.to_ne_bytes());
            }
            text(out, &piece.name);
            out.extend(piece.code);
        });
    }
    out
}

fn lines(out: &mut Vec<u8>, piece: &Piece<'_>) {
    out.extend(piece.address.to_ne_bytes());
    out.extend((piece.lines.len() as u64).to_ne_bytes());
    for line in &piece.lines {
        out.extend((piece.address + line.offset as u64).to_ne_bytes());
        out.extend(line.line.to_ne_bytes());
        out.extend(0u32.to_ne_bytes());
        text(out, &line.file);
    }
}

/// A zero ends a text.
fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.push(0);
}

/// A record's kind, its size with this head, and its time.
fn record(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_ne_bytes());
    out.extend(0u32.to_ne_bytes());
    out.extend(TIME.to_ne_bytes());
    body(out);
    // A piece of code is far below 4 GiB: wasmtime's own offsets are 32 bits.
    let size = (out.len() - start) as u32;
    out[start + 4..start + 8].copy_from_slice(&size.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::SourceLine;
    use super::*;

    #[test]
    fn records_follow_each_other_to_the_end() {
        let lines = vec![SourceLine { offset: 2, file: Arc::from("src/lib.rs"), line: 42 }];
        let piece = Piece { address: 0x1000, code: &[0x55, 0xc3, 0x90], name: "token: f".into(), lines };
        let bare = Piece { address: 0x1003, code: &[0xcc], name: "token: [wasmtime]".into(), lines: vec![] };
        let file = bytes(77, &[piece, bare]);
        let word = |at: usize| u32::from_ne_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!((word(0), word(4), word(8), word(20)), (MAGIC, 1, 40, 77));
        let (mut at, mut kinds) = (40, Vec::new());
        while at < file.len() {
            kinds.push(word(at));
            at += word(at + 4) as usize;
        }
        assert_eq!(at, file.len());
        assert_eq!(
            kinds,
            [JIT_CODE_DEBUG_INFO, JIT_CODE_LOAD, JIT_CODE_LOAD],
            "lines come before their code"
        );
        assert!(file.ends_with(b"token: [wasmtime]\0\xcc"));
    }
}
