//! Header maps and properties of a stopped request, at the prompt, in conditions and in an editor.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::http::Request;

use crate::adapter::{Editor, PRIME, SOURCE};
use crate::debugger::{Debugger, line_of, random};

fn server() -> Result<Ats> {
    Ats::options().filter(Filter::example("rust-token", "debug").configuration("token")).start()
}

#[test]
fn the_prompt_shows_them() -> Result<()> {
    let ats = server()?;
    let mut debugger = Debugger::attach(&ats, "rust-token", &[])?;
    debugger.ask(&format!("break lib.rs:{}", line_of(SOURCE, PRIME)), "Breakpoint 1")?;
    let token = random().to_string();
    let request = debugger.request("/cache/10/x").header("token", "7").header("X-Own", &token);
    let pending = debugger.stop(&ats, request)?;
    assert_eq!(debugger.print("$req[\"x-OWN\"]")?, format!("\"{token}\""));
    assert_eq!(debugger.print("$prop[\"request.path\"]")?, "\"/cache/10/x\"");
    let own = ats.address();
    assert_eq!(debugger.print(&format!("$prop[\"destination.address\"] == \"{own}\""))?, "true");
    assert_eq!(debugger.print("$req[\"absent\"]")?, "<none>");
    for (expression, value) in [
        ("$req[\"absent\"] == \"\"", "false"),
        ("$req[\"absent\"] != \"\"", "true"),
        ("$req[\"absent\"] == $resp[\"absent\"]", "true"),
        ("!$req[\"absent\"] && !!$req[\"token\"]", "true"),
        ("$prop[\"request.headers.token\"]", "\"7\""),
        ("$prop[\"plugin_name\"]", "\"rust-token\""),
        ("$prop[\"request.headers.absent\"]", "<none>"),
    ] {
        assert_eq!(debugger.print(expression)?, value, "{expression}");
    }
    assert_eq!(debugger.print("$filter[\"configuration\"]")?, "\"token\"");
    debugger.ask("info request", &token)?;
    debugger.ask("info response", "no response headers yet")?;
    debugger.ask("info properties", "request.method")?;
    debugger.ask("print $req[token", "`]`")?;
    debugger.ask("print $nothing", "there is no `$nothing`: there are $txn")?;
    debugger.ask("print $req[1]", "wants a name in quotes")?;
    let response = line_of(SOURCE, "let value = number.to_string()");
    debugger.ask(&format!("break lib.rs:{response}"), "Breakpoint 2")?;
    debugger.ask("continue", "breakpoint 2")?;
    assert_eq!(debugger.print("$resp[\":status\"]")?, "\"200\"");
    assert_eq!(debugger.print("$prop[\"response.code\"]")?, "200");
    debugger.wasmdbg.send("detach")?;
    assert_eq!(pending.wait()?.header("x-token-prime"), Some("7"));
    Ok(())
}

#[test]
fn an_editor_has_scopes_for_them_and_conditions_use_them() -> Result<()> {
    let ats = server()?;
    let mut editor = Editor::attach(&ats, &json!({}))?;
    let token = random().to_string();
    let condition = json!({ "condition": format!("$req[\"x-own\"] == \"{token}\"") });
    assert_eq!(editor.break_at(&[(PRIME, condition)])?[0]["verified"], true);
    editor.dap.ask("configurationDone", &Value::Null)?;
    // Most requests have no such header, and none of them stops.
    assert_eq!(editor.request(&ats, "11").wait()?.header("x-token-prime"), Some("11"));
    let own = editor.matching(Request::get("/cache/10/x").header("token", "7").header("x-own", &token));
    let pending = wasmdbg_tests::http::Pending::start(ats.address(), own, wasmdbg_tests::scratch::PATIENCE);
    let thread = editor.stopped()?;
    let frame = editor.frame(thread, 0)?;
    let value = |variables: &[Value], name: &str| -> Result<String> {
        let found = variables.iter().find(|variable| variable["name"] == name);
        let found = found.with_context(|| format!("no {name} in {variables:?}"))?;
        Ok(found["value"].as_str().unwrap_or_default().to_owned())
    };
    let (_, request) = editor.scope(&frame, "Request headers")?;
    assert_eq!(value(&request, "x-own")?, format!("\"{token}\""));
    assert_eq!(value(&request, ":method")?, "\"GET\"");
    // It can be watched as it stands there.
    let own = request.iter().find(|variable| variable["name"] == "x-own").context("x-own")?;
    let watched = editor.evaluate(&frame, own["evaluateName"].as_str().context("an expression")?)?;
    assert_eq!(watched["result"], format!("\"{token}\""));
    let known =
        editor.dap.ask("completions", &json!({ "text": "$re", "column": 4, "frameId": frame["id"] }))?;
    assert!(known["targets"].to_string().contains("$req"), "{known}");
    let (_, properties) = editor.scope(&frame, "Properties")?;
    let port = value(&properties, "source.port")?.parse::<u16>()?;
    assert_eq!(value(&properties, "source.address")?, format!("\"127.0.0.1:{port}\""));
    let (_, filter) = editor.scope(&frame, "Filter")?;
    assert_eq!(value(&filter, "name")?, "\"rust-token\"");
    let (_, response) = editor.scope(&frame, "Response headers")?;
    assert!(response.is_empty(), "{response:?}");
    assert_eq!(editor.evaluate(&frame, "$prop[\"request.method\"]")?["result"], "\"GET\"");
    editor.go_on(thread)?;
    assert_eq!(pending.wait()?.header("x-token-prime"), Some("7"));
    Ok(())
}

#[test]
fn a_host_function_is_a_place_to_stop() -> Result<()> {
    let ats = server()?;
    let mut debugger = Debugger::attach(&ats, "rust-token", &[])?;
    debugger.ask("break proxy_no_such_function", "proxy_no_such_function")?;
    debugger.ask("break proxy_send_local_response", "(2 places)")?;
    let request = debugger.request("/cache/10/x").header("token", "8");
    let pending = debugger.stop(&ats, request)?;
    debugger.ask("bt", "rust_token::TokenFilter as proxy_wasm::traits::HttpContext")?;
    debugger.wasmdbg.send("continue")?;
    assert_eq!(pending.wait()?.status, 403);
    Ok(())
}
