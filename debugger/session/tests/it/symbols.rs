//! Where a module's symbols come from, and modules that have none, broken ones, or another build's.

use std::path::{Path, PathBuf};

use wasmdbg_session::{
    BreakpointOptions, BreakpointSpec, DebugInfo, ScopeKind, SessionEvent, Step, SymbolOptions,
};

use crate::proxy::Proxy;

fn example(name: &str) -> (PathBuf, Vec<u8>) {
    let path = PathBuf::from(format!("{}/../../examples/{name}", env!("CARGO_MANIFEST_DIR")));
    let bytes = std::fs::read(&path).expect("an example");
    (path, bytes)
}

/// A module without the custom sections that `drop` names.
fn without(wasm: &[u8], drop: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut out = wasm[..8].to_vec();
    let mut at = 8;
    while at < wasm.len() {
        let (mut size, mut shift, mut body) = (0usize, 0, at + 1);
        loop {
            let byte = wasm[body];
            size |= usize::from(byte & 0x7f) << shift;
            (shift, body) = (shift + 7, body + 1);
            if byte < 0x80 {
                break;
            }
        }
        let named = wasm[at] == 0 && {
            // Names of custom sections are shorter than 128 bytes.
            let length = usize::from(wasm[body]);
            drop(std::str::from_utf8(&wasm[body + 1..body + 1 + length]).expect("a name"))
        };
        if !named {
            out.extend(&wasm[at..body + size]);
        }
        at = body + size;
    }
    out
}

fn stripped(wasm: &[u8]) -> Vec<u8> {
    without(wasm, |name| name.starts_with(".debug"))
}

fn options(files: &[&PathBuf]) -> SymbolOptions {
    SymbolOptions { files: files.iter().map(|file| (*file).clone()).collect(), ..SymbolOptions::default() }
}

/// A file in a folder of its own that goes with it.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let folder = std::env::temp_dir().join(format!("wasmdbg-symbols-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("module.wasm"), bytes).expect("a file");
        Self(folder.join("module.wasm"))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().expect("a folder"));
    }
}

#[test]
fn the_file_the_proxy_read_serves_when_it_still_is_what_runs() {
    let (path, wasm) = example("cpp-headers/cpp-headers.debug.wasm");
    let mut proxy = Proxy::new(&wasm, path.to_str().expect("text"), &[]);
    let session = proxy.attach(SymbolOptions::default());
    let module = &session.modules()[0];
    assert_eq!((&module.symbols_from, &module.debug_info), (&Some(path), &DebugInfo::Full));
    assert!(module.notes.is_empty(), "{:?}", module.notes);
}

#[test]
fn a_module_that_was_built_again_is_read_over_the_socket() {
    let (_, wasm) = example("cpp-headers/cpp-headers.debug.wasm");
    let (_, rebuilt) = example("cpp-headers/cpp-headers.release.wasm");
    let file = Temporary::new("rebuilt", &rebuilt);
    let mut proxy = Proxy::new(&wasm, file.0.to_str().expect("text"), &[]);
    let mut session = proxy.attach(SymbolOptions::default());
    let module = session.modules().remove(0);
    assert_eq!((module.symbols_from, module.debug_info), (None, DebugInfo::Full));
    assert!(module.notes[0].contains("built again since the proxy loaded it"), "{:?}", module.notes);
    let spec = BreakpointSpec::Function("measure".into());
    assert!(!session.set_breakpoint(spec, &BreakpointOptions::default()).expect("a breakpoint").is_pending());
}

/// A file that has a size and no blocks: more than any machine can hold.
fn huge(path: &Path) {
    std::fs::File::create(path).and_then(|file| file.set_len(1 << 40)).expect("a file");
}

#[test]
fn a_file_at_the_modules_path_is_read_no_further_than_the_module_goes() {
    let (_, wasm) = example("cpp-headers/cpp-headers.debug.wasm");
    let file = Temporary::new("path", &[]);
    huge(&file.0);
    let mut proxy = Proxy::new(&wasm, file.0.to_str().expect("text"), &[]);
    let module = proxy.attach(SymbolOptions::default()).modules().remove(0);
    assert_eq!((module.symbols_from, module.debug_info), (None, DebugInfo::Full));
    assert!(module.notes[0].contains("built again since the proxy loaded it"), "{:?}", module.notes);
    let mut proxy = Proxy::new(&wasm, "/dev/zero", &[]);
    let module = proxy.attach(SymbolOptions::default()).modules().remove(0);
    assert_eq!((module.symbols_from, module.debug_info), (None, DebugInfo::Full));
}

#[test]
fn files_that_a_module_names_have_a_limit() {
    let (_, wasm) = example("cpp-headers/cpp-headers.debug.wasm");
    for (section, words) in [("external_debug_info", "debug file"), ("sourceMappingURL", "source map")] {
        for (target, why) in [("huge", "larger than the "), ("/dev/zero", "it is not a file")] {
            let mut naming = stripped(&wasm);
            let body = [&[section.len() as u8], section.as_bytes(), &[target.len() as u8], target.as_bytes()];
            let body = body.concat();
            naming.extend([0, body.len() as u8]);
            naming.extend(body);
            let file = Temporary::new(section, &naming);
            huge(&file.0.with_file_name("huge"));
            let mut proxy = Proxy::new(&naming, file.0.to_str().expect("text"), &[]);
            let notes = proxy.attach(SymbolOptions::default()).modules().remove(0).notes;
            let said = |note: &&String| note.contains(words) && note.contains(target) && note.contains(why);
            assert!(notes.iter().any(|note| said(&note)), "{section} {target}: {notes:?}");
        }
    }
}

