//! Owns the `name` and `producers` custom sections. Never fails a module: a broken section gives
//! the names that were read before the fault.

use std::collections::{BTreeMap, HashMap};

use wasmparser::{BinaryReader, Name, NameSectionReader, ProducersSectionReader};

/// What the name section says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) functions: BTreeMap<u32, String>,
    pub(crate) globals: BTreeMap<u32, String>,
    locals: HashMap<(u32, u32), String>,
}

impl Names {
    pub(crate) fn parse(data: &[u8], offset: usize) -> Names {
        let mut names = Names::default();
        for subsection in NameSectionReader::new(BinaryReader::new(data, offset)) {
            let Ok(subsection) = subsection else { break };
            names.take(subsection);
        }
        names
    }

    fn take(&mut self, subsection: Name<'_>) {
        match subsection {
            Name::Function(map) => {
                self.functions
                    .extend(map.into_iter().map_while(Result::ok).map(|n| (n.index, n.name.to_owned())));
            }
            Name::Global(map) => {
                self.globals
                    .extend(map.into_iter().map_while(Result::ok).map(|n| (n.index, n.name.to_owned())));
            }
            Name::Local(map) => {
                for function in map.into_iter().map_while(Result::ok) {
                    for local in function.names.into_iter().map_while(Result::ok) {
                        self.locals.insert((function.index, local.index), local.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }

    /// The named locals of a function, by rising index.
    pub(crate) fn locals_of(&self, function: u32) -> Vec<(u32, &str)> {
        let own = self.locals.iter().filter(|((of, _), _)| *of == function);
        let mut named: Vec<_> = own.map(|((_, local), name)| (*local, name.as_str())).collect();
        named.sort_unstable();
        named
    }

    pub(crate) fn local(&self, function: u32, local: u32) -> Option<&str> {
        self.locals.get(&(function, local)).map(String::as_str)
    }
}

/// The `producers` section as (field, name, version); `None` when it is malformed.
pub(crate) fn producers(data: &[u8], offset: usize) -> Option<Vec<(String, String, String)>> {
    let mut out = Vec::new();
    for field in ProducersSectionReader::new(BinaryReader::new(data, offset)).ok()? {
        let field = field.ok()?;
        for value in field.values {
            let value = value.ok()?;
            out.push((field.name.to_owned(), value.name.to_owned(), value.version.to_owned()));
        }
    }
    Some(out)
}
