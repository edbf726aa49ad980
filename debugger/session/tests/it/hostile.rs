//! Debug info that leads to itself, and a guest whose memory does: values end, and names too.

use std::sync::Arc;
use std::time::Duration;

use wasmdbg_session::{
    BreakpointOptions, BreakpointSpec, Format, Session, SessionEvent, Stop, SymbolOptions,
};
use wasmparser::{Parser, Payload};

use crate::proxy::Proxy;

/// At 1024 stands 1024: a pointer to itself.
const MODULE: &str = r#"(module
    (memory 1)
    (data (i32.const 1024) "\00\04\00\00")
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) i32.const 0))"#;

/// Of DWARF 4: number, tag, whether it has children, attributes with their forms.
type Abbreviation = (u8, u8, bool, &'static [(u8, u8)]);

const UNIT: u8 = 1;
const FUNCTION: u8 = 2;
const VARIABLE: u8 = 3;
const REFERENCE: u8 = 4;
const RECORD: u8 = 5;
const ANONYMOUS: u8 = 6;
const FIELD: u8 = 7;
const SIGNATURE: u8 = 8;
const PARAMETER: u8 = 9;
const POINTER: u8 = 10;
const BASE: u8 = 11;
const NUMBER: u8 = 12;
const ABBREVIATIONS: [Abbreviation; 12] = [
    // Name, language, low_pc, high_pc.
    (UNIT, 0x11, true, &[(0x03, 0x08), (0x13, 0x0b), (0x11, 0x01), (0x12, 0x06)]),
    (FUNCTION, 0x2e, false, &[(0x03, 0x08), (0x11, 0x01), (0x12, 0x06)]),
    // Name, type, location.
    (VARIABLE, 0x34, false, &[(0x03, 0x08), (0x49, 0x13), (0x02, 0x18)]),
    (REFERENCE, 0x10, false, &[(0x49, 0x13)]),
    (RECORD, 0x13, true, &[(0x03, 0x08), (0x0b, 0x0b)]),
    // Type, offset.
    (ANONYMOUS, 0x0d, false, &[(0x49, 0x13), (0x38, 0x0b)]),
    (FIELD, 0x0d, false, &[(0x03, 0x08), (0x49, 0x13), (0x38, 0x0b)]),
    (SIGNATURE, 0x15, true, &[(0x49, 0x13)]),
    (PARAMETER, 0x05, false, &[(0x49, 0x13)]),
    (POINTER, 0x0f, false, &[(0x49, 0x13)]),
    (BASE, 0x1c, false, &[(0x49, 0x13), (0x38, 0x0b)]),
    // Name, size, encoding.
    (NUMBER, 0x24, false, &[(0x03, 0x08), (0x0b, 0x0b), (0x3e, 0x0b)]),
];

/// Entries of one unit.
struct Entries(Vec<u8>);

impl Entries {
    /// Of a unit's header: length, version 4, abbreviations at 0, addresses of 4 bytes.
    const HEADER: usize = 11;

    /// Where the next entry will be, for references to it.
    fn next(&self) -> u32 {
        (Self::HEADER + self.0.len()) as u32
    }

    fn add(&mut self, abbreviation: u8, name: Option<&str>, rest: &[&[u8]]) -> u32 {
        let at = self.next();
        self.0.push(abbreviation);
        if let Some(name) = name {
            self.0.extend(name.as_bytes());
            self.0.push(0);
        }
        self.0.extend(rest.concat());
        at
    }

    /// Closes what has children.
    fn end(&mut self) {
        self.0.push(0);
    }

    fn variable(&mut self, name: &str, ty: u32, address: u32) {
        let location = [&[5, 0x03][..], &address.to_le_bytes()].concat();
        self.add(VARIABLE, Some(name), &[&ty.to_le_bytes(), &location]);
    }
}

fn section(name: &str, content: &[u8]) -> Vec<u8> {
    let leb = |mut value: usize| {
        let mut out = Vec::new();
        loop {
            let byte = (value & 0x7f) as u8;
            value >>= 7;
            out.push(if value == 0 { byte } else { byte | 0x80 });
            if value == 0 {
                return out;
            }
        }
    };
    let body = [leb(name.len()), name.as_bytes().to_vec(), content.to_vec()].concat();
    [vec![0], leb(body.len()), body].concat()
}

/// The module with types that lead to themselves.
fn module() -> Vec<u8> {
    let mut wasm = wat::parse_str(MODULE).expect("a module");
    let (mut code, mut body) = (0, 0..0);
    for payload in Parser::new(0).parse_all(&wasm) {
        match payload.expect("a module") {
            Payload::CodeSectionStart { range, .. } => code = range.start,
            Payload::CodeSectionEntry(entry) => body = entry.range(),
            _ => {}
        }
    }
    let range = [((body.start - code) as u32).to_le_bytes(), (body.len() as u32).to_le_bytes()].concat();
    let mut entries = Entries(Vec::new());
    // C++.
    entries.add(UNIT, Some("hostile.cc"), &[&[0x04], &range]);
    entries.add(FUNCTION, Some("handle"), &[&range]);
    let number = entries.add(NUMBER, Some("int"), &[&[4, 5]]);

    let reference = entries.next();
    entries.add(REFERENCE, None, &[&reference.to_le_bytes()]);
    entries.variable("itself", reference, 1024);

    let nest = entries.add(RECORD, Some("Nest"), &[&[8]]);
    for _ in 0..3 {
        entries.add(ANONYMOUS, None, &[&nest.to_le_bytes(), &[0]]);
    }
    entries.add(FIELD, Some("own"), &[&number.to_le_bytes(), &[4]]);
    entries.end();
    entries.variable("nest", nest, 2048);

    let many = entries.add(RECORD, Some("Many"), &[&[4]]);
    for _ in 0..20 {
        entries.add(BASE, None, &[&many.to_le_bytes(), &[0]]);
    }
    entries.end();
    entries.variable("many", many, 2048);

    let pointer = entries.next();
    let signature = pointer + 5;
    entries.add(POINTER, None, &[&signature.to_le_bytes()]);
    entries.add(SIGNATURE, None, &[&pointer.to_le_bytes()]);
    for _ in 0..20 {
        entries.add(PARAMETER, None, &[&pointer.to_le_bytes()]);
    }
    entries.end();
    entries.variable("callback", pointer, 1024);
    entries.end();

    let length = (entries.0.len() + Entries::HEADER - 4) as u32;
    let info = [&length.to_le_bytes()[..], &[4, 0], &[0; 4], &[4], &entries.0].concat();
    let mut abbreviations = Vec::new();
    for (number, tag, children, attributes) in ABBREVIATIONS {
        abbreviations.extend([number, tag, u8::from(children)]);
        abbreviations.extend(attributes.iter().flat_map(|(name, form)| [*name, *form]));
        abbreviations.extend([0, 0]);
    }
    abbreviations.push(0);
    wasm.extend(section(".debug_abbrev", &abbreviations));
    wasm.extend(section(".debug_info", &info));
    wasm
}

/// Stopped in the one function.
fn stopped() -> (Arc<Stop>, Session, Proxy) {
    let mut proxy = Proxy::new(&module(), "/nowhere/hostile.wasm", &[]);
    let mut session = proxy.attach(SymbolOptions::default());
    let spec = BreakpointSpec::Function("handle".into());
    let set = session.set_breakpoint(spec, &BreakpointOptions::default()).expect("a breakpoint");
    assert!(!set.is_pending(), "{:?}", set.notes);
    proxy.call("proxy_on_request_headers", &[2, 1, 1]);
    match session.next_event(Duration::from_secs(60)) {
        Some(SessionEvent::Stopped(stop)) => (stop, session, proxy),
        other => panic!("no stop: {other:?}"),
    }
}

#[test]
fn what_leads_to_itself_ends() {
    let (stop, _session, _proxy) = stopped();
    let value = |text: &str| stop.evaluate(0, text).expect(text);

    let itself = value("itself");
    for shown in [itself.summary(), itself.display(Format::Hex)] {
        assert!(shown.contains("it leads to itself"), "{shown}");
    }
    assert_eq!((itself.child_count(), itself.children(0, 10).len()), (0, 0));
    assert!(itself.as_integer().is_none());
    assert!(stop.evaluate(0, "itself + 1").is_err());
    assert!(stop.assign(0, &itself, "1").is_err());

    // Its own field once for each of the records in it that are opened.
    let nest = value("nest");
    assert!(nest.child_count() > 3, "{}", nest.child_count());
    assert!(nest.display(Format::Natural).len() <= 70 << 10);
    assert_eq!(value("nest.own").summary(), "0");

    let many = value("many");
    assert_eq!(many.child_count(), 20);
    let why = stop.evaluate(0, "many.absent").expect_err("no such field").to_string();
    assert!(why.contains("has no field `absent`"), "{why}");
    assert!(many.display(Format::Natural).len() <= 70 << 10);

    let callback = value("callback");
    assert!(callback.type_name().contains('…') && callback.type_name().len() < 10_000);
}

/// The longest expression has room on a small stack: conditions are evaluated on threads of the debugger.
#[test]
fn the_deepest_tree_is_evaluated_on_a_small_stack() {
    let (stop, _session, _proxy) = stopped();
    let evaluated = move || {
        for (text, value) in [(vec!["1"; 250].join("+"), "250"), (format!("nest{}", ".own".repeat(400)), "")]
        {
            let found = stop.evaluate(0, &text);
            if !value.is_empty() {
                assert_eq!(found.expect("a value").summary(), value);
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(evaluated).expect("a thread");
    thread.join().expect("the stack is enough");
}
