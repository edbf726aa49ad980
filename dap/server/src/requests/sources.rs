//! The text of source files, and which files and modules there are.

use std::path::{Path, PathBuf};

use wasmdbg_control::files;
use wasmdbg_session::{DebugInfo, MOST_SOURCE, Session};

use crate::protocol::{
    Answer, Body, CommonArguments, LoadedSourcesBody, Module, ModulesArguments, ModulesBody, SourceArguments,
    SourceBody, given,
};
use crate::transport::client::Client;
use crate::view::source_folders::{Reach, SourceFolders};
use crate::view::sources::{Sources, incoming};

/// The text of a file that the client cannot open, or why there is none. `said`: what the client has said
/// about its sources.
pub(crate) fn text(
    session: Result<&Session, String>,
    sources: &Sources,
    reach: Reach,
    said: Option<&CommonArguments>,
    arguments: &SourceArguments,
) -> Answer {
    let reference = arguments.source.source_reference.filter(|reference| *reference > 0);
    let reference = reference.unwrap_or(arguments.source_reference);
    let absent = sources.absent(reference);
    if reference > 0 && absent.is_none() {
        return Err(format!("there is no source {reference}"));
    }
    let session = session?;
    let path = match (absent, &arguments.source.path) {
        (Some(file), _) => match (session.sources().find(file), session.sources().text(file)) {
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
    let bytes = match reach {
        Reach::AllFiles => files::read(&path, MOST_SOURCE)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?,
        Reach::SourceFolders => folders(session, said).read(&path)?,
    };
    Ok(Some(Body::from(SourceBody { content: String::from_utf8_lossy(&bytes).into_owned() })))
}

/// Where this session's sources lie: the workspace, beside its modules, where the client's mappings lead.
fn folders(session: &Session, said: Option<&CommonArguments>) -> SourceFolders {
    // Where the adapter was started says something only when the client does not.
    let cwd = said.and_then(|said| said.cwd.as_ref()).map(PathBuf::from);
    let mut own: Vec<PathBuf> = cwd.or_else(|| std::env::current_dir().ok()).into_iter().collect();
    let mapped = said.iter().flat_map(|said| said.source_map.values().map(PathBuf::from));
    let files = session.modules().into_iter().filter_map(|module| module.symbols_from);
    own.extend(files.filter_map(|file| file.parent().map(Path::to_owned)));
    SourceFolders::new(own, mapped, std::env::home_dir().as_deref())
}

pub(crate) fn loaded(session: &Session, sources: &mut Sources, client: &Client) -> Answer {
    let files = session.source_files();
    let sources = files.iter().map(|file| sources.source(session, client, file)).collect();
    Ok(Some(Body::from(LoadedSourcesBody { sources })))
}

pub(crate) fn modules(session: &Session, arguments: &ModulesArguments) -> Answer {
    let all = session.modules();
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
