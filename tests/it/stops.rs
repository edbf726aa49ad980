//! A request stops at a source line, is looked at, stepped and let go.

use anyhow::Result;
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::build;
use wasmdbg_tests::http::Request;
use wasmdbg_tests::process::repository;
use wasmdbg_tests::scratch::Scratch;

use crate::debugger::{Debugger, line_of, random};
use crate::state::Proxy;

const TOKEN_SOURCE: &str = "examples/rust-token/src/lib.rs";
const CPP_SOURCE: &str = "examples/cpp-headers/src/filter.cc";

fn token_break() -> String {
    format!("break lib.rs:{}", line_of(TOKEN_SOURCE, "let prime = is_prime(token)"))
}

/// Nothing is canned: a number made up now, sent by a client, is what `print` shows.
#[test]
fn a_random_token_is_found_by_print() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    let mut debugger = Debugger::attach(&ats, "rust-token", &["-ex", &token_break()])?;
    let token = random().to_string();
    let path = format!("/cache/10/{token}");
    let request = debugger.request(&path).header("token", &token);
    let pending = debugger.stop(&ats, request)?;
    assert_eq!(debugger.print("token")?, token);
    let backtrace = debugger.ask("bt", "GET /")?;
    assert!(backtrace.contains("lib.rs:"), "{backtrace}");
    assert!(backtrace.contains("judge"), "{backtrace}");
    let last = backtrace.lines().last().unwrap_or_default();
    assert!(last.contains(&format!("GET {path} #")), "the last line names the request: {last}");
    debugger.wasmdbg.send("continue")?;
    let response = pending.wait()?;
    assert!([200, 403].contains(&response.status));
    assert_eq!(response.status == 200, response.header("x-token-prime") == Some(&token));
    Ok(())
}

/// The same in the optimised build, where the compiler keeps the number only in the verdict.
#[test]
fn a_random_token_is_found_by_print_in_the_optimised_build() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "release")).start()?;
    let line = line_of(TOKEN_SOURCE, "format!(\"{number} is not prime");
    let mut debugger = Debugger::attach(&ats, "rust-token", &["-ex", &format!("break lib.rs:{line}")])?;
    // An even one is no prime.
    let token = (u64::from(random()) * 2 + 4).to_string();
    let request = debugger.request("/cache/10/x").header("token", &token);
    let pending = debugger.stop(&ats, request)?;
    assert_eq!(debugger.print("*number")?, token);
    debugger.wasmdbg.send("continue")?;
    let response = pending.wait()?;
    assert_eq!(response.text(), format!("{token} is not prime: 2 divides it\n"));
    Ok(())
}

#[test]
fn inlined_frames_show_in_the_optimised_build() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "release")).start()?;
    let line = line_of(TOKEN_SOURCE, "while divisor <= number / divisor");
    let mut debugger = Debugger::attach(&ats, "rust-token", &["-ex", &format!("break lib.rs:{line}")])?;
    let request = debugger.request("/cache/10/x").header("token", "1000003");
    let pending = debugger.stop(&ats, request)?;
    let backtrace = debugger.ask("bt", "GET /")?;
    let position = |name: &str| backtrace.find(name);
    let (divisor, prime, judge) = (position("smallest_divisor"), position("is_prime"), position("judge"));
    assert!(divisor.is_some() && divisor < prime && prime < judge, "{backtrace}");
    debugger.wasmdbg.send("delete")?;
    debugger.wasmdbg.send("detach")?;
    assert_eq!(pending.wait()?.status, 200);
    Ok(())
}

#[test]
fn locals_list_and_steps_follow_the_source() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    let mut debugger = Debugger::attach(&ats, "rust-token", &["-ex", &token_break()])?;
    let line = line_of(TOKEN_SOURCE, "let prime = is_prime(token)");
    let request = debugger.request("/cache/10/x").header("token", "91");
    let pending = debugger.stop(&ats, request)?;
    debugger.ask("locals", "token")?;
    debugger.ask("info args", "text")?;
    debugger.ask("list", "is_prime(token)")?;
    debugger.ask("step", "is_prime")?;
    assert_eq!(debugger.print("number")?, "91");
    debugger.ask("up", "judge")?;
    debugger.ask("down", "is_prime")?;
    let finished = debugger.ask("finish", &format!("lib.rs:{line}"))?;
    assert!(finished.contains("is_prime returned false"), "{finished}");
    debugger.ask("next", &format!("lib.rs:{}", line + 1))?;
    assert_eq!(debugger.print("prime")?, "false");
    debugger.wasmdbg.send("continue")?;
    let response = pending.wait()?;
    assert_eq!((response.status, response.text().as_str()), (403, "91 is not prime: 7 divides it\n"));
    Ok(())
}

