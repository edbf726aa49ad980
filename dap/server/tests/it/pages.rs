//! What a client asks for in its own way: pages of variables, lines that count from 0.

use serde_json::{Value, json};

use crate::client::{Client, frame, line_of, repository, stopped_with_values};

fn names(variables: &Value) -> Vec<String> {
    let all = variables["variables"].as_array().expect("variables");
    all.iter().map(|variable| variable["name"].as_str().expect("a name").to_owned()).collect()
}

fn page(client: &mut Client, reference: &Value, start: i64, count: Value) -> Vec<String> {
    let arguments = json!({ "variablesReference": reference, "start": start, "count": count });
    names(&client.ask("variables", &arguments))
}

#[test]
fn a_page_is_what_was_asked_for() {
    let (mut client, thread) = stopped_with_values(&json!({}));
    let frame = frame(&mut client, &thread);
    let scopes = client.ask("scopes", &json!({ "frameId": frame["id"] }));
    let locals = scopes["scopes"].as_array().expect("scopes").iter();
    let locals = locals.clone().find(|scope| scope["name"] == "Locals").expect("locals").clone();
    let of_scope = &locals["variablesReference"];
    let all = client.ask("variables", &json!({ "variablesReference": of_scope }));
    let every = names(&all);
    assert!(every.len() > 10, "{every:?}");
    assert_eq!(page(&mut client, of_scope, 2, json!(3)), every[2..5]);
    assert_eq!(page(&mut client, of_scope, 4, json!(0)), every[4..], "0 is all");
    assert_eq!(page(&mut client, of_scope, 4, Value::Null), every[4..]);
    assert!(page(&mut client, of_scope, 1000, json!(2)).is_empty());

    let vector = all["variables"].as_array().expect("variables").iter();
    let vector = vector.clone().find(|variable| variable["name"] == "numbers").expect("the vector").clone();
    assert_eq!(vector["indexedVariables"], 5, "{vector}");
    let elements = &vector["variablesReference"];
    assert_eq!(page(&mut client, elements, 0, json!(2)), ["[0]", "[1]"]);
    assert_eq!(page(&mut client, elements, 3, json!(1)), ["[3]"]);
    assert_eq!(page(&mut client, elements, 3, json!(100)), ["[3]", "[4]"]);
    assert_eq!(page(&mut client, elements, 1, json!(0)), ["[1]", "[2]", "[3]", "[4]"]);
    let third = json!({ "variablesReference": elements, "start": 2, "count": 1 });
    let third = client.ask("variables", &third)["variables"][0].clone();
    assert_eq!((&third["name"], &third["value"]), (&json!("[2]"), &json!((70_001 ^ 2).to_string())));
}

/// The lines above and below have code of their own: one too few or too many would show.
#[test]
fn lines_that_count_from_zero_go_in_and_out() {
    let (mut client, thread) =
        stopped_with_values(&json!({ "linesStartAt1": false, "columnsStartAt1": false }));
    let path = repository().join("tests/fixtures/values-rust/src/lib.rs");
    let here = line_of(&path, "// stop here") - 1;
    assert_eq!(frame(&mut client, &thread)["line"], here);
    let source = json!({ "path": path });
    let place = json!({ "source": source, "line": here - 1, "endLine": here + 1 });
    let found = client.ask("breakpointLocations", &place)["breakpoints"].clone();
    let mut lines: Vec<_> = found.as_array().expect("places").iter().map(|one| one["line"].clone()).collect();
    lines.dedup();
    assert_eq!(lines, [json!(here - 1), json!(here), json!(here + 1)]);
    let wanted: Vec<_> = (here - 1..=here + 1).map(|line| json!({ "line": line })).collect();
    let set = client.ask("setBreakpoints", &json!({ "source": source, "breakpoints": wanted }));
    for (index, line) in (here - 1..=here + 1).enumerate() {
        let one = &set["breakpoints"][index];
        assert_eq!((&one["verified"], &one["line"]), (&json!(true), &json!(line)), "{one}");
    }
    let wrong = json!({ "source": source, "breakpoints": [{ "line": -1 }] });
    let wrong = client.ask("setBreakpoints", &wrong)["breakpoints"][0].clone();
    assert_eq!((&wrong["verified"], &wrong["message"]), (&json!(false), &json!("there is no line -1")));
}
