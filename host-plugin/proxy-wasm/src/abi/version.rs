//! Which version of the ABI a module was built for: an export says so, and a few things follow from it.

use wasmtime::Module;

/// The versions that are served. They differ in a type of two callbacks, and in what a field that is absent reads as;
/// what a module imports is linked by its own types, whatever its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AbiVersion {
    /// Header callbacks without `end_of_stream` too; an absent field is an empty one.
    V0_1_0,
    /// `proxy_abi_version_0_2_0`
    V0_2_0,
    /// `proxy_abi_version_0_2_1`
    V0_2_1,
}

const EXPORTS: [(&str, AbiVersion); 3] = [
    ("proxy_abi_version_0_1_0", AbiVersion::V0_1_0),
    ("proxy_abi_version_0_2_0", AbiVersion::V0_2_0),
    ("proxy_abi_version_0_2_1", AbiVersion::V0_2_1),
];

impl AbiVersion {
    /// The newest that the module says it speaks.
    ///
    /// # Errors
    /// It says none of them: why it cannot run.
    pub(crate) fn of(module: &Module) -> Result<Self, String> {
        let mut spoken = EXPORTS.iter().filter(|(name, _)| module.get_export(name).is_some());
        if let Some((_, version)) = spoken.next_back() {
            return Ok(*version);
        }
        let mut names = module.exports().map(|export| export.name());
        Err(match names.find(|name| name.starts_with("proxy_abi_version_")) {
            Some(name) => format!(
                "the module is built for another version of Proxy-Wasm ({name}): 0.1.0, 0.2.0 and 0.2.1 are supported"
            ),
            None => String::from(
                "the module exports no proxy_abi_version_0_2_1, nor that of 0.2.0 or 0.1.0: it is no Proxy-Wasm filter",
            ),
        })
    }
}
