//! The type graph: shapes, names, lookup by name, cycles.

use wasmdbg_symbols::{Language, PointerKind, RecordKind, Symbols, Type, TypeKind};

use crate::recording::symbols;

fn named(symbols: &Symbols, name: &str) -> std::sync::Arc<Type> {
    let id = symbols.find_type(name, None).unwrap_or_else(|| panic!("no type {name}"));
    symbols.type_of(id).unwrap()
}

#[test]
fn classes_have_their_bases_at_their_offsets() {
    for name in ["cpp.O0.v4.wasm", "cpp.O2.v5.wasm"] {
        let symbols = symbols(name);
        let shape = named(&symbols, "shapes::Box");
        assert_eq!((&*shape.name, &*shape.short, shape.size), ("shapes::Box", "Box", Some(24)));
        let TypeKind::Record { kind, members, bases, .. } = &shape.kind else { panic!("{shape:?}") };
        assert_eq!(*kind, RecordKind::Class);
        let bases: Vec<_> = bases
            .iter()
            .map(|base| (symbols.type_of(base.ty.unwrap()).unwrap().short.to_string(), base.offset))
            .collect();
        assert_eq!(bases, [("Named".to_owned(), 0), ("Sized".to_owned(), 8)], "{name}");
        let width = members.iter().find(|m| m.name.as_deref() == Some("width")).unwrap();
        assert_eq!((width.offset, width.is_static), (16, false), "{name}");
        let count = members.iter().find(|m| m.name.as_deref() == Some("count")).unwrap();
        assert!(count.is_static, "{name}");
    }
}

#[test]
fn a_virtual_base_has_no_offset_and_is_left_out() {
    let symbols = symbols("cpp.O0.v5.wasm");
    let TypeKind::Record { bases, members, .. } = &named(&symbols, "Diamond").kind else { panic!() };
    assert!(bases.is_empty(), "{bases:?}");
    assert!(members.iter().any(|m| m.name.as_deref() == Some("own") && m.offset == 4));
}

#[test]
fn templates_and_generics_have_their_arguments() {
    let cpp = symbols("cpp.O0.v5.wasm");
    let pair = named(&cpp, "Pair<double>");
    assert_eq!(&*pair.name, "shapes::Pair<double>");
    let TypeKind::Record { arguments, .. } = &pair.kind else { panic!("{pair:?}") };
    assert_eq!(arguments.len(), 1);
    assert_eq!((&*arguments[0].0, &*cpp.type_of(arguments[0].1).unwrap().name), ("T", "double"));
    let rust = symbols("rust.O0.v4.wasm");
    assert_eq!(&*named(&rust, "Wrapper<u64>").name, "values::Wrapper<u64>");
    assert_eq!(&*named(&rust, "Option<u32>").name, "core::option::Option<u32>");
    assert!(rust.find_type("Wrapper<u8>", None).is_none());
    assert_eq!(named(&rust, "Point").language, Language::Rust);
}

#[test]
fn rust_enums_have_variants_with_and_without_a_niche() {
    for name in ["rust.O0.v4.wasm", "rust.O0.v5.wasm"] {
        let symbols = symbols(name);
        let shape = |name: &str| match &named(&symbols, name).kind {
            TypeKind::Record { variants: Some(part), .. } => part.clone(),
            other => panic!("{name}: {other:?}"),
        };
        let chosen = |part: &wasmdbg_symbols::VariantPart, value| {
            part.select(value).map(|v| v.member.name.as_deref().unwrap_or("?").to_owned())
        };
        let plain = shape("Shape");
        assert_eq!(plain.variants.len(), 3);
        assert_eq!(chosen(&plain, 1).as_deref(), Some("Circle"));
        assert_eq!(chosen(&plain, 9), None);
        let niche = shape("Option<&values::Point>");
        assert_eq!(chosen(&niche, 0).as_deref(), Some("None"), "a null reference");
        assert_eq!(chosen(&niche, 1024).as_deref(), Some("Some"), "any other value");
        let TypeKind::Enum { values, .. } = &named(&symbols, "Level").kind else { panic!() };
        let values: Vec<_> = values.iter().map(|v| (&*v.name, v.value)).collect();
        assert_eq!(values, [("Low", 1), ("High", 200)]);
    }
}

#[test]
fn enumerators_have_the_sign_of_their_type() {
    let symbols = symbols("c.O0.v5.wasm");
    let TypeKind::Enum { values, .. } = &named(&symbols, "color").kind else { panic!() };
    let values: Vec<_> = values.iter().map(|v| (&*v.name, v.value)).collect();
    assert_eq!(values, [("RED", 0), ("GREEN", 5), ("BLUE", -1)]);
}

#[test]
fn a_type_that_points_to_itself_is_read_one_level_at_a_time() {
    for name in ["c.O0.v4.wasm", "c.O0.v5.wasm"] {
        let symbols = symbols(name);
        let mut ty = named(&symbols, "node");
        for _ in 0..10 {
            let resolved = symbols.resolved_type(ty.id).unwrap().unwrap();
            let TypeKind::Record { members, .. } = &resolved.kind else { panic!("{resolved:?}") };
            let next = symbols.type_of(members[1].ty.unwrap()).unwrap();
            let TypeKind::Pointer { kind: PointerKind::Pointer, target: Some(target) } = next.kind else {
                panic!("{next:?}")
            };
            assert_eq!((next.size, &*next.name), (Some(4), "node *"), "{name}");
            ty = symbols.type_of(target).unwrap();
        }
    }
}
