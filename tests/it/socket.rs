//! The control socket against clients that do not keep to its protocol: they are dropped, and nobody
//! else notices.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::http::Request;
use wasmdbg_tests::scratch::PATIENCE;

use crate::debugger::Debugger;

struct Raw(UnixStream);

impl Raw {
    fn connect(ats: &Ats) -> Result<Self> {
        let stream = UnixStream::connect(ats.socket()?).context("the control socket accepts")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// Sends a frame whose length is right.
    fn send(&mut self, body: &[u8]) -> Result<()> {
        let length = u32::try_from(body.len())?;
        self.0.write_all(&length.to_be_bytes())?;
        self.0.write_all(body)?;
        Ok(())
    }

    /// Everything until the plugin closes the connection.
    fn rest(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).context("the plugin closes the connection")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[test]
fn clients_that_break_the_protocol_are_dropped_alone() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    let mut debugger = Debugger::attach(&ats, "rust-token", &["-ex", "break judge"])?;
    let request = debugger.request("/cache/10/x").header("token", "7");
    let pending = debugger.stop(&ats, request)?;

    let mut oversized = Raw::connect(&ats)?;
    oversized.0.write_all(&(64_u32 << 20).to_be_bytes())?;
    oversized.rest()?;
    let mut malformed = Raw::connect(&ats)?;
    malformed.send(b"{\"request\": 7")?;
    malformed.rest()?;
    let mut deep = Raw::connect(&ats)?;
    deep.send("[".repeat(100_000).as_bytes())?;
    deep.rest()?;
    let mut rude = Raw::connect(&ats)?;
    rude.send(br#"{"request":{"id":1,"body":{"method":"status","params":{}}}}"#)?;
    assert!(rude.rest()?.contains("hello"));
    // A frame that never ends holds nobody up.
    let mut slow = Raw::connect(&ats)?;
    slow.0.write_all(&100_u32.to_be_bytes())?;
    slow.0.write_all(b"{")?;

    assert!(!pending.is_finished());
    assert!(debugger.print("text")?.contains('7'));
    debugger.wasmdbg.send("continue")?;
    assert_eq!(pending.wait()?.status, 200);
    assert_eq!(ats.fetch(&Request::get("/cache/10/x").header("token", "7"))?.status, 200);
    Ok(())
}

#[test]
fn another_protocol_version_is_refused_with_what_to_upgrade() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    for (version, side) in [(999, "plugin"), (0, "wasmdbg")] {
        let mut client = Raw::connect(&ats)?;
        let hello = format!(
            r#"{{"request":{{"id":1,"body":{{"method":"hello","params":{{"protocol":{version},"client":"test"}}}}}}}}"#
        );
        client.send(hello.as_bytes())?;
        let answer = client.rest()?;
        assert!(answer.contains("version") && answer.contains(side), "protocol {version}: {answer}");
    }
    Ok(())
}

#[test]
fn the_socket_belongs_to_its_user_alone() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    let mode = std::fs::metadata(ats.socket()?)?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    Ok(())
}
