//! Where the sources of filters lie on this machine: what a client at a port may ask the text of. The debug
//! info of a module names files, and whoever made the module chose the names: one of them could be a key in
//! its reader's home.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use wasmdbg_control::files;
use wasmdbg_session::MOST_SOURCE;

/// Where distributions, toolchains and SDKs put sources and headers.
const SYSTEM: [&str; 9] = [
    "/usr/include",
    "/usr/lib",
    "/usr/share",
    "/usr/src",
    "/usr/local/include",
    "/usr/local/lib",
    "/usr/local/share",
    "/usr/local/go",
    "/opt/wasi-sdk",
];

/// Variables that name the folder of a toolchain or SDK.
const NAMED: [&str; 3] = ["WASI_SDK_PATH", "EMSDK", "GOROOT"];

/// Which source files a client can ask for; of both only those that the debug info names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Whatever this process can read: the client started it.
    AllFiles,
    /// Those where sources lie: the workspace, beside the modules, where mappings lead, and the toolchains.
    SourceFolders,
}

/// Folders, as the system names them: no symbolic links, no `..`.
#[derive(Debug)]
pub(crate) struct SourceFolders {
    folders: Vec<PathBuf>,
}

impl SourceFolders {
    /// The session's own folders, those that its user's mappings lead to, and those of the system and this
    /// user's toolchains. A folder that does not exist holds nothing, and the root of all folders is none: a
    /// service is started there. A terminal starts in the user's home: neither that nor a folder around it is
    /// one of the session's own.
    pub(crate) fn new(
        own: impl IntoIterator<Item = PathBuf>,
        mapped: impl IntoIterator<Item = PathBuf>,
        home: Option<&Path>,
    ) -> Self {
        let real = |folder: PathBuf| folder.canonicalize().ok();
        let home = home.and_then(|home| real(home.to_owned()));
        let around_home = |folder: &PathBuf| home.as_ref().is_some_and(|home| home.starts_with(folder));
        let own = own.into_iter().filter_map(real).filter(|folder| !around_home(folder));
        let toolchains = toolchains(|name| std::env::var_os(name).map(PathBuf::from));
        let others = mapped.into_iter().chain(toolchains).chain(SYSTEM.map(PathBuf::from)).filter_map(real);
        Self { folders: own.chain(others).filter(|folder| folder.parent().is_some()).collect() }
    }

    /// The text of a file in one of them.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
        let file = files::open(path).map_err(cannot)?;
        // Of what is open, not of a path that can become another one meanwhile.
        let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(cannot)?;
        if !self.folders.iter().any(|folder| real.starts_with(folder)) {
            return Err(format!(
                "{} is not shown at a port: it lies outside of the workspace, the module's folder and the \
                 toolchains, and a whole home is none of these; \"sourceMap\" in launch.json names further folders",
                real.display()
            ));
        }
        files::read_open(file, MOST_SOURCE).map_err(cannot)
    }
}

