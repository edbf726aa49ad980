//! Code around a pc, and where in a file breakpoints can stand.

use wasmdbg_control::ModulePc;
use wasmdbg_session::BreakpointSpec;

use crate::bench::Bench;

#[test]
fn code_is_listed_around_a_pc_across_functions() {
    let mut bench = Bench::rust("debug", "7");
    let breakpoint = bench.set(BreakpointSpec::Function("judge".into()));
    let place = breakpoint.locations[0].clone();
    let list =
        |offset, count| bench.session.disassemble(place.module, place.pc, offset, count).expect("code");
    let here = list(0, 1)[0].clone().expect("an opcode");
    assert_eq!(here.pc, place.pc);
    assert_eq!(here.position, place.position);
    let around = list(-2000, 4000);
    assert_eq!(around.len(), 4000);
    assert_eq!(around[2000], Some(here.clone()));
    let there: Vec<_> = around.iter().flatten().collect();
    assert!(there.windows(2).all(|pair| pair[0].pc < pair[1].pc), "in order");
    let names: Vec<_> = there.iter().filter_map(|line| line.function.as_deref()).collect();
    assert!(names.len() > 3 && names.iter().any(|name| name.ends_with("judge")), "{names:?}");
    assert!(there.iter().all(|line| !line.bytes.is_empty() && !line.text.contains("not decoded")));
    // Before the first and behind the last function there is nothing, in so many rows.
    let far = list(-10_000_000, 3);
    assert_eq!(far, [None, None, None]);
    assert_eq!(
        bench.session.disassemble(place.module, ModulePc(u32::MAX), 0, 2).expect("rows"),
        [None, None]
    );
}

#[test]
fn a_local_file_is_found_in_the_debug_info_and_another_one_of_its_name_is_not() {
    let bench = Bench::rust("debug", "7");
    let examples = std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"));
    let own = bench.session.debug_file(&examples.join("rust-token/src/lib.rs")).expect("its source");
    assert!(own.ends_with("rust-token/src/lib.rs"), "{own}");
    let other = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let error = bench.session.debug_file(&other).expect_err("another crate's").to_string();
    assert!(error.contains("was built from"), "{error}");
    assert!(bench.session.debug_file(&examples.join("absent.rs")).is_err());
}

#[test]
fn lines_with_code_are_told() {
    let bench = Bench::rust("debug", "7");
    let line = bench.line("let prime = is_prime(token);");
    let found = bench.session.break_locations("lib.rs", line - 1, line + 1).expect("places");
    assert!(found.iter().any(|(at, column)| *at == line && *column > 0), "{found:?}");
    assert!(found.iter().all(|(at, _)| (line - 1..=line + 1).contains(at)));
    assert!(bench.session.break_locations("absent.rs", 1, 2).is_err());
    assert!(bench.session.source_files().iter().any(|file| file.ends_with("src/lib.rs")));
}
