//! Filters that forget their transactions: nothing of them stays beyond `limits.pause` and `limits.done`.

use anyhow::Result;
use wasmdbg_tests::ats::{Ats, Filter, Options, Server};
use wasmdbg_tests::http::{Connection, Request};
use wasmdbg_tests::scratch::{PATIENCE, Scratch, wait_for};

use crate::fast_lane::misbehave;
use crate::state::Proxy;

/// Requests that are forgotten at once.
const FORGOTTEN: usize = 300;

fn forgetful(limits: &str) -> Options {
    Ats::options().event_threads(2).settings(&format!("limits: {{{limits}}}\n"))
}

fn forgotten(phase: &str) -> Request {
    Request::get("/cache/10/x").header("do", &format!("{phase}=pause, tick=never"))
}

fn descriptors(ats: &Ats) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", ats.pid()))?.count())
}

/// Waits until nothing of any transaction is left.
fn wait_for_rest(ats: &Ats, before: usize) -> Result<Proxy> {
    wait_for("as many descriptors as before", PATIENCE, || (descriptors(ats).ok()? <= before).then_some(()))?;
    wait_for("the last transaction", PATIENCE, || {
        let proxy = Proxy::of(ats).ok()?;
        (proxy.status()["transactions"] == 0).then_some(proxy)
    })
}

#[test]
fn requests_that_a_filter_pauses_for_ever_go_by_the_fail_policy() -> Result<()> {
    for (filter, expected) in [(misbehave(), 200), (misbehave().fail_closed(), 503)] {
        let ats = forgetful("pause: 1 s").filter(filter).start()?;
        // Fills the cache, and whatever the server opens once.
        ats.fetch(&Request::get("/cache/10/x"))?;
        let before = descriptors(&ats)?;
        let mut clients = Vec::new();
        for number in 0..FORGOTTEN {
            let mut client = Connection::open(ats.address(), PATIENCE)?;
            client.send(&forgotten(if number % 3 == 0 { "response" } else { "request" }))?;
            clients.push(client);
        }
        for client in &mut clients {
            let response = client.receive()?;
            assert_eq!(response.status, expected, "{}", ats.diags());
        }
        // The connections can be used on.
        assert_eq!(clients[0].exchange(&Request::get("/cache/10/x"))?.status, 200);
        drop(clients);
        let proxy = wait_for_rest(&ats, before)?;
        assert_eq!(proxy.counter("misbehave", "pause_timeouts")?, FORGOTTEN as u64);
        assert_eq!(proxy.counter("misbehave", "paused")?, 0);
        assert_eq!(proxy.counter("misbehave", "traps")?, 0, "{}", ats.diags());
        assert_eq!(ats.diags().matches("limits.pause").count(), 1, "{}", ats.diags());
    }
    Ok(())
}

/// The server closes a paused client by its own timeout, and knows of it when the pause is over.
#[test]
fn a_client_that_the_server_closes_during_a_pause_leaves_nothing() -> Result<()> {
    let ats = forgetful("pause: 4 s")
        .record("proxy.config.http.transaction_no_activity_timeout_in INT 1")
        .filter(misbehave())
        .start()?;
    ats.fetch(&Request::get("/cache/10/x"))?;
    let before = descriptors(&ats)?;
    let mut client = Connection::open(ats.address(), PATIENCE)?;
    client.send(&forgotten("request"))?;
    wait_for("the pause", PATIENCE, || {
        (Proxy::of(&ats).ok()?.counter("misbehave", "paused").ok()? == 1).then_some(())
    })?;
    // 10 does not close a client while its request is parked.
    let closes = Server::get()?.version.starts_with("9.");
    match client.receive() {
        Ok(response) => assert!(!closes && response.status == 200, "{}", response.status),
        Err(error) => assert!(closes, "{error:#}"),
    }
    drop(client);
    let proxy = wait_for_rest(&ats, before)?;
    assert_eq!(proxy.counter("misbehave", "pause_timeouts")?, 1);
    assert_eq!(ats.fetch(&Request::get("/cache/10/x"))?.status, 200);
    Ok(())
}

#[test]
fn a_filter_that_is_never_done_does_not_keep_connections() -> Result<()> {
    let scratch = Scratch::new("never-done")?;
    let module = wat::parse_str(
        r#"(module (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
            (func (export "proxy_on_done") (param i32) (result i32) (i32.const 0)))"#,
    )?;
    let module = scratch.write("never-done.wasm", module)?;
    // By the filter's own limit.
    let filter = Filter::new("never-done", &module).config_line("limits: {done: 1 s}");
    let ats = forgetful("done: off").filter(filter).start()?;
    let before = descriptors(&ats)?;
    for _ in 0..FORGOTTEN {
        assert_eq!(ats.fetch(&Request::get("/cache/10/x"))?.status, 200, "{}", ats.diags());
    }
    let proxy = wait_for_rest(&ats, before)?;
    assert_eq!(proxy.counter("never-done", "done_timeouts")?, FORGOTTEN as u64);
    assert_eq!(ats.diags().matches("limits.done").count(), 1, "{}", ats.diags());
    Ok(())
}
