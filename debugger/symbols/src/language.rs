//! Owns the languages that are told apart, and by what.

/// A source language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// rustc.
    Rust,
    /// C by clang.
    C,
    /// C++ by clang.
    Cpp,
    /// Zig.
    Zig,
    /// Go by TinyGo.
    TinyGo,
    /// Go by its own compiler.
    Go,
    /// AssemblyScript.
    AssemblyScript,
    /// Anything else, or unknown.
    Other,
}

impl Language {
    /// Asks the producer first: Zig and TinyGo claim C99 in DW_AT_language.
    pub(crate) fn detect(producer: &str, claimed: Option<gimli::DwLang>) -> Language {
        let producer = producer.to_ascii_lowercase();
        let told = [
            ("tinygo", Language::TinyGo),
            ("rustc", Language::Rust),
            ("zig", Language::Zig),
            ("assemblyscript", Language::AssemblyScript),
        ];
        if let Some((_, language)) = told.iter().find(|(mark, _)| producer.contains(mark)) {
            return *language;
        }
        match claimed {
            Some(gimli::DW_LANG_Rust) => Language::Rust,
            Some(
                gimli::DW_LANG_C
                | gimli::DW_LANG_C89
                | gimli::DW_LANG_C99
                | gimli::DW_LANG_C11
                | gimli::DW_LANG_C17,
            ) => Language::C,
            Some(
                gimli::DW_LANG_C_plus_plus
                | gimli::DW_LANG_C_plus_plus_03
                | gimli::DW_LANG_C_plus_plus_11
                | gimli::DW_LANG_C_plus_plus_14
                | gimli::DW_LANG_C_plus_plus_17
                | gimli::DW_LANG_C_plus_plus_20,
            ) => Language::Cpp,
            Some(gimli::DW_LANG_Zig) => Language::Zig,
            _ => Language::Other,
        }
    }
}
