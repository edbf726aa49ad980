//! Puts a file in its place: whole or not at all, and never through a link that somebody has laid there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes `bytes` to a new file beside `path` and gives it that name. Returns it, open for reading.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // What an earlier process left. A link is removed, not followed.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o644).open(&new)?;
    let done = file.write_all(bytes).and_then(|()| fs::rename(&new, path));
    if let Err(error) = done {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    Ok(file)
}
