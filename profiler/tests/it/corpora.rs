//! Every reader of foreign bytes over a stored corpus, `tests/corpus/READER/*`, whole and damaged: an error or
//! less of a result, never a panic. Damage is the same in each run.
//!
//! `v8.*` are excerpts of what node writes, `true.data` is `perf record true` without its features, `stacks.data` the same
//! with `--call-graph dwarf,512 -e page-faults:u -c 20`; the others are made by the ignored test here.

use std::path::{Path, PathBuf};

use wasmdbg_control::ModuleHash;
use wasmdbg_profiler::code::address_map::AddressMap;
use wasmdbg_profiler::code::image::{HEADER, Image, is_image, size_from_header};
use wasmdbg_profiler::code::timeline::{JitCode, Timeline};
use wasmdbg_profiler::code::{jitdump, perf_map};
use wasmdbg_profiler::import;
use wasmdbg_profiler::profile::{Lines, Profile};
use wasmdbg_profiler::recording::{Info, ObjectInfo, Recording, SampleRow, Stack, Summary, WasmInfo, Writer};
use wasmdbg_profiler::target::space::{KERNEL, ObjectId, UNKNOWN};
use wasmdbg_profiler::unwind::{End, RawFrame};

use crate::broken_input::damaged;
use crate::support::{Folder, fixture};

fn corpus(reader: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(reader)
}

/// Gives each file of a reader's corpus as it is, of which `whole` checks what it says, and then `count`
/// damaged copies of it.
fn each(reader: &str, count: usize, whole: impl Fn(&[u8]), mut any: impl FnMut(&[u8])) {
    let mut files: Vec<_> =
        std::fs::read_dir(corpus(reader)).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{reader} has no corpus");
    for file in files {
        let bytes = std::fs::read(file).unwrap();
        whole(&bytes);
        any(&bytes);
        any(&[]);
        damaged(&bytes, count, &mut any);
    }
}

/// Asks a timeline about each of its borders.
fn ask(timeline: &Timeline) {
    for load in timeline.loads() {
        for address in [load.address, load.address.wrapping_add(load.size)] {
            for time in [0, load.time, u64::MAX] {
                if let Some((code, offset)) = timeline.find(address, time) {
                    let _ = code.line_at(offset);
                }
            }
        }
    }
}

#[test]
fn perf_maps() {
    let read = |bytes: &[u8]| {
        let mut timeline = Timeline::default();
        perf_map::read(bytes, &mut timeline);
        ask(&timeline);
        timeline
    };
    let whole = |bytes: &[u8]| {
        assert!(std::str::from_utf8(bytes).is_err(), "a name of it is no UTF-8");
        let timeline = read(bytes);
        let has = |name: &str| timeline.codes().iter().any(|code| code.name.contains(name));
        assert!(has("token: is prime") && has("not UTF-8") && has("-turbofan"));
    };
    each("perf_map", 2000, whole, |bytes| drop(read(bytes)));
}

#[test]
fn jitdumps() {
    let read = |bytes: &[u8]| {
        let mut timeline = Timeline::default();
        let pid = jitdump::read(bytes, &mut timeline);
        ask(&timeline);
        (pid, timeline)
    };
    let whole = |bytes: &[u8]| {
        let (pid, timeline) = read(bytes);
        assert_eq!(pid, Ok(77));
        assert!(timeline.codes().iter().any(|code| code.name.ends_with("-turbofan")));
    };
    each("jitdump", 2000, whole, |bytes| drop(read(bytes)));
}

#[test]
fn perf_data() {
    let folder = Folder::new();
    let file = folder.path("broken.data");
    let read = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        import::perf_data(&file, &[]).ok().map(|imported| Profile::new(&imported.recording, Lines::All))
    };
    let whole = |bytes: &[u8]| assert!(read(bytes).is_some_and(|profile| profile.samples > 0));
    each("perf_data", 300, whole, |bytes| drop(read(bytes)));
}

#[test]
fn address_maps() {
    let ask = |map: &AddressMap| {
        for (offset, _) in map.entries() {
            let _ = map.find(*offset, 0);
        }
    };
    let whole = |bytes: &[u8]| assert!(AddressMap::decode(bytes, "48").unwrap().entries().len() > 20);
    each("address_map", 3000, whole, |bytes| drop(AddressMap::decode(bytes, "48").map(|map| ask(&map))));
}

#[test]
fn images() {
    let whole = |bytes: &[u8]| {
        let image = Image::parse(bytes).unwrap();
        assert!(
            image
                .functions
                .iter()
                .any(|function| function.name.as_deref().is_some_and(|n| n.contains("fifth")))
        );
    };
    each("image", 2000, whole, |bytes| {
        let _ = (is_image(bytes), size_from_header(&bytes[..bytes.len().min(HEADER)]));
        if let Ok(image) = Image::parse(bytes) {
            let _ = [0, 100, u32::MAX].map(|offset| image.function_at(offset).is_some());
        }
    });
}

