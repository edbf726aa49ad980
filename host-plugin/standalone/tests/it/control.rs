//! The control socket of a host.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use wasmdbg_control::Client;

use crate::stage::{PASSING, Stage};

fn socket(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("wasmdbg-standalone-{}-{name}.sock", std::process::id()))
}

fn stage(socket: &Path, further: &str) -> Stage {
    Stage::new(PASSING, &format!("control: {{socket: \"{}\", {further}}}", socket.display()), true, None)
}

#[test]
fn a_host_listens_where_its_settings_say_for_whom_they_name() {
    let path = socket("users");
    let mode = |further: &str| {
        let _stage = stage(&path, further);
        Client::unix(&path, "test 1.0").unwrap();
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("users: []"), 0o600);
    assert_eq!(mode("users: [12345, no-such-user]"), 0o666);
    // A name that the system does not know opens it to nobody.
    assert_eq!(mode("users: [no-such-user]"), 0o600);
    let stage = stage(&path, "enabled: false");
    assert!(!path.exists());
    drop(stage);
}

#[test]
fn a_host_that_a_signal_ends_has_taken_its_socket_along() {
    let path = socket("ending");
    let stage = stage(&path, "users: []");
    assert!(path.exists());
    stage.host().ending().end();
    assert!(!path.exists(), "before it returns");
}
