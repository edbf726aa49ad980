//! What the built library looks like from outside.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use wasmdbg_tests::process::product;

fn output_of(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| {
        format!("cannot run {program}: `tests/setup/install.sh test` installs it (binutils)")
    })?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn plugin() -> Result<String> {
    Ok(product("libwasmdbg_ats.so")?.display().to_string())
}

#[test]
fn the_plugin_needs_no_function_of_the_server_at_link_time() -> Result<()> {
    let undefined = output_of("nm", &["-D", "--undefined-only", &plugin()?])?;
    let names: Vec<&str> = undefined.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert!(names.len() > 10, "nm shows the libc symbols at least: {undefined}");
    let server = |name: &&&str| name.starts_with("TS") || name.starts_with("_Z");
    assert_eq!(names.iter().filter(server).collect::<Vec<_>>(), Vec::<&&str>::new());
    Ok(())
}

#[test]
fn the_plugin_stays_loaded_and_exports_what_the_server_calls() -> Result<()> {
    let dynamic = output_of("readelf", &["-d", &plugin()?])?;
    assert!(dynamic.lines().any(|line| line.contains("FLAGS_1") && line.contains("NODELETE")), "{dynamic}");
    let exported = output_of("nm", &["-D", "--defined-only", &plugin()?])?;
    assert!(exported.lines().any(|line| line.ends_with(" T TSPluginInit")), "{exported}");
    Ok(())
}

#[test]
fn native_debuggers_find_the_jit_interface() -> Result<()> {
    let symbols = output_of("nm", &[&plugin()?])?;
    assert!(symbols.lines().any(|line| line.ends_with(" __jit_debug_descriptor")));
    Ok(())
}
