//! What the names in jitdumps and perf maps say: each engine has its own way to name a function of a module.

use wasmdbg_symbols::demangle::demangle;

use super::image::{CodeKind, read_symbol};

/// What a piece of described code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DescribedKind {
    /// A function of a module, or code of an engine that is not known.
    Function,
    /// The way into and out of a module.
    Trampoline,
    /// Something else that an engine compiled: scripts, its own routines.
    Engine,
}

/// A name taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedName {
    /// What it names.
    pub kind: DescribedKind,
    /// As people know it.
    pub text: String,
}

/// V8's tags of code that belongs to no module.
const V8_TAGS: [&str; 12] = [
    "Builtin",
    "BytecodeHandler",
    "Callback",
    "Eval",
    "Function",
    "Handler",
    "JS",
    "LazyCompile",
    "NativeFunction",
    "RegExp",
    "Script",
    "Stub",
];

/// V8's compilers for modules.
const V8_TIERS: [&str; 2] = ["liftoff", "turbofan"];

impl DescribedName {
    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        let of = |kind, text: &str| Self { kind, text: text.to_owned() };
        if name == "[wasmtime]" {
            return of(DescribedKind::Trampoline, name);
        }
        if name.starts_with("wasm[") {
            let (kind, own) = read_symbol(name);
            let kind = match kind {
                CodeKind::Function(_) => DescribedKind::Function,
                CodeKind::Trampoline => DescribedKind::Trampoline,
            };
            return Self { kind, text: own.map_or_else(|| name.to_owned(), |own| demangle(&own)) };
        }
        let tagged = name.split_once(':').filter(|(tag, _)| V8_TAGS.contains(tag));
        match (v8_function(tagged.map_or(name, |(_, rest)| rest)), tagged) {
            (Some(function), _) => of(DescribedKind::Function, &demangle(function)),
            (None, Some(_)) => of(DescribedKind::Engine, name),
            (None, None) => of(DescribedKind::Function, &demangle(name)),
        }
    }
}

/// The name in `NAME-INDEX-TIER`, as V8 writes it for a function of a module.
fn v8_function(name: &str) -> Option<&str> {
    let (rest, tier) = name.rsplit_once('-')?;
    let (name, index) = rest.rsplit_once('-')?;
    let numbered = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    (V8_TIERS.contains(&tier) && numbered && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> (DescribedKind, String) {
        let parsed = DescribedName::parse(name);
        (parsed.kind, parsed.text)
    }

    #[test]
    fn functions_of_modules_by_engine() {
        let function = |text: &str| (DescribedKind::Function, text.to_owned());
        let mangled = "JS:_ZN12shares_first4half17h1fe8d53792d01d02E-0-turbofan";
        assert_eq!(parse(mangled), function("shares_first::half"));
        assert_eq!(parse("JS:a-b-12-liftoff"), function("a-b"));
        assert_eq!(parse("wasm-function[3]-3-turbofan"), function("wasm-function[3]"));
        assert_eq!(parse("wasm[0]::function[3]::half"), function("half"));
        assert_eq!(parse("wasm[0]::function[3]"), function("wasm[0]::function[3]"));
        assert_eq!(parse("aot_func#4"), function("aot_func#4"));
    }

    #[test]
    fn code_of_no_module() {
        let engine = |name: &str| assert_eq!(parse(name), (DescribedKind::Engine, name.to_owned()));
        engine("JS:*turbofan file:///a.js:1:1");
        engine("Builtin:GenericJSToWasmWrapper");
        engine("JS:a-b-turbofan");
        let trampoline = "wasm[0]::array_to_wasm_trampoline[5]";
        assert_eq!(parse(trampoline), (DescribedKind::Trampoline, trampoline.to_owned()));
        assert_eq!(parse("[wasmtime]").0, DescribedKind::Trampoline);
    }
}
