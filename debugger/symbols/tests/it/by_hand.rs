//! Debug info that no fixture has: a function without a mark at the end of its prologue, ranges that touch, constants
//! of every sign.

use wasmdbg_symbols::{Location, Machine, ModulePc, Symbols, TypeKind, Unreadable, WasmValue};

/// One function; each instruction has one byte, and the first is one byte behind the body's start.
const MODULE: &str = r#"(module (func (export "f") nop nop nop nop nop))"#;

/// DWARF 4. Number, tag, whether it has children, attributes with their forms.
type Abbreviation = (u8, u8, bool, &'static [(u8, u8)]);

const UNIT: u8 = 1;
const FUNCTION: u8 = 2;
const LOCATED: u8 = 3;
const SIGNED: u8 = 4;
const UNSIGNED: u8 = 5;
const BYTE: u8 = 6;
const NUMBER: u8 = 7;
const ENUM: u8 = 8;
const ENUMERATOR: u8 = 9;
const ABBREVIATIONS: [Abbreviation; 9] = [
    // Name, language, low_pc, high_pc, stmt_list.
    (UNIT, 0x11, true, &[(0x03, 0x08), (0x13, 0x0b), (0x11, 0x01), (0x12, 0x06), (0x10, 0x17)]),
    (FUNCTION, 0x2e, true, &[(0x03, 0x08), (0x11, 0x01), (0x12, 0x06)]),
    // Name, and a location list or a constant in one of three forms.
    (LOCATED, 0x34, false, &[(0x03, 0x08), (0x02, 0x17)]),
    (SIGNED, 0x34, false, &[(0x03, 0x08), (0x1c, 0x0d)]),
    (UNSIGNED, 0x34, false, &[(0x03, 0x08), (0x1c, 0x0f)]),
    (BYTE, 0x34, false, &[(0x03, 0x08), (0x1c, 0x0b)]),
    // Name, size, encoding.
    (NUMBER, 0x24, false, &[(0x03, 0x08), (0x0b, 0x0b), (0x3e, 0x0b)]),
    // Name, size, type; name, value.
    (ENUM, 0x04, true, &[(0x03, 0x08), (0x0b, 0x0b), (0x49, 0x13)]),
    (ENUMERATOR, 0x28, false, &[(0x03, 0x08), (0x1c, 0x0b)]),
];

/// Of the unit's header: length, version, where its abbreviations are, size of addresses.
const HEADER: usize = 11;

fn section(name: &str, content: &[u8]) -> Vec<u8> {
    let size = |length: usize| [(length & 0x7f) as u8 | 0x80, (length >> 7) as u8];
    let body = [&[name.len() as u8], name.as_bytes(), content].concat();
    [&[0][..], &size(body.len()), &body].concat()
}

/// `text` with its length in front.
fn sized(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes()[..], text].concat()
}

/// A line program: rows at these offsets from `start`, each on a line of its own, the first on line 10. `marked`: the
/// row with this index ends the prologue.
fn lines(start: u32, length: u32, rows: &[u8], marked: Option<usize>) -> Vec<u8> {
    let mut program = [&[0, 5, 2][..], &start.to_le_bytes(), &[0x03, 9]].concat();
    let mut at = 0;
    for (index, row) in rows.iter().enumerate() {
        program.extend([0x02, row - at]);
        program.extend((marked == Some(index)).then_some(0x0a));
        // A row; the next one is on the next line.
        program.extend([0x01, 0x03, 1]);
        at = *row;
    }
    program.extend([0x02, length as u8 - at, 0, 1, 1]);
    let tables =
        [&[1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0][..], b"f.c\0\0\0\0\0"].concat();
    sized(&[&[4, 0][..], &sized(&tables), &program].concat())
}

