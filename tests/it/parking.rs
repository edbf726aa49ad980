//! While one request is stopped: nobody else waits, no timeout of the server ends it, and it is let go
//! when its debugger or its client goes.

use std::net::{Shutdown, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use wasmdbg_tests::ats::{Ats, Filter, Options};
use wasmdbg_tests::http::{Connection, Request};
use wasmdbg_tests::http2::Streams;
use wasmdbg_tests::load::{Load, Plan};
use wasmdbg_tests::origin::{Answer, Origin};
use wasmdbg_tests::scratch::{PATIENCE, wait_for};

use crate::adapter::SOURCE;
use crate::debugger::{Debugger, HEADER, STOPPED, line_of};
use crate::state::Proxy;

/// Timeouts far below the time a request is parked: only what the plugin does keeps it alive.
fn impatient() -> Options {
    impatient_http2().record("proxy.config.http.transaction_active_timeout_in INT 3")
}

/// The same without the one that nobody can reach for a stream of HTTP/2: its active timeout is started
/// from the records before any hook, and until the request is remapped.
fn impatient_http2() -> Options {
    Ats::options()
        .record("proxy.config.http.transaction_no_activity_timeout_in INT 2")
        .record("proxy.config.http.transaction_no_activity_timeout_out INT 2")
        .record("proxy.config.http.transaction_active_timeout_out INT 3")
        .record("proxy.config.http2.no_activity_timeout_in INT 2")
}

/// Longer than any of these timeouts, and the second in which the server looks at them.
const PARKED: Duration = Duration::from_secs(6);

fn wait_while_parked(since: Instant) -> Result<()> {
    wait_for("the server's timeouts", PATIENCE, || (since.elapsed() >= PARKED).then_some(()))
}

/// One event thread, a request parked beyond all timeouts, 10,000 others served meanwhile without an error.
#[test]
fn a_request_parked_beyond_all_timeouts_blocks_nobody_and_completes() -> Result<()> {
    let ats = impatient().filter(Filter::example("rust-token", "debug")).start()?;
    let mut debugger = Debugger::attach(&ats, "rust-token", &["--deadline", "10m", "-ex", "break judge"])?;
    let request = debugger.request("/cache/100/parked").header("token", "7");
    let pending = debugger.stop(&ats, request)?;
    let parked = Instant::now();
    let load = Load::start(ats.address(), &Plan::new(4, Request::get("/cache/100/x").header("token", "7")));
    wait_for("10,000 requests beside it", Duration::from_secs(120), || {
        (load.requests() >= 10_000).then_some(())
    })?;
    let lap = load.stop();
    assert_eq!(lap.errors, 0, "{:?}", lap.first_error);
    wait_while_parked(parked)?;
    assert!(!pending.is_finished(), "{:?}", pending.wait());
    debugger.wasmdbg.send("continue")?;
    let response = pending.wait()?;
    assert_eq!((response.status, response.body.len()), (200, 100));
    Ok(())
}

#[test]
fn a_response_of_an_uncached_object_parked_beyond_all_timeouts_arrives_whole() -> Result<()> {
    let body = "0123456789".repeat(200_000);
    let expected = body.clone();
    let origin = Origin::start(move |_| Answer::ok(body.clone()))?;
    let ats = impatient()
        .origin("/origin/", origin.address())
        .filter(Filter::example("rust-token", "debug"))
        .start()?;
    let place = format!("break lib.rs:{}", line_of(SOURCE, "let value = number.to_string();"));
    let mut debugger = Debugger::attach(&ats, "rust-token", &["--deadline", "10m", "-ex", &place])?;
    let request = debugger.request("/origin/fresh").header("token", "7");
    let pending = debugger.stop(&ats, request)?;
    wait_while_parked(Instant::now())?;
    assert!(!pending.is_finished(), "{:?}", pending.wait());
    debugger.wasmdbg.send("continue")?;
    let response = pending.wait()?;
    assert_eq!(response.status, 200);
    assert!(response.body == expected.as_bytes(), "{} bytes of {}", response.body.len(), expected.len());
    Ok(())
}

#[test]
fn a_killed_debugger_releases_its_request_within_a_second_a_hundred_times() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    for round in 0..100 {
        let mut debugger = Debugger::attach(&ats, "rust-token", &["-ex", "break judge"])?;
        let request = debugger.request(&format!("/cache/10/{round}")).header("token", "7");
        let pending = debugger.stop(&ats, request)?;
        assert!(!pending.is_finished());
        debugger.wasmdbg.kill()?;
        let killed = Instant::now();
        let response = pending.wait()?;
        assert_eq!((response.status, response.header("x-token-prime")), (200, Some("7")));
        assert!(killed.elapsed() < Duration::from_secs(1), "round {round}: {:?}", killed.elapsed());
    }
    Ok(())
}

