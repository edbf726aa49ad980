//! Source files and modules for the client: which of them it can open itself, and what it must ask for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use wasmdbg_control::{ModuleHash, files};
use wasmdbg_session::{DebugInfo, MOST_SOURCE, Session, is_library};

use crate::adapter::{Adapter, Answer, Phase};
use crate::protocol::{
    Body, LoadedSourcesBody, Module, ModulesArguments, ModulesBody, PathFormat, Source, SourceArguments,
    SourceBody, given,
};
use crate::serve::Reach;
use crate::transport::client::Peer;
use crate::view::source_folders::SourceFolders;

/// What is known of the debug info's files.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    found: HashMap<String, Option<PathBuf>>,
    /// Files that are not on this machine, by their reference (from 1).
    absent: Vec<String>,
}

impl Sources {
    /// A file of the debug info.
    pub(crate) fn source(&mut self, session: &Session, peer: &Peer, file: &str) -> Source {
        let found =
            self.found.entry(file.to_owned()).or_insert_with(|| session.sources().find(file).ok()).clone();
        let name = Some(file.rsplit('/').next().unwrap_or(file).to_owned());
        let presentation_hint = is_library(file).then(|| "deemphasize".to_owned());
        match found {
            Some(path) => {
                let path = std::path::absolute(&path).unwrap_or(path);
                let path = Some(outgoing(&path, peer.features.path_format));
                Source { name, path, presentation_hint, ..Source::default() }
            }
            None => Source {
                name,
                path: Some(file.to_owned()),
                source_reference: Some(self.reference(file)),
                presentation_hint,
                origin: Some("not on this machine".into()),
            },
        }
    }

    fn reference(&mut self, file: &str) -> i64 {
        let known = self.absent.iter().position(|absent| absent == file);
        let at = known.unwrap_or_else(|| {
            self.absent.push(file.to_owned());
            self.absent.len() - 1
        });
        at as i64 + 1
    }
}

impl Adapter {
    /// The text of a file that the client cannot open, or why there is none.
    pub(crate) fn source(&mut self, arguments: &SourceArguments) -> Answer {
        let reference = arguments.source.source_reference.filter(|reference| *reference > 0);
        let reference = reference.unwrap_or(arguments.source_reference);
        let absent = usize::try_from(reference - 1).ok().and_then(|at| self.sources.absent.get(at)).cloned();
        if reference > 0 && absent.is_none() {
            return Err(format!("there is no source {reference}"));
        }
        let session = self.session()?;
        let path = match (absent, &arguments.source.path) {
            (Some(file), _) => match (session.sources().find(&file), session.sources().text(&file)) {
                (Ok(path), _) => path,
                (Err(_), Some(text)) => {
                    return Ok(Some(Body::from(SourceBody { content: text.to_string() })));
                }
                (Err(error), None) => {
                    return Err(format!(
                        "{error}: \"sourceMap\" in launch.json says where the sources of a build lie"
                    ));
                }
            },
            (None, Some(path)) => {
                let local = incoming(path);
                // Only files that the debug info names: this is no way to read others.
                let known = session.debug_file(&local).map_err(|error| error.to_string())?;
                session.sources().find(&known).map_err(|error| error.to_string())?
            }
            (None, None) => return Err("give a source".into()),
        };
        let bytes = match self.reach {
            Reach::AllFiles => files::read(&path, MOST_SOURCE)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?,
            Reach::SourceFolders => self.source_folders().read(&path)?,
        };
        Ok(Some(Body::from(SourceBody { content: String::from_utf8_lossy(&bytes).into_owned() })))
    }

    /// Where this session's sources lie: the workspace, beside its modules, where the client's mappings lead.
    fn source_folders(&self) -> SourceFolders {
        let common = self.beginning.as_ref().map(|beginning| beginning.common());
        // Where the adapter was started says something only when the client does not.
        let cwd = common.and_then(|common| common.cwd.as_ref()).map(PathBuf::from);
        let mut own: Vec<PathBuf> = cwd.or_else(|| std::env::current_dir().ok()).into_iter().collect();
        let mapped = common.iter().flat_map(|common| common.source_map.values().map(PathBuf::from));
        if let Phase::Live(session) = &self.phase {
            let files = session.modules().into_iter().filter_map(|module| module.symbols_from);
            own.extend(files.filter_map(|file| file.parent().map(Path::to_owned)));
        }
        SourceFolders::new(own, mapped, std::env::home_dir().as_deref())
    }

    pub(crate) fn loaded_sources(&mut self) -> Answer {
        let Phase::Live(session) = &self.phase else { return Err("not attached to a proxy".into()) };
        let files = session.source_files();
        let sources = files.iter().map(|file| self.sources.source(session, &self.peer, file)).collect();
        Ok(Some(Body::from(LoadedSourcesBody { sources })))
    }

    pub(crate) fn module_list(&mut self, arguments: &ModulesArguments) -> Answer {
        let all = self.session()?.modules();
        let total_modules = all.len() as i64;
        let first = usize::try_from(arguments.start_module).unwrap_or(0);
        let count = given(arguments.module_count).map_or(usize::MAX, |count| count as usize);
        let modules = all.iter().enumerate().skip(first).take(count).map(|(index, module)| {
            let names: Vec<_> = module.filters.iter().map(|(_, name)| name.as_str()).collect();
            let path = module.symbols_from.as_ref().map(|path| path.display().to_string());
            Module {
                id: index as i64 + 1,
                name: names.join(", "),
                symbol_file_path: path.clone(),
                path,
                version: module.hash.to_string().chars().take(12).collect(),
                symbol_status: match &module.debug_info {
                    DebugInfo::Full => "symbols loaded".into(),
                    DebugInfo::NamesOnly(why) => why.clone(),
                },
                is_user_code: true,
            }
        });
        let modules = modules.collect();
        Ok(Some(Body::from(ModulesBody { modules, total_modules })))
    }
}

/// The number of a module, from 1.
pub(crate) fn module_id(session: &Session, hash: ModuleHash) -> Option<i64> {
    session.modules().iter().position(|module| module.hash == hash).map(|index| index as i64 + 1)
}

/// A path for the client.
fn outgoing(path: &Path, format: PathFormat) -> String {
    let text = path.display().to_string();
    match format {
        PathFormat::Path => text,
        PathFormat::Uri => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
            let encoded = text
                .bytes()
                .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
            format!("file://{}", encoded.collect::<String>())
        }
    }
}

/// A path of the client; some send URIs whatever they have said.
pub(crate) fn incoming(path: &str) -> PathBuf {
    let Some(rest) = path.strip_prefix("file://") else { return PathBuf::from(path) };
    let mut bytes = Vec::new();
    let mut rest = rest.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_uris() {
        assert_eq!(incoming("/a b/c%20d.rs"), PathBuf::from("/a b/c%20d.rs"));
        assert_eq!(incoming("file:///a%20b/%C3%A9.rs"), PathBuf::from("/a b/é.rs"));
        assert_eq!(incoming("file:///a%2"), PathBuf::from("/a%2"));
        assert_eq!(outgoing(Path::new("/a b/é.rs"), PathFormat::Uri), "file:///a%20b/%C3%A9.rs");
        assert_eq!(outgoing(Path::new("/a b"), PathFormat::Path), "/a b");
    }
}
