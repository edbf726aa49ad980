//! Damaged inputs: an error or less of a result, never a panic. What the readers' own unit tests cannot
//! make themselves is made here: a real image, and what a real `perf record` writes.

use std::process::Command;

use wasmdbg_profiler::code::image::{CodeKind, HEADER, Image, is_image, size_from_header};
use wasmdbg_profiler::import;

use crate::support::{Folder, fixture};

/// A small generator that gives the same numbers each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Copies of `whole` with a few bytes changed, or cut.
pub(crate) fn damaged(whole: &[u8], count: usize, mut each: impl FnMut(&[u8])) {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for round in 0..count {
        let mut bytes = whole.to_vec();
        for _ in 0..1 + numbers.below(4) {
            // The heads of formats lie at the start: half of the changes go there.
            let limit = if round % 2 == 0 { whole.len().min(1024) } else { whole.len() };
            let at = numbers.below(limit);
            bytes[at] = [0, 1, 0x7f, 0x80, 0xff][numbers.below(5)];
        }
        if round % 5 == 0 {
            bytes.truncate(numbers.below(whole.len()));
        }
        each(&bytes);
    }
}

#[test]
fn images() {
    let engine = wasmtime::Engine::default();
    let module = std::fs::read(fixture("shares_first.wasm")).unwrap();
    let whole = engine.precompile_module(&module).unwrap();
    assert!(is_image(&whole));
    assert_eq!(size_from_header(&whole[..HEADER]), Some(whole.len() as u64));
    let image = Image::parse(&whole).unwrap();
    let half = image
        .functions
        .iter()
        .find(|function| function.name.as_deref().is_some_and(|name| name.contains("half")));
    let half = half.expect("the function is in the image");
    assert!(matches!(half.kind, CodeKind::Function(_)));
    let map = image.address_map.as_ref().unwrap();
    assert!(map.find(half.range.start + 8, half.range.start).is_some());
    damaged(&whole, 3000, |bytes| {
        if let Ok(image) = Image::parse(bytes) {
            for offset in [0, 100, u32::MAX] {
                let _ = image.function_at(offset);
            }
        }
    });
}

#[test]
fn perf_data() {
    let folder = Folder::new();
    let data = folder.path("perf.data");
    let made = Command::new("perf")
        .args([
            "record",
            "-q",
            "-g",
            "-e",
            "cpu-clock:u",
            "-F",
            "9999",
            "-o",
            data.to_str().unwrap(),
            "--",
            "true",
        ])
        .status();
    assert!(
        made.is_ok_and(|status| status.success()),
        "perf is missing: tests/setup/install.sh test installs it"
    );
    let whole = std::fs::read(&data).unwrap();
    let broken = folder.path("broken.data");
    damaged(&whole, 400, |bytes| {
        std::fs::write(&broken, bytes).unwrap();
        let _ = import::perf_data(&broken, &[]);
    });
}