/// What cargo, rustup and Go have fetched for this user.
fn toolchains(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let home = variable("HOME");
    let place = |name: &str, usual: &str| variable(name).or_else(|| Some(home.as_ref()?.join(usual)));
    let fetched: [(Option<PathBuf>, &[&str]); 3] = [
        (place("CARGO_HOME", ".cargo"), &["registry", "git"]),
        (place("RUSTUP_HOME", ".rustup"), &["toolchains"]),
        (place("GOPATH", "go"), &["pkg/mod"]),
    ];
    let mut all = Vec::new();
    for (base, names) in &fetched {
        all.extend(base.iter().flat_map(|base| names.iter().map(move |name| base.join(name))));
    }
    all.extend(NAMED.iter().filter_map(|name| variable(name)));
    all
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// A folder with `own/a.rs`, `own2/secret` and links between them; removed at the end.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("wasmdbg-sources-{}-{name}", std::process::id()));
            for folder in ["own", "own2", "linked"] {
                std::fs::create_dir_all(root.join(folder)).unwrap();
            }
            std::fs::write(root.join("own/a.rs"), "fn a() {}\n").unwrap();
            std::fs::write(root.join("own2/secret"), "secret\n").unwrap();
            symlink(root.join("own2/secret"), root.join("own/innocent.rs")).unwrap();
            symlink(root.join("own2"), root.join("own/folder")).unwrap();
            symlink(root.join("own"), root.join("linked/own")).unwrap();
            Self(root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_what_really_lies_below_a_folder() {
        let tree = Tree::new("links");
        let at = |path: &str| tree.0.join(path);
        let folders = SourceFolders::new([at("own"), at("absent")], [], None);
        assert_eq!(folders.read(&at("own/a.rs")).unwrap(), b"fn a() {}\n");
        assert_eq!(folders.read(&at("own2/../linked/own/a.rs")).unwrap(), b"fn a() {}\n");
        for path in ["own2/secret", "own/../own2/secret", "own/innocent.rs", "own/folder/secret"] {
            let why = folders.read(&at(path)).unwrap_err();
            assert!(why.contains("own2/secret is not shown at a port"), "{path}: {why}");
        }
        assert!(folders.read(&at("own/b.rs")).unwrap_err().contains("cannot read"));
        // A workspace that is itself a link, and one that is everything.
        assert!(SourceFolders::new([at("linked/own")], [], None).read(&at("own/a.rs")).is_ok());
        assert!(
            SourceFolders::new([PathBuf::from("/")], [PathBuf::from("/")], None)
                .read(&at("own/a.rs"))
                .is_err()
        );
    }

    #[test]
    fn the_home_is_a_folder_for_sources_only_when_a_mapping_says_so() {
        let tree = Tree::new("home");
        let (home, file) = (tree.0.join("own"), tree.0.join("own/a.rs"));
        let read = |own: &[&str], mapped: &[&Path]| {
            let own = own.iter().map(|path| tree.0.join(path));
            let mapped = mapped.iter().map(|path| path.to_path_buf());
            SourceFolders::new(own, mapped, Some(&home)).read(&file)
        };
        for own in ["own", "own/", "linked/own", "."] {
            let why = read(&[own], &[]).unwrap_err();
            assert!(why.contains("own/a.rs is not shown at a port"), "{own}: {why}");
        }
        assert!(read(&[], &[&home]).is_ok());
        let project = home.join("project");
        std::fs::create_dir(&project).unwrap();
        std::fs::write(project.join("b.rs"), "b").unwrap();
        let folders = SourceFolders::new([project.clone()], [], Some(&home));
        assert_eq!(folders.read(&project.join("b.rs")).unwrap(), b"b");
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let tree = Tree::new("pipe");
        let pipe = tree.0.join("own/pipe.rs");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let (sender, said) = mpsc::channel();
        let folders = SourceFolders::new([tree.0.join("own")], [], None);
        let reader = std::thread::spawn(move || sender.send(folders.read(&pipe)));
        let why = said.recv_timeout(Duration::from_secs(60)).expect("an answer").unwrap_err();
        reader.join().unwrap().unwrap();
        assert!(why.ends_with("own/pipe.rs: it is not a file"), "{why}");
    }

    #[test]
    fn toolchains_are_where_their_variables_say_or_in_the_home() {
        let all = |set: &'static [(&str, &str)]| {
            let variable = move |name: &str| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| PathBuf::from(value))
            };
            toolchains(variable).iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            all(&[("HOME", "/h")]),
            ["/h/.cargo/registry", "/h/.cargo/git", "/h/.rustup/toolchains", "/h/go/pkg/mod"]
        );
        assert_eq!(all(&[("CARGO_HOME", "/c"), ("WASI_SDK_PATH", "/w")]), ["/c/registry", "/c/git", "/w"]);
        assert!(all(&[]).is_empty());
    }
}
