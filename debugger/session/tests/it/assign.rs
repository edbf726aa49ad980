//! Setting variables and writing memory.

use wasmdbg_session::{ScopeKind, Step};

use crate::bench::Bench;

fn text(value: &wasmdbg_session::Value) -> String {
    value.refreshed().summary()
}

#[test]
fn a_variable_in_memory_is_set_and_the_program_goes_on_with_it() {
    let mut bench = Bench::rust("debug", "10007");
    bench.break_at("divisor += 2;");
    let _done = bench.request();
    let stop = bench.stop();
    let divisor = stop.evaluate(0, "divisor").expect("a value");
    assert_eq!(divisor.summary(), "3");
    stop.assign(0, &divisor, "number - 1").expect("to set it");
    assert_eq!(text(&divisor), "10006");
    assert_eq!(stop.evaluate(0, "divisor").expect("a value").summary(), "10006");
    let next = bench.step(&stop, Step::Over);
    assert_eq!(bench.at(&next, 0), "smallest_divisor: while divisor <= number / divisor {");
    assert_eq!(next.evaluate(0, "divisor").expect("a value").summary(), "10008");
}

#[test]
fn what_cannot_be_set_says_why() {
    let mut bench = Bench::rust("debug", "10007");
    bench.break_at("divisor += 2;");
    let _done = bench.request();
    let stop = bench.stop();
    let value = |expression| stop.evaluate(0, expression).expect("a value");
    for (variable, new, part) in [
        ("divisor", "-1", "does not fit 64 unsigned bits"),
        ("divisor", "\"text\"", "is no integer"),
        ("divisor", "1 +", "the new value: "),
        ("divisor + 1", "1", "only variables in linear memory"),
    ] {
        let error = stop.assign(0, &value(variable), new).expect_err(part).to_string();
        assert!(error.contains(part), "{variable} = {new}: {error}");
    }
    assert_eq!(stop.evaluate(0, "divisor").expect("a value").summary(), "3", "nothing was written");
    assert!(stop.write_memory(u64::from(u32::MAX), vec![1]).is_err());
}

#[test]
fn a_wasm_local_cannot_be_set_and_a_global_can() {
    let mut bench = Bench::rust("release", "10007");
    bench.break_at("divisor += 2;");
    let _done = bench.request();
    let stop = bench.stop();
    let locals = stop.variables(0, ScopeKind::WasmLocals).expect("locals");
    let error = stop.assign(0, &locals[0].value, "1").expect_err("a local").to_string();
    assert!(error.contains("engine cannot write"), "{error}");
    let global =
        |index: usize| stop.variables(0, ScopeKind::WasmGlobals).expect("globals")[index].value.summary();
    let before = global(0);
    stop.assign_global(0, 0, "4096").expect("to set it");
    assert_eq!(global(0), "4096");
    stop.assign_global(0, 0, &before).expect("to set it back");
    let error = stop.assign_global(0, 99, "1").expect_err("no such global").to_string();
    assert!(error.contains("there is no global 99"), "{error}");
}