#[test]
fn recordings() {
    let read = |bytes: &[u8]| Recording::parse(bytes).map(|recording| Profile::new(&recording, Lines::All));
    let whole = |bytes: &[u8]| {
        let profile = read(bytes).unwrap();
        let names: Vec<_> = profile.labels.iter().map(|label| &*label.text).collect();
        assert!(
            profile.samples == 3 && names.contains(&"filter second") && names.contains(&"described"),
            "{names:?}"
        );
    };
    each("recording", 1000, whole, |bytes| drop(read(bytes)));
}

/// Checksums keep most damage out of the records: here it is put behind them.
#[test]
fn recordings_whose_sums_are_right() {
    let whole = std::fs::read(corpus("recording").join("small.wasmprof")).unwrap();
    let mut heads = Vec::new();
    let mut at = 12;
    while at < whole.len() {
        let length = u32::from_le_bytes(whole[at + 1..at + 5].try_into().unwrap()) as usize;
        heads.push((at, length));
        at += 9 + length;
    }
    for (at, length) in heads {
        let end = at + 5 + length;
        assert_eq!(sum(whole[at], &whole[at + 5..end]), whole[end..end + 4], "as the writer has it");
        // The modules are big, and read by other crates.
        for place in (0..length.min(400)).map(|place| at + 5 + place) {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] = value;
                let sum = sum(bytes[at], &bytes[at + 5..end]);
                bytes[end..end + 4].copy_from_slice(&sum);
                if let Ok(recording) = Recording::parse(&bytes) {
                    let _ = Profile::new(&recording, Lines::Innermost);
                }
            }
        }
    }
}

/// The checksum of a record, as the format's description has it.
fn sum(tag: u8, payload: &[u8]) -> [u8; 4] {
    let mut words = u64::from(tag).to_le_bytes().to_vec();
    words.extend_from_slice(payload);
    words.resize(8 * (payload.len() / 8 + 2), 0);
    let (words, _) = words.as_chunks();
    let step = |hash: u64, word: &[u8; 8]| (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x0100_0000_01b3);
    let hash = words.iter().fold(0xcbf2_9ce4_8422_2325, step);
    ((hash ^ hash >> 32) as u32).to_le_bytes()
}

#[test]
#[ignore = "writes the corpus anew"]
fn make() {
    let module = std::fs::read(fixture("shares_second.wasm")).unwrap();
    let bytes = wasmtime::Engine::default().precompile_module(&module).unwrap();
    std::fs::write(corpus("image").join("second.elf"), &bytes).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let section = object::Object::section_by_name(&file, ".wasmtime.addrmap").unwrap();
    let map = object::ObjectSection::data(&section).unwrap();
    std::fs::write(corpus("address_map").join("second"), map).unwrap();
    let image = Image::parse(&bytes).unwrap();
    let mut out = Vec::new();
    let info = Info { recorder: "wasmprof".into(), pid: 77, unit: "ns".into(), ..Info::default() };
    let mut writer = Writer::new(&mut out, &info).unwrap();
    let (id, hash) = (ObjectId(2), ModuleHash([7; 32]));
    let wasm = WasmInfo { filters: vec!["second".into()], module: Some(hash), ..WasmInfo::default() };
    writer.module(hash, &module).unwrap();
    writer.object(id, &ObjectInfo::Wasm(wasm)).unwrap();
    let host = ObjectInfo::Host { path: "/usr/bin/true".into(), reached: None, build_id: None };
    writer.object(ObjectId(3), &host).unwrap();
    writer.functions(id, &image.functions).unwrap();
    writer.address_map(id, image.address_map.as_ref().unwrap()).unwrap();
    let mut described = Timeline::default();
    described.add(0x1000, 0x100, 5, None, JitCode { name: "described".into(), lines: Vec::new() });
    writer.described(&described, 0).unwrap();
    let function = image
        .functions
        .iter()
        .find(|f| f.name.as_deref().is_some_and(|name| name.contains("fifth")))
        .unwrap();
    let frame = |object, address| RawFrame { object, address };
    writer
        .frames(&[
            frame(id, u64::from(function.range.start) + 40),
            frame(ObjectId(3), 0x10),
            frame(UNKNOWN, 0x1010),
            frame(KERNEL, u64::MAX - 9),
        ])
        .unwrap();
    writer
        .stacks(&[
            Stack { frames: vec![3, 0, 1], end: End::Root },
            Stack { frames: vec![2, 1], end: End::NoCode },
        ])
        .unwrap();
    let sample = |time, stack| SampleRow { time, tid: 9, stack, weight: 1_000_000 };
    writer.samples(&[sample(10, 0), sample(11, 1), sample(9, 1)]).unwrap();
    writer.thread(9, "[ET_NET 0]").unwrap();
    writer.names([(1, "main"), (3, "schedule")].into_iter()).unwrap();
    writer.summary(&Summary { samples: 3, ..Summary::default() }).unwrap();
    drop(writer);
    std::fs::write(corpus("recording").join("small.wasmprof"), out).unwrap();
}
