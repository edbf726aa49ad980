//! Filters without a debugger: what clients get, and what the proxy's log says.

use std::time::Duration;

use anyhow::Result;
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::http::{Connection, Pending, Request};
use wasmdbg_tests::load::{Load, Plan};
use wasmdbg_tests::origin::{Answer, Origin};
use wasmdbg_tests::scratch::{PATIENCE, wait_for};

use crate::state::Proxy;

/// The fixture that does what the header `do` says.
pub(crate) fn misbehave() -> Filter {
    let module = wasmdbg_tests::process::repository().join("tests/fixtures/misbehave/misbehave.debug.wasm");
    Filter::new("misbehave", &module).configuration("tick=20")
}

fn told(orders: &str) -> Request {
    Request::get("/nocache/10/x").header("do", orders)
}

#[test]
fn the_rust_example_lets_primes_through_and_refuses_the_rest() -> Result<()> {
    for build in ["debug", "release"] {
        let ats = Ats::options().filter(Filter::example("rust-token", build)).start()?;
        let with = |token: &str| Request::get("/cache/100/x").header("token", token);
        // The second is a cache hit: response headers are seen there too.
        for _ in 0..2 {
            let response = ats.fetch(&with("1000003"))?;
            assert_eq!((response.status, response.body.len()), (200, 100), "{}", ats.diags());
            assert_eq!(response.header("x-token-prime"), Some("1000003"));
        }
        let refused = ats.fetch(&with("21"))?;
        assert_eq!((refused.status, refused.text().as_str()), (403, "21 is not prime: 3 divides it\n"));
        assert_eq!(refused.header("content-type"), Some("text/plain"));
        assert_eq!(ats.fetch(&Request::get("/cache/100/x"))?.status, 403);
        ats.wait_for_log("-> token: 1000003")?;
    }
    Ok(())
}

#[test]
fn the_cpp_example_reports_headers_and_refuses_large_ones() -> Result<()> {
    for build in ["debug", "release"] {
        let ats =
            Ats::options().filter(Filter::example("cpp-headers", build).configuration("500")).start()?;
        let long = "v".repeat(100);
        let response = ats.fetch(&Request::get("/cache/100/x").header("longest", &long))?;
        assert_eq!(response.status, 200, "{}", ats.diags());
        let seen = response.header("x-headers").unwrap_or_default();
        assert!(seen.ends_with("; longest=longest"), "{seen}");
        let large = ats.fetch(&Request::get("/cache/100/x").header("large", &"v".repeat(600)))?;
        assert_eq!(large.status, 431);
        assert!(large.text().ends_with("the limit is 500\n"), "{}", large.text());
    }
    Ok(())
}

#[test]
fn filters_see_a_request_in_order_and_its_response_in_reverse() -> Result<()> {
    let ats = Ats::options()
        .filter(Filter::example("rust-token", "debug"))
        .filter(Filter::example("cpp-headers", "debug"))
        .start()?;
    let passed = ats.fetch(&Request::get("/cache/10/x").header("token", "7"))?;
    let position = |name: &str| passed.headers.iter().position(|(own, _)| own.eq_ignore_ascii_case(name));
    assert!(position("x-headers").is_some() && position("x-headers") < position("x-token-prime"));
    // The first filter answers itself: the second never sees the request.
    let refused = ats.fetch(&Request::get("/cache/10/x").header("token", "8"))?;
    assert_eq!(refused.status, 403);
    let told = |line: &&str| line.contains("cpp-headers") && line.contains(" /cache/10/x: ");
    let seen = ats.diags().lines().filter(told).count();
    assert_eq!(seen, 1, "{}", ats.diags());
    Ok(())
}

/// What can go wrong in a filter, and what the log must say of it.
const FAILURES: [(&str, &str); 6] = [
    ("panic", "told to panic in request"),
    ("unreachable", "unreachable"),
    ("bounds", "out of bounds"),
    ("loop", "CPU"),
    ("recurse", "stack"),
    ("grow", "memory"),
];

#[test]
fn a_failing_callback_ends_its_request_by_the_fail_policy_and_the_next_is_served() -> Result<()> {
    let open = Ats::options().filter(misbehave()).start()?;
    let closed = Ats::options().filter(misbehave().fail_closed()).start()?;
    for (action, logged) in FAILURES {
        for (ats, expected) in [(&open, 200), (&closed, 503)] {
            let failed = ats.fetch(&told(&format!("request={action}")))?;
            assert_eq!(failed.status, expected, "{action}: {}", ats.diags());
            let after = ats.fetch(&told("request=header, response=header"))?;
            assert_eq!((after.status, after.header("x-response")), (200, Some("seen")), "after {action}");
            ats.wait_for_log(logged)?;
        }
    }
    assert_eq!(Proxy::of(&open)?.counter("misbehave", "traps")?, FAILURES.len() as u64);
    // The position of the trap in the filter's source.
    open.wait_for_log("src/lib.rs:")?;
    Ok(())
}

#[test]
fn failures_in_later_phases_do_not_take_the_response_away() -> Result<()> {
    let ats = Ats::options().filter(misbehave()).start()?;
    for phase in ["response", "done", "log", "delete"] {
        let response = ats.fetch(&told(&format!("{phase}=unreachable")))?;
        assert_eq!((response.status, response.body.len()), (200, 10), "{phase}: {}", ats.diags());
    }
    let traps = || Proxy::of(&ats).and_then(|proxy| proxy.counter("misbehave", "traps")).ok();
    wait_for("the four traps", PATIENCE, || (traps() == Some(4)).then_some(()))?;
    Ok(())
}

