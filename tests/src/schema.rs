//! A check of messages against a JSON schema: as much of JSON Schema as the Debug Adapter Protocol's needs.

use serde_json::Value;

/// Named definitions, each a schema.
#[derive(Debug)]
pub struct Schema {
    definitions: Value,
}

impl Schema {
    /// Takes `{"Name": schema, …}`.
    #[must_use]
    pub fn new(definitions: Value) -> Self {
        Self { definitions }
    }

    /// Whether there is such a definition.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.definitions.get(name).is_some()
    }

    /// What is wrong with `value` as a `name`; misspelt members are, too.
    #[must_use]
    pub fn problems(&self, name: &str, value: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        self.check(&serde_json::json!({ "$ref": name }), value, name, &mut problems);
        problems
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
        let schema = self.resolved(schema);
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.check(part, value, at, problems);
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            let fits = |choice: &Value| {
                let mut found = Vec::new();
                self.check(choice, value, at, &mut found);
                found.is_empty()
            };
            if !choices.iter().any(fits) {
                problems.push(format!("{at}: {value} is none of what it can be"));
            }
        }
        if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
            problems.push(format!("{at}: {value} is not one of {}", schema["enum"]));
        }
        let fits = match schema["type"].as_str() {
            Some("string") => value.is_string(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            Some("array") => value.is_array(),
            Some("object") => value.is_object(),
            Some("null") => value.is_null(),
            _ => true,
        };
        if !fits {
            problems.push(format!("{at}: {value} is no {}", schema["type"]));
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(&schema["items"], item, &format!("{at}[{index}]"), problems);
        }
        self.check_members(schema, value, at, problems);
    }

    fn check_members(&self, schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
        let Some(members) = value.as_object() else { return };
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                problems.push(format!("{at}: {name} is missing"));
            }
        }
        let mut known = Vec::new();
        let open = self.names(schema, &mut known);
        for (name, member) in members {
            if let Some(of) = schema["properties"].get(name) {
                self.check(of, member, &format!("{at}.{name}"), problems);
            }
            // The parts of a composed one know only their own.
            if !schema["allOf"].is_null() && !open && !known.contains(&name.as_str()) {
                problems.push(format!("{at}: {name} is not in the protocol"));
            }
        }
    }

    /// Names of all members; true when there may be others.
    fn names<'a>(&'a self, schema: &'a Value, into: &mut Vec<&'a str>) -> bool {
        let schema = self.resolved(schema);
        into.extend(schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()));
        let mut open = !schema["additionalProperties"].is_null();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            open |= self.names(part, into);
        }
        open
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(name) => self.resolved(&self.definitions[name]),
            None => schema,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Schema;

    #[test]
    fn what_does_not_fit_is_told() {
        let schema = Schema::new(json!({
            "Base": { "type": "object", "properties": { "seq": { "type": "number" } }, "required": ["seq"] },
            "Event": { "allOf": [{ "$ref": "Base" }, {
                "type": "object",
                "properties": { "kind": { "enum": ["a", "b"] }, "list": { "type": "array", "items": { "type": "string" } } },
            }] },
        }));
        assert!(schema.problems("Event", &json!({ "seq": 1, "kind": "a", "list": ["x"] })).is_empty());
        for (wrong, part) in [
            (json!({ "kind": "a" }), "seq is missing"),
            (json!({ "seq": "1" }), "is no \"number\""),
            (json!({ "seq": 1, "kind": "c" }), "is not one of"),
            (json!({ "seq": 1, "list": [1] }), "list[0]"),
            (json!({ "seq": 1, "knd": "a" }), "knd is not in the protocol"),
        ] {
            let problems = schema.problems("Event", &wrong).join("; ");
            assert!(problems.contains(part), "{wrong}: {problems}");
        }
    }
}
