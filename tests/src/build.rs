//! Building filters during a test, with the recipe of the example's README.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::scratch::Scratch;

/// Whether Debian's C++ compiler for Wasm is installed.
///
/// With `CI=true` in the environment a missing one is an error: a skipped test is a failure there.
///
/// # Errors
/// In CI when it is missing.
pub fn has_cpp() -> Result<bool> {
    let there = Command::new("clang++-19").arg("--version").output().is_ok()
        && Path::new("/usr/lib/wasm32-wasi/libc++.a").exists();
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    ensure!(there || !ci, "no C++ compiler for Wasm: `tests/setup/install.sh test` installs it");
    Ok(there)
}

/// Compiles one C++ file into a filter; `level` is `-O0` or `-O2`.
///
/// # Errors
/// With the compiler's messages.
pub fn cpp(source: &Path, module: &Path, level: &str, further: &[&str]) -> Result<()> {
    let output = Command::new("clang++-19")
        .args(["--target=wasm32-wasi", "-std=c++17", "-fno-exceptions", "-fno-rtti", "-mexec-model=reactor"])
        .args(["-g", level, "-Wl,--export=malloc"])
        .args(further)
        .arg(source)
        .arg("-o")
        .arg(module)
        .output()
        .context("cannot run clang++-19: `tests/setup/install.sh test` installs it")?;
    ensure!(output.status.success(), "clang++-19: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Builds the C++ example together with thousands of generated functions: more than 2 MB of code, as
/// large filters have.
///
/// # Errors
/// With the compiler's messages.
pub fn large(scratch: &Scratch) -> Result<PathBuf> {
    const FUNCTIONS: usize = 3600;
    let mut source = String::new();
    for index in 0..FUNCTIONS {
        let (modulus, factor) = (index % 13 + 2, index * 31 + 1);
        source.push_str(&format!(
            "static unsigned f{index}(unsigned a, unsigned b) {{\n\
             \x20 unsigned t[8] = {{a, b, a ^ b, a + b, a * {index}u, b * {factor}u, a >> 3, b << 2}};\n\
             \x20 for (unsigned i = 0; i < 8; i++) {{\n\
             \x20   if (t[i] % {modulus}u == 0) t[(i + 1) % 8] += t[i] ^ {index}u;\n\
             \x20   else t[i] = t[(i + 3) % 8] * {factor}u;\n\
             \x20 }}\n\
             \x20 return t[0] + t[{index} % 8];\n}}\n"
        ));
    }
    let names: Vec<String> = (0..FUNCTIONS).map(|index| format!("f{index}")).collect();
    source.push_str(&format!(
        "static unsigned (*const table[])(unsigned, unsigned) = {{{}}};\n\
         extern \"C\" __attribute__((export_name(\"generated\"))) unsigned generated(unsigned i) {{\n\
         \x20 return table[i % {FUNCTIONS}u](i, i + 1);\n}}\n",
        names.join(", ")
    ));
    let generated = scratch.write("generated.cc", source)?;
    let filter = process::repository().join("examples/cpp-headers/src/filter.cc");
    let module = scratch.path().join("large.wasm");
    cpp(&filter, &module, "-O0", &[&generated.display().to_string()])?;
    Ok(module)
}