/// The C++ example is rebuilt from a shifted source: the same function breakpoint reports the line
/// seven further down.
#[test]
fn a_rebuilt_filter_reports_its_new_lines() -> Result<()> {
    if !build::has_cpp()? {
        eprintln!("skipped: no C++ compiler for Wasm");
        return Ok(());
    }
    let scratch = Scratch::new("shifted")?;
    let folder = repository().join("examples/cpp-headers/src");
    let source = std::fs::read_to_string(folder.join("filter.cc"))?;
    scratch.write("proxy_wasm.h", std::fs::read(folder.join("proxy_wasm.h"))?)?;
    let mut lines = Vec::new();
    for shift in [0, 7] {
        let path = scratch.write("filter.cc", "\n".repeat(shift) + &source)?;
        for level in ["-O0", "-O2"] {
            let module = scratch.path().join(format!("filter-{shift}{level}.wasm"));
            build::cpp(&path, &module, level, &[])?;
            let ats = Ats::options().filter(Filter::new("cpp", &module).configuration("8192")).start()?;
            let mut debugger = Debugger::attach(&ats, "cpp", &[])?;
            let reply = debugger.ask("break refuse", "filter.cc:")?;
            let line = reply.split("filter.cc:").nth(1).unwrap_or_default();
            let line: String = line.chars().take_while(char::is_ascii_digit).collect();
            lines.push(line.parse::<usize>()?);
        }
    }
    assert_eq!(lines[2], lines[0] + 7);
    assert_eq!(lines[3], lines[1] + 7);
    Ok(())
}

#[test]
fn the_cpp_example_shows_strings_vectors_and_structs() -> Result<()> {
    let line = line_of(CPP_SOURCE, "if (request.bytes > limit)");
    let ats = Ats::options().filter(Filter::example("cpp-headers", "debug").configuration("8192")).start()?;
    let mut debugger = Debugger::attach(&ats, "cpp-headers", &["-ex", &format!("break filter.cc:{line}")])?;
    let secret = format!("made-up-{}", random());
    let request = debugger.request("/cache/10/x").header("secret", &secret);
    let pending = debugger.stop(&ats, request)?;
    let shown = debugger.print("request.headers")?;
    assert!(shown.contains(&secret), "{shown}");
    assert_eq!(debugger.print("request.path")?, "\"/cache/10/x\"");
    debugger.wasmdbg.send("continue")?;
    assert_eq!(pending.wait()?.status, 200);
    Ok(())
}

/// clang keeps few variables of the optimised build; the number of headers is among them.
#[test]
fn the_cpp_example_is_debugged_in_both_builds() -> Result<()> {
    let line = line_of(CPP_SOURCE, "headers.push_back(header)");
    let mut own = Vec::new();
    for build in ["debug", "release"] {
        let ats =
            Ats::options().filter(Filter::example("cpp-headers", build).configuration("8192")).start()?;
        let mut debugger =
            Debugger::attach(&ats, "cpp-headers", &["-ex", &format!("break filter.cc:{line}")])?;
        let further = random() % 50;
        let mut request = debugger.request("/cache/10/x");
        for number in 0..further {
            request = request.header(&format!("further-{number}"), "x");
        }
        let pending = debugger.stop(&ats, request)?;
        let count: u32 = debugger.print("count")?.parse()?;
        own.push(count - further);
        let backtrace = debugger.ask("bt", "GET /")?;
        assert!(backtrace.contains("request_headers"), "{build}: {backtrace}");
        debugger.wasmdbg.send("detach")?;
        let response = pending.wait()?;
        let seen = response.header("x-headers").unwrap_or_default().to_string();
        assert!(seen.starts_with(&format!("{count};")), "{build}: {seen}");
    }
    assert_eq!(own[0], own[1], "the headers that every request has");
    Ok(())
}

#[test]
fn requests_that_match_no_rule_pass_by_a_breakpoint() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    let mut debugger = Debugger::attach(&ats, "rust-token", &["-ex", &token_break()])?;
    let request = debugger.request("/cache/10/stopped").header("token", "7");
    let pending = debugger.stop(&ats, request)?;
    for _ in 0..20 {
        let other = Request::get("/cache/10/x").header("token", "7").header("x-debug", "wrong");
        let response = ats.fetch(&other)?;
        assert_eq!(response.status, 200);
    }
    assert!(!pending.is_finished());
    assert_eq!(Proxy::of(&ats)?.counter("rust-token", "debug_contexts")?, 1);
    debugger.wasmdbg.send("continue")?;
    assert_eq!(pending.wait()?.status, 200);
    Ok(())
}
