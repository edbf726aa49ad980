//! Compiled code of the debug lane on disk: the one file that loads code it has not compiled itself.
//!
//! An entry is trusted because of where it lies, not of what it says: a folder of mode 0700 and a file
//! that nobody else can write, both ours. Its checksum finds accidents. Anything else is refused with a
//! reason, and compiled anew.

#![expect(unsafe_code, reason = "compiled code of our own is read back")]

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::libc;
use sha2::{Digest, Sha256};
use wasmdbg_control::ModuleHash;
use wasmtime::{Engine, Module};

/// Behind the code of every entry, with the code's checksum at the very end.
const MAGIC: &[u8; 16] = b"wasmdbg code 1\r\n";
const CHECKSUM: usize = 32;
const TRAILER: usize = MAGIC.len() + CHECKSUM;
/// Entries that are kept; the oldest go.
const KEPT: usize = 16;

/// Why an entry is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    /// Nothing is wrong: it has not been compiled yet.
    #[error("not in the cache")]
    Absent,
    /// It is not certain that we wrote it.
    #[error("{path} is not used: {reason}; remove it or choose another cache folder")]
    Foreign {
        /// File or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It is not what was written.
    #[error("{path} is damaged ({reason}) and has been compiled anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system says no.
    #[error("{path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// A folder of compiled modules for one configuration of the engine.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    /// Of wasmtime's version and everything in its configuration that changes code.
    engine: u64,
}

impl Cache {
    pub(crate) fn new(folder: PathBuf, engine: &Engine) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        Self { folder, engine: hasher.finish() }
    }

    fn path(&self, hash: ModuleHash) -> PathBuf {
        self.folder.join(format!("{hash}-{:016x}.cwasm", self.engine))
    }

    /// # Errors
    /// See [`CacheError`].
    pub(crate) fn load(&self, engine: &Engine, hash: ModuleHash) -> Result<Module, CacheError> {
        let path = self.path(hash);
        let io = |source| CacheError::Io { path: path.clone(), source };
        match fs::symlink_metadata(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(CacheError::Absent),
            folder => check(&self.folder, &folder.map_err(io)?, true)?,
        }
        let mut file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(CacheError::Absent),
            Err(error) => return Err(io(error)),
        };
        check(&path, &file.metadata().map_err(io)?, false)?;
        let damaged = |reason: String| CacheError::Damaged { path: path.clone(), reason };
        verify(&mut file).map_err(io)?.map_err(|reason| damaged(reason.to_owned()))?;
        // Mapped, not read: a buffer of this size stays with the thread's part of the heap for good.
        // SAFETY: only code that `Module::serialize` gave may be loaded, and it must not change while it
        // is mapped. The file is a regular one that our user owns and nobody else can write, in a folder
        // of mode 0700 of ours, and its checksum is the one that `Cache::store` wrote behind that call;
        // wasmtime checks version and configuration. We never write to a finished entry: a new one takes
        // its name. Who can write it anyway has our user's rights already.
        let module = unsafe { Module::deserialize_open_file(engine, file) };
        module.map_err(|error| damaged(format!("{error:#}")))
    }

    /// # Errors
    /// It could not be written; nothing half-written stays.
    pub(crate) fn store(&self, module: &Module, hash: ModuleHash) -> Result<(), CacheError> {
        let path = self.path(hash);
        let io = |source| CacheError::Io { path: path.clone(), source };
        let code = module.serialize().map_err(|error| io(io::Error::other(format!("{error:#}"))))?;
        self.make_folder()?;
        // Two processes may write the same entry at once: each writes a file of its own.
        let draft = self.folder.join(format!("{hash}-{:016x}.{}", self.engine, std::process::id()));
        let written = write(&draft, &code).and_then(|()| fs::rename(&draft, &path));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written.map_err(io)?;
        self.prune();
        Ok(())
    }

    fn make_folder(&self) -> Result<(), CacheError> {
        let io = |source| CacheError::Io { path: self.folder.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(io)?;
        let folder = fs::symlink_metadata(&self.folder).map_err(io)?;
        if folder.is_dir() && folder.uid() == user() && folder.mode() & 0o077 != 0 {
            fs::set_permissions(&self.folder, Permissions::from_mode(0o700)).map_err(io)?;
            return Ok(());
        }
        check(&self.folder, &folder, true)
    }

    /// Removes the oldest entries. A failure costs only space.
    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "cwasm"))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        let surplus = files.len().saturating_sub(KEPT);
        for (_, file) in files.into_iter().take(surplus) {
            let _ = fs::remove_file(file);
        }
    }
}

fn user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Whether nobody but us (and root) can have written it.
fn check(path: &Path, metadata: &fs::Metadata, folder: bool) -> Result<(), CacheError> {
    let refuse = |reason: String| Err(CacheError::Foreign { path: path.to_owned(), reason });
    if metadata.is_dir() != folder || !(folder || metadata.is_file()) {
        return refuse(String::from("it is of another kind of file"));
    }
    if metadata.uid() != user() {
        return refuse(format!("user {} owns it, not user {}", metadata.uid(), user()));
    }
    let open = if folder { 0o077 } else { 0o022 };
    if metadata.mode() & open != 0 {
        return refuse(format!("its mode {:o} lets others in", metadata.mode() & 0o777));
    }
    Ok(())
}

fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(code)?;
    file.write_all(MAGIC)?;
    file.write_all(&Sha256::digest(code))
}

/// Says what is wrong with an entry.
fn verify(file: &mut File) -> io::Result<Result<(), &'static str>> {
    let size = file.metadata()?.len();
    let Some(code) = size.checked_sub(TRAILER as u64) else { return Ok(Err("it is too short")) };
    let mut hasher = Sha256::new();
    let mut chunk = [0; 32 << 10];
    let mut left = code;
    while left > 0 {
        let most = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = file.read(&mut chunk[..most])?;
        if count == 0 {
            return Ok(Err("it is too short"));
        }
        hasher.update(&chunk[..count]);
        left -= count as u64;
    }
    let mut magic = [0; MAGIC.len()];
    let mut checksum = [0; CHECKSUM];
    file.read_exact(&mut magic)?;
    file.read_exact(&mut checksum)?;
    if &magic != MAGIC {
        return Ok(Err("it is no compiled code of this program"));
    }
    Ok(if hasher.finalize().as_slice() == checksum { Ok(()) } else { Err("its checksum is wrong") })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("wasmdbg-cache-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const HASH: ModuleHash = ModuleHash([7; 32]);

    fn stored(folder: &Folder) -> (Engine, Cache) {
        let engine = Engine::default();
        let module = Module::new(&engine, wat::parse_str("(module)").expect("wat")).expect("a module");
        let cache = Cache::new(folder.0.clone(), &engine);
        assert!(matches!(cache.load(&engine, HASH), Err(CacheError::Absent)));
        cache.store(&module, HASH).expect("stored");
        cache.load(&engine, HASH).expect("loaded");
        (engine, cache)
    }

    #[test]
    fn a_damaged_entry_is_refused_and_can_be_written_again() {
        let folder = Folder::new("damaged");
        let (engine, cache) = stored(&folder);
        let path = cache.path(HASH);
        let mut bytes = fs::read(&path).expect("the entry");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).expect("written");
        assert!(matches!(cache.load(&engine, HASH), Err(CacheError::Damaged { .. })));
        fs::write(&path, &bytes[..10]).expect("written");
        assert!(matches!(cache.load(&engine, HASH), Err(CacheError::Damaged { .. })));
        let module = Module::new(&engine, wat::parse_str("(module)").expect("wat")).expect("a module");
        cache.store(&module, HASH).expect("stored");
        assert!(cache.load(&engine, HASH).is_ok());
    }

    #[test]
    fn what_others_can_write_is_refused() {
        let folder = Folder::new("foreign");
        let (engine, cache) = stored(&folder);
        let path = cache.path(HASH);
        fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("chmod");
        assert!(matches!(cache.load(&engine, HASH), Err(CacheError::Foreign { .. })));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
        fs::set_permissions(&folder.0, Permissions::from_mode(0o777)).expect("chmod");
        assert!(matches!(cache.load(&engine, HASH), Err(CacheError::Foreign { .. })));
        fs::set_permissions(&folder.0, Permissions::from_mode(0o700)).expect("chmod");
        assert!(cache.load(&engine, HASH).is_ok());
        let other = folder.0.join("other");
        fs::rename(&path, &other).expect("renamed");
        std::os::unix::fs::symlink(&other, &path).expect("a link");
        assert!(cache.load(&engine, HASH).is_err());
        fs::remove_file(&path).expect("removed");
        // Only root can give a file away.
        if user() == 0 {
            fs::rename(&other, &path).expect("renamed");
            std::os::unix::fs::chown(&path, Some(12345), None).expect("chown");
            let refused = cache.load(&engine, HASH).expect_err("foreign");
            assert!(refused.to_string().contains("user 12345 owns it"), "{refused}");
        }
    }

    #[test]
    fn each_module_has_its_own_entry() {
        let folder = Folder::new("own");
        let (engine, cache) = stored(&folder);
        let other = ModuleHash([8; 32]);
        assert!(matches!(cache.load(&engine, other), Err(CacheError::Absent)), "the code of another module");
        let text = "(module (func (export \"other\")))";
        let module = Module::new(&engine, wat::parse_str(text).expect("wat")).expect("a module");
        cache.store(&module, other).expect("stored");
        let exports = |hash| cache.load(&engine, hash).expect("loaded").exports().count();
        assert_eq!((exports(HASH), exports(other)), (0, 1));
    }

    #[test]
    fn the_oldest_entries_go() {
        let folder = Folder::new("prune");
        let (engine, cache) = stored(&folder);
        let module = Module::new(&engine, wat::parse_str("(module)").expect("wat")).expect("a module");
        for number in 0..40 {
            cache.store(&module, ModuleHash([number; 32])).expect("stored");
        }
        assert_eq!(fs::read_dir(&folder.0).expect("the folder").count(), KEPT);
        assert!(cache.load(&engine, ModuleHash([39; 32])).is_ok());
    }
}