#[test]
fn an_unimplemented_host_function_says_so_and_harms_nobody() -> Result<()> {
    let ats = Ats::options().filter(misbehave()).start()?;
    for _ in 0..3 {
        assert_eq!(ats.fetch(&told("request=unimplemented"))?.status, 200);
    }
    ats.wait_for_log("proxy_grpc_cancel says 12")?;
    let mentions = ats.diags().lines().filter(|line| line.contains("UNIMPLEMENTED")).count();
    assert_eq!(mentions, 1, "{}", ats.diags());
    Ok(())
}

#[test]
fn a_paused_request_waits_for_the_filter() -> Result<()> {
    let ats = Ats::options().filter(misbehave()).start()?;
    for phase in ["request", "response"] {
        let response = ats.fetch(&told(&format!("{phase}=pause")))?;
        assert_eq!((response.status, response.body.len()), (200, 10), "paused in {phase}: {}", ats.diags());
    }
    let replied = ats.fetch(&told("request=pause, tick=reply:418"))?;
    assert_eq!((replied.status, replied.text().as_str()), (418, "reply from tick\n"));
    Ok(())
}

#[test]
fn a_local_response_keeps_its_connection() -> Result<()> {
    let ats = Ats::options().filter(misbehave()).start()?;
    let mut kept = Connection::open(ats.address(), PATIENCE)?;
    for (phase, status) in [("request", 401), ("response", 402), ("request", 403)] {
        let response = kept.exchange(&told(&format!("{phase}=reply:{status}")))?;
        assert_eq!((response.status, response.text()), (status, format!("reply from {phase}\n")));
    }
    assert_eq!(kept.exchange(&told(""))?.status, 200);
    Ok(())
}

/// A filter that sends a local response from each callback that may, on two event threads.
#[test]
fn local_responses_from_every_callback_are_right_ten_thousand_times() -> Result<()> {
    let ats = Ats::options().event_threads(2).filter(misbehave()).start()?;
    let orders = [
        ("request=reply:401", 401),
        ("response=reply:402", 402),
        ("request=pause, tick=reply:403", 403),
        ("done=reply:404", 200),
        ("request=header, log=reply:405", 200),
    ];
    let mut loads: Vec<Load> = orders
        .iter()
        .map(|(order, status)| {
            let mut plan = Plan::new(2, told(order));
            plan.status = *status;
            Load::start(ats.address(), &plan)
        })
        .collect();
    let total = |loads: &[Load]| loads.iter().map(Load::requests).sum::<usize>();
    wait_for("10,000 responses", Duration::from_secs(120), || (total(&loads) >= 10_000).then_some(()))?;
    for (load, (order, _)) in loads.drain(..).zip(orders) {
        let lap = load.stop();
        assert_eq!(lap.errors, 0, "{order}: {:?}", lap.first_error);
        assert!(lap.requests > 0, "{order}");
    }
    let proxy = Proxy::of(&ats)?;
    assert_eq!(proxy.counter("misbehave", "hops")?, 0);
    assert_eq!(proxy.counter("misbehave", "traps")?, 0, "{}", ats.diags());
    assert!(!ats.diags().contains("panicked"), "{}", ats.diags());
    Ok(())
}

#[test]
fn one_trap_among_32_contexts_of_a_vm_is_answered_by_the_fail_policy_for_all() -> Result<()> {
    for (fail_open, expected) in [(true, 200), (false, 503)] {
        let filter = if fail_open { misbehave() } else { misbehave().fail_closed() };
        let ats = Ats::options().filter(filter).start()?;
        // One event thread has one virtual machine: all of these share it.
        let parked: Vec<Pending> = (0..31)
            .map(|_| Pending::start(ats.address(), told("request=pause, tick=never"), PATIENCE))
            .collect();
        wait_for("31 paused requests", PATIENCE, || {
            (Proxy::of(&ats).ok()?.counter("misbehave", "paused").ok()? == 31).then_some(())
        })?;
        let trapped = ats.fetch(&told("request=unreachable"))?;
        assert_eq!(trapped.status, expected, "{}", ats.diags());
        for request in parked {
            assert_eq!(request.wait()?.status, expected, "{}", ats.diags());
        }
        let proxy = Proxy::of(&ats)?;
        assert_eq!(proxy.counter("misbehave", "traps")?, 1);
        assert_eq!(proxy.counter("misbehave", "contexts_lost")?, 31);
        assert_eq!(ats.fetch(&told("response=header"))?.header("x-response"), Some("seen"));
    }
    Ok(())
}

#[test]
fn an_origins_answer_passes_with_the_filters_header() -> Result<()> {
    let origin = Origin::start(|_| Answer::ok("from the origin").header("Cache-Control", "no-store"))?;
    let ats = Ats::options()
        .origin("/origin/", origin.address())
        .filter(Filter::example("rust-token", "release"))
        .start()?;
    let mut kept = Connection::open(ats.address(), PATIENCE)?;
    for token in ["2", "3", "5"] {
        let response = kept.exchange(&Request::get("/origin/a").header("token", token))?;
        assert_eq!(response.text(), "from the origin");
        assert_eq!(response.header("x-token-prime"), Some(token));
    }
    let seen = origin.requests();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0].header("token"), Some("2"));
    Ok(())
}
