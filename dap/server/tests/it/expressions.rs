//! Texts that no person writes: an adapter answers, at once, and lives.

use serde_json::{Value, json};
use wasmdbg_dap::Reach;

use crate::client::{Client, frame, line_of, repository, stopped_with_values};

const TOO_LONG: &str = "the text is too long";

#[test]
fn expressions_of_any_length_are_answered() {
    let (mut client, thread) = stopped_with_values(&json!({}));
    let frame = frame(&mut client, &thread)["id"].clone();
    let sum = |terms: usize| vec!["seed"; terms].join("+");
    // The longest that is allowed has a value.
    let longest = client.ask("evaluate", &json!({ "expression": sum(250), "frameId": frame }));
    assert_eq!(longest["result"], (70_001 * 250).to_string());
    for (terms, said) in [(251, "more than 500 names"), (10_000, TOO_LONG), (100_000, TOO_LONG)] {
        let text = sum(terms);
        for context in ["watch", "repl", "hover", "clipboard"] {
            let arguments = json!({ "expression": text, "frameId": frame, "context": context });
            let why = client.refused("evaluate", &arguments);
            assert!(why.contains(said) && why.len() < 200, "{terms}: {why}");
        }
        for (expression, value) in [(text.as_str(), "1"), ("seed", text.as_str())] {
            let arguments = json!({ "expression": expression, "value": value, "frameId": frame });
            let why = client.refused("setExpression", &arguments);
            assert!(why.contains(said) && why.len() < 200, "{terms}: {why}");
        }
        let arguments = json!({ "text": format!("({text})."), "column": text.len() + 4, "frameId": frame });
        let targets = client.ask("completions", &arguments)["targets"].clone();
        assert_eq!(targets, json!([]), "{terms}");
        let source = repository().join("tests/fixtures/values-rust/src/lib.rs");
        let line = line_of(&source, "// stop here");
        for further in [
            json!({ "condition": text }),
            json!({ "hitCondition": format!(">= {}", "1".repeat(text.len())) }),
            json!({ "logMessage": format!("{{{text}}}") }),
        ] {
            let mut breakpoint = further.clone();
            breakpoint["line"] = line.into();
            let set = json!({ "source": { "path": source }, "breakpoints": [breakpoint] });
            let set = client.ask("setBreakpoints", &set)["breakpoints"][0].clone();
            assert_eq!(set["verified"], false, "{terms}");
            let why = set["message"].as_str().expect("a reason");
            assert!(why.len() < 2000, "{why}");
        }
    }
    let brackets = "(".repeat(100_000);
    assert!(client.refused("evaluate", &json!({ "expression": brackets })).contains(TOO_LONG));
    let short = client.ask("evaluate", &json!({ "expression": "seed", "frameId": frame }));
    assert_eq!(short["result"], "70001");
}

#[test]
fn messages_nested_without_end_are_answered() {
    let mut client = Client::new(Reach::AllFiles, &Value::Null);
    for open in ["[", "{\"a\":"] {
        let nested = open.repeat(200_000);
        let body = format!("{{\"seq\":9,\"type\":\"request\",\"command\":\"threads\",\"arguments\":{nested}");
        client.send_bytes(body.as_bytes());
        let said = client.event("output")["output"].as_str().expect("words").to_owned();
        assert!(said.contains("no JSON of this protocol") && said.contains("recursion limit"), "{said}");
    }
    client.ask("threads", &Value::Null);
}