#[test]
fn a_silent_debugger_releases_at_the_deadline() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).deadlines_pass().start()?;
    let mut debugger = Debugger::attach(&ats, "rust-token", &["--deadline", "3s", "-ex", "break judge"])?;
    let request = debugger.request("/cache/10/x").header("token", "7");
    let pending = debugger.stop(&ats, request)?;
    let stopped = Instant::now();
    debugger.wasmdbg.signal(Signal::SIGSTOP)?;
    let response = pending.wait()?;
    let parked = stopped.elapsed();
    debugger.wasmdbg.signal(Signal::SIGCONT)?;
    assert_eq!(response.status, 200);
    assert!(parked > Duration::from_secs(2) && parked < Duration::from_secs(5), "{parked:?}");
    Ok(())
}

/// Whether the one slot serves nobody.
fn wait_for_a_free_slot(ats: &Ats) -> Result<()> {
    wait_for("a free slot", PATIENCE, || {
        let proxy = Proxy::of(ats).ok()?;
        let slots = proxy.status()["slots"].as_array()?.clone();
        (slots.len() == 1 && slots[0]["busy"] == false).then_some(())
    })
}

/// The deadline is far away: only the end of the client can free the slot.
#[test]
fn a_client_that_goes_away_frees_the_slot() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    let mut debugger = Debugger::attach(&ats, "rust-token", &["--deadline", "10m", "-ex", "break judge"])?;
    let request = debugger.request("/nocache/3000000/gone").header("token", "7");
    let mut client = Connection::open(ats.address(), PATIENCE)?;
    client.send(&request)?;
    debugger.ask("continue", STOPPED)?;
    client.socket().shutdown(Shutdown::Both)?;
    drop(client);
    wait_for_a_free_slot(&ats)?;
    let pending = debugger.stop(&ats, request.header("again", "1"))?;
    let transcript = debugger.wasmdbg.transcript();
    assert!(transcript.contains("is over: its client went away"), "{transcript}");
    debugger.wasmdbg.send("continue")?;
    assert_eq!(pending.wait()?.status, 200);
    Ok(())
}

/// The same of a connection with several streams, over TLS.
#[test]
fn an_http2_client_that_goes_away_frees_the_slot() -> Result<()> {
    let ats = Ats::options().tls().filter(Filter::example("rust-token", "debug")).start()?;
    let mut debugger = Debugger::attach(&ats, "rust-token", &["--deadline", "10m", "-ex", "break judge"])?;
    let debug = debugger.request("/").headers.first().map(|(_, value)| value.clone()).unwrap_or_default();
    let mut streams = Streams::new(&format!("https://{}", ats.tls_address()?));
    streams.add("/cache/10/stopped", &[("token", "7"), (HEADER, &debug)]);
    streams.add("/cache/10/other", &[("token", "11")]);
    let mut running = streams.start()?;
    debugger.ask("continue", STOPPED)?;
    running.wait_for(1, PATIENCE)?;
    let slots = Proxy::of(&ats)?.status()["slots"].clone();
    assert_eq!((slots[0]["busy"].as_bool(), slots[0]["stopped"].as_bool()), (Some(true), Some(true)));
    drop(running);
    wait_for_a_free_slot(&ats)?;
    debugger.ask("continue", "its client has closed the connection")?;
    Ok(())
}