#[test]
fn an_unstripped_twin_serves_a_stripped_module() {
    let (twin, wasm) = example("cpp-headers/cpp-headers.debug.wasm");
    let mut proxy = Proxy::new(&stripped(&wasm), "/nowhere/module.wasm", &[(":path", "/")]);
    let mut session = proxy.attach(options(&[&twin]));
    let module = session.modules().remove(0);
    assert_eq!((module.symbols_from, module.debug_info), (Some(twin), DebugInfo::Full));
    let spec = BreakpointSpec::Line { file: "filter.cc".into(), line: 140, column: None };
    assert!(!session.set_breakpoint(spec, &BreakpointOptions::default()).expect("a breakpoint").is_pending());
}

#[test]
fn a_file_of_another_build_is_not_used_and_said_so() {
    let (_, wasm) = example("cpp-headers/cpp-headers.debug.wasm");
    let (other, _) = example("cpp-headers/cpp-headers.release.wasm");
    let (foreign, _) = example("rust-token/rust-token.debug.wasm");
    let mut proxy = Proxy::new(&stripped(&wasm), "/nowhere/module.wasm", &[]);
    let mut session = proxy.attach(options(&[&other, &foreign]));
    let module = session.modules().remove(0);
    assert!(matches!(module.debug_info, DebugInfo::NamesOnly(_)));
    let about_builds = module.notes.iter().filter(|note| note.contains("another build")).count();
    assert_eq!(about_builds, 2, "{:?}", module.notes);
    let spec = BreakpointSpec::Line { file: "filter.cc".into(), line: 140, column: None };
    let breakpoint = session.set_breakpoint(spec, &BreakpointOptions::default()).expect("pending");
    assert!(
        breakpoint.is_pending() && breakpoint.notes[0].contains("compile with -g"),
        "{:?}",
        breakpoint.notes
    );
    assert!(session.add_symbol_file(&foreign).expect_err("foreign").to_string().contains("another build"));
    let (right, _) = example("cpp-headers/cpp-headers.debug.wasm");
    session.add_symbol_file(&right).expect("the right one");
    assert!(!session.breakpoints()[0].is_pending(), "bound now");
}

#[test]
fn without_debug_info_names_and_pcs_still_work() {
    let (_, wasm) = example("cpp-headers/cpp-headers.debug.wasm");
    let mut proxy = Proxy::new(&stripped(&wasm), "/nowhere/module.wasm", &[(":path", "/")]);
    let mut session = proxy.attach(SymbolOptions::default());
    let DebugInfo::NamesOnly(why) = session.modules().remove(0).debug_info else { panic!("no debug info") };
    assert!(why.contains("-g") && why.contains("debug = true"), "{why}");
    let spec = BreakpointSpec::Function("measure".into());
    let breakpoint = session.set_breakpoint(spec, &BreakpointOptions::default()).expect("a breakpoint");
    assert!(!breakpoint.is_pending(), "{:?}", breakpoint.notes);
    let _contexts =
        [proxy.call("proxy_on_context_create", &[1, 0]), proxy.call("proxy_on_context_create", &[2, 1])];
    let _done = proxy.call("proxy_on_request_headers", &[2, 1, 1]);
    let mut stops = Vec::new();
    let mut next = |session: &mut wasmdbg_session::Session| loop {
        match session.next_event(std::time::Duration::from_secs(20)).expect("an event") {
            SessionEvent::Stopped(stop) => {
                stops.push(stop.id());
                return stop;
            }
            SessionEvent::CallbackEnded { ended, .. } => {
                assert_eq!(ended.callback, "proxy_on_context_create")
            }
            other => panic!("{other:?}"),
        }
    };
    let stop = next(&mut session);
    let frames = stop.frames(0, 2).expect("frames");
    assert!(frames[0].function.contains("measure"), "{frames:?}");
    assert_eq!(frames[1].function, "proxy_on_request_headers");
    assert_eq!(frames[0].position, None);
    let locals = stop.variables(0, ScopeKind::WasmLocals).expect("locals");
    assert!(!locals.is_empty() && locals[0].name.starts_with("local0"), "{locals:?}");
    let error = stop.evaluate(0, "request").expect_err("no names").to_string();
    assert!(error.contains("has no debug info"), "{error}");
    // A step by line has no lines: it leaves the function.
    session.resume(stop.id(), Step::Over).expect("to step");
    let stop = next(&mut session);
    assert_eq!(stop.frame(0).expect("a frame").function, "proxy_on_request_headers");
}

#[test]
fn corrupt_debug_info_is_said_and_names_still_work() {
    let (_, wasm) = example("cpp-headers/cpp-headers.debug.wasm");
    let mut corrupt = wasm.clone();
    let name = corrupt.windows(11).position(|window| window == b".debug_info").expect("the section");
    // Behind the first unit's header: an abbreviation that is not there.
    for byte in &mut corrupt[name + 11 + 12..name + 11 + 400] {
        *byte = 0xff;
    }
    let mut proxy = Proxy::new(&corrupt, "/nowhere/module.wasm", &[]);
    let mut session = proxy.attach(SymbolOptions::default());
    let spec = BreakpointSpec::Line { file: "filter.cc".into(), line: 140, column: None };
    let breakpoint = session.set_breakpoint(spec, &BreakpointOptions::default()).expect("no failure");
    let module = session.modules().remove(0);
    let said = format!("{:?} {:?} {:?}", module.debug_info, module.notes, breakpoint.notes);
    assert!(said.contains("corrupt") || said.contains("bad debug info"), "{said}");
    let spec = BreakpointSpec::Function("proxy_on_request_headers".into());
    let breakpoint = session.set_breakpoint(spec, &BreakpointOptions::default()).expect("a breakpoint");
    assert!(!breakpoint.is_pending(), "{:?}", breakpoint.notes);
}