/// The module with rows at these offsets from its first instruction, and the pc of that one.
fn module(rows: &[u8], marked: Option<usize>) -> (Symbols, ModulePc) {
    let mut wasm = wat::parse_str(MODULE).unwrap();
    let body = Symbols::new(wasm.clone().into()).unwrap().module().function(0).unwrap().body;
    let first = body.start + 1;
    let code = wasm.iter().rposition(|byte| *byte == 10).unwrap() as u32 + 2;
    let (start, length) = (first.0 - code, body.end.0 - first.0);
    let range = [start.to_le_bytes(), length.to_le_bytes()].concat();
    let entry = |number: u8, name: &str, rest: &[u8]| [&[number][..], name.as_bytes(), &[0], rest].concat();
    let mut entries = [
        // C.
        entry(UNIT, "f.c", &[&[0x0c][..], &range, &[0; 4]].concat()),
        entry(FUNCTION, "f", &range),
        entry(LOCATED, "located", &[0; 4]),
        entry(SIGNED, "signed", &[0x7b]),
        entry(UNSIGNED, "unsigned", &[0xac, 0x02]),
        entry(BYTE, "byte", &[0xfb]),
        vec![0],
    ]
    .concat();
    for (number, encoding, name) in [("char", 6, "with a sign"), ("byte", 8, "without")] {
        let at = (HEADER + entries.len()) as u32;
        entries.extend(entry(NUMBER, number, &[1, encoding]));
        entries.extend(entry(ENUM, name, &[&[1][..], &at.to_le_bytes()].concat()));
        entries.extend(entry(ENUMERATOR, "most", &[0x7f]));
        entries.extend(entry(ENUMERATOR, "all", &[0xff]));
        entries.push(0);
    }
    entries.push(0);
    let info = sized(&[&[4, 0, 0, 0, 0, 0, 4][..], &entries].concat());
    let mut abbreviations = Vec::new();
    for (number, tag, children, attributes) in ABBREVIATIONS {
        abbreviations.extend([number, tag, u8::from(children)]);
        abbreviations.extend(attributes.iter().flat_map(|(name, form)| [*name, *form]));
        abbreviations.extend([0, 0]);
    }
    abbreviations.push(0);
    // From the unit's start: two ranges that touch; 7 and then 8, as values.
    let one = |from: u32, to: u32, value: u8| {
        [&from.to_le_bytes()[..], &to.to_le_bytes(), &[2, 0, 0x30 + value, 0x9f]].concat()
    };
    let locations = [one(0, 2, 7), one(2, 4, 8), vec![0; 8]].concat();
    let lines = lines(start, length, rows, marked);
    for (name, content) in [
        (".debug_abbrev", &abbreviations),
        (".debug_info", &info),
        (".debug_line", &lines),
        (".debug_loc", &locations),
    ] {
        wasm.extend(section(name, content));
    }
    (Symbols::new(wasm.into()).unwrap(), first)
}

/// Has nothing.
struct Empty;

impl Machine for Empty {
    fn local(&self, _: u32) -> Result<WasmValue, Unreadable> {
        unreachable!("no location needs one")
    }
    fn operand(&self, _: u32) -> Result<WasmValue, Unreadable> {
        unreachable!("no location needs one")
    }
    fn global(&self, _: u32) -> Result<WasmValue, Unreadable> {
        unreachable!("no location needs one")
    }
    fn stack_pointer(&self) -> Result<u32, Unreadable> {
        unreachable!("no location needs one")
    }
    fn memory(&self, _: u64, _: usize) -> Result<Vec<u8>, Unreadable> {
        unreachable!("no location needs any")
    }
}

/// Where a variable is at a pc.
fn location(symbols: &Symbols, name: &str, pc: ModulePc) -> Location {
    let instance = symbols.frames(pc).remove(0).instance.expect("debug info");
    let variables = symbols.variables(instance, pc).unwrap();
    let variable = variables.iter().find(|variable| &*variable.name == name).expect("the variable");
    symbols.locate(variable, pc, &Empty)
}

#[test]
fn without_a_mark_the_prologue_ends_at_the_second_row() {
    for (rows, marked, end) in [
        (&[0, 2, 3][..], None, 2),
        (&[0, 2, 3], Some(2), 3),
        (&[0, 2, 3], Some(0), 0),
        // There is no other place.
        (&[0], None, 0),
    ] {
        let (symbols, first) = module(rows, marked);
        assert_eq!(symbols.after_prologue(0), Some(first + end), "{rows:?}, mark {marked:?}");
    }
}

#[test]
fn a_range_of_a_location_list_ends_in_front_of_its_end() {
    let (symbols, first) = module(&[0], None);
    for (offset, value) in [(0, Some(7)), (1, Some(7)), (2, Some(8)), (3, Some(8)), (4, None)] {
        let found = match location(&symbols, "located", first + offset) {
            Location::Value(bytes) => Some(bytes[0]),
            Location::OptimizedOut => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(found, value, "at {offset}");
    }
}

/// The type says how many of the bytes count.
#[test]
fn a_constant_is_what_its_form_says() {
    let (symbols, first) = module(&[0], None);
    for (name, value) in [("signed", -5), ("unsigned", 300), ("byte", -5)] {
        match location(&symbols, name, first) {
            Location::Value(bytes) => {
                assert_eq!(bytes, i128::from(value).to_le_bytes(), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn enumerators_are_as_wide_as_their_type() {
    let (symbols, _) = module(&[0], None);
    for (name, all) in [("with a sign", -1), ("without", 255)] {
        let ty = symbols.find_type(name, None).expect("the type");
        let TypeKind::Enum { values, .. } = &symbols.type_of(ty).unwrap().kind else { panic!("{name}") };
        let values: Vec<_> = values.iter().map(|one| (&*one.name, one.value)).collect();
        assert_eq!(values, [("most", 127), ("all", all)], "{name}");
    }
}
