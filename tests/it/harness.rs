//! The harness itself, against a Traffic Server without the plugin.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use wasmdbg_tests::ats::Ats;
use wasmdbg_tests::http::{Connection, Request};
use wasmdbg_tests::http2::Streams;
use wasmdbg_tests::load::{Load, Plan};
use wasmdbg_tests::origin::{Answer, Origin};
use wasmdbg_tests::process;
use wasmdbg_tests::scratch::{PATIENCE, wait_for};
use wasmdbg_tests::text::Transcript;

#[test]
fn two_servers_serve_side_by_side_and_leave_nothing() -> Result<()> {
    let one = Ats::options().start()?;
    let two = Ats::options().event_threads(2).start()?;
    let mut kept = Connection::open(one.address(), PATIENCE)?;
    for _ in 0..3 {
        let response = kept.exchange(&Request::get("/cache/100/x"))?;
        assert_eq!((response.status, response.body.len()), (200, 100));
    }
    assert_eq!(two.fetch(&Request::get("/nocache/7/x"))?.body.len(), 7);
    let (pid, folder) = (one.pid(), one.folder().to_path_buf());
    let names = process::thread_names(two.pid())?;
    assert_eq!(names.iter().filter(|name| name.starts_with("[ET_NET")).count(), 2, "{names:?}");
    drop((one, two));
    assert!(!process::is_running(pid));
    assert!(!folder.exists());
    Ok(())
}

#[test]
fn requests_reach_an_origin_and_load_counts_its_errors() -> Result<()> {
    let origin = Origin::start(|received| {
        if received.path.starts_with("/good") { Answer::ok("fine") } else { Answer::status(500, "no") }
    })?;
    let ats = Ats::options().origin("/origin/", origin.address()).start()?;
    let good = Load::start(ats.address(), &Plan::new(2, Request::get("/origin/good")));
    let bad = Load::start(ats.address(), &Plan::new(1, Request::get("/origin/bad")));
    wait_for("load", PATIENCE, || (good.requests() > 50).then_some(()))?;
    let good = good.stop();
    assert_eq!(good.errors, 0, "{:?}", good.first_error);
    let bad = bad.stop();
    assert_eq!(bad.requests, 0);
    assert!(bad.first_error.is_some_and(|error| error.contains("status 500")));
    Ok(())
}

#[test]
fn streams_share_one_http2_connection() -> Result<()> {
    let ats = Ats::options().tls().start()?;
    let mut streams = Streams::new(&format!("https://{}", ats.tls_address()?));
    for number in 0..5 {
        streams.add(&format!("/nocache/10/{number}"), &[("number", "1")]);
    }
    let finished = streams.start()?.wait_for(5, PATIENCE)?;
    assert!(finished.iter().all(|one| (one.status, one.version.as_str()) == (200, "2")), "{finished:?}");
    assert_eq!(finished.iter().map(|one| one.connects).sum::<u32>(), 1, "{finished:?}");
    Ok(())
}

/// Whoever kills a test or the demo leaves no server behind.
#[test]
fn a_killed_owner_takes_its_server_along() -> Result<()> {
    let mut owner = Command::new(process::product("ats-sandbox")?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("ats-sandbox starts")?;
    let said = Transcript::follow(owner.stdout.take().context("a pipe")?);
    let value = |key: &str| {
        said.wait(key, 0, PATIENCE, |text| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            text.contains("press Enter").then(|| line.trim().to_string())
        })
    };
    let (pid, folder) = (value("pid ")?.parse()?, PathBuf::from(value("folder ")?));
    assert!(process::is_running(pid) && folder.exists());
    owner.kill()?;
    owner.wait()?;
    wait_for("the end of the server and its folder", PATIENCE, || {
        (!process::is_running(pid) && !folder.exists()).then_some(())
    })?;
    Ok(())
}