/// A stream's timeouts are raised before it is known whether a rule takes it. One that none takes has the
/// server's own.
#[test]
fn an_http2_stream_that_no_rule_takes_has_the_servers_timeouts() -> Result<()> {
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let ats = Ats::options()
        .tls()
        .origin("/silent/", silent.local_addr()?)
        .record("proxy.config.http.transaction_no_activity_timeout_out INT 1")
        .filter(Filter::example("rust-token", "debug"))
        .start()?;
    let _debugger = Debugger::attach(&ats, "rust-token", &[])?;
    let mut streams = Streams::new(&format!("https://{}", ats.tls_address()?));
    streams.add("/silent/x", &[("token", "7")]);
    let finished = streams.start()?.wait_for(1, PATIENCE)?;
    // Version 10 ends the stream without a response, also with nobody attached.
    let ended = (finished[0].status, finished[0].version.as_str());
    assert!([(504, "2"), (0, "0")].contains(&ended), "{ended:?}");
    Ok(())
}

/// One stopped stream of an HTTP/2 connection over TLS; its other streams go on.
#[test]
fn one_stopped_stream_leaves_the_other_streams_of_its_connection_alone() -> Result<()> {
    let ats = impatient_http2().tls().filter(Filter::example("rust-token", "debug")).start()?;
    let mut debugger = Debugger::attach(&ats, "rust-token", &["--deadline", "10m", "-ex", "break judge"])?;
    let base = format!("https://{}", ats.tls_address()?);
    let debug = debugger.request("/").headers.first().map(|(_, value)| value.clone()).unwrap_or_default();
    let mut curl = Streams::new(&base);
    curl.add("/cache/10/stopped", &[("token", "7"), (HEADER, &debug)]);
    for number in 0..20 {
        curl.add(&format!("/cache/10/{number}"), &[("token", "11")]);
    }
    let mut running = curl.start()?;
    debugger.ask("continue", STOPPED)?;
    let others = running.wait_for(20, PATIENCE)?;
    assert!(others.iter().all(|stream| stream.status == 200 && stream.version == "2"), "{others:?}");
    assert!(others.iter().all(|stream| !stream.url.ends_with("stopped")), "{others:?}");
    wait_while_parked(Instant::now())?;
    assert!(running.wait_for(21, Duration::ZERO).is_err(), "it is parked");
    debugger.wasmdbg.send("continue")?;
    let all = running.wait_for(21, PATIENCE)?;
    let stopped = all.iter().find(|stream| stream.url.ends_with("stopped"));
    assert_eq!(stopped.map(|stream| stream.status), Some(200), "{all:?}");
    assert_eq!(all.iter().map(|stream| stream.connects).sum::<u32>(), 1, "one connection: {all:?}");
    Ok(())
}

/// The deadline counts from the last command: a user at work is not cut off.
#[test]
fn commands_put_the_deadline_off_and_a_warning_precedes_it() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).deadlines_pass().start()?;
    let mut debugger = Debugger::attach(&ats, "rust-token", &["--deadline", "6s", "-ex", "break judge"])?;
    let request = debugger.request("/cache/10/x").header("token", "7");
    let pending = debugger.stop(&ats, request)?;
    let stopped = Instant::now();
    while stopped.elapsed() < Duration::from_secs(9) {
        debugger.print("text")?;
        assert!(!pending.is_finished(), "released while the user was at work");
        std::thread::sleep(Duration::from_millis(200));
    }
    let idle = Instant::now();
    // A batch takes in what the proxy says when it waits for something.
    let response = pending.wait()?;
    let (status, time) = (response.status, idle.elapsed());
    assert_eq!(status, 200);
    assert!(time > Duration::from_secs(4) && time < Duration::from_secs(8), "{time:?}");
    debugger.ask("continue", "its deadline has passed")?;
    let transcript = debugger.wasmdbg.transcript();
    let at = |text: &str| transcript.find(text).with_context(|| format!("{text:?} in {transcript}"));
    assert!(at("goes on in")? < at("its deadline has passed")?, "{transcript}");
    Ok(())
}
