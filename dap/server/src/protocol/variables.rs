//! Variables, expressions, completions.

use serde::{Deserialize, Serialize};

/// `variables`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VariablesArguments {
    /// Of a scope or a variable.
    pub variables_reference: i64,
    /// `indexed` or `named`; none: both.
    pub filter: Option<String>,
    /// First, from 0.
    pub start: i64,
    /// How many; none or 0: all.
    pub count: Option<i64>,
    /// How values are written.
    pub format: ValueFormat,
}

/// `ValueFormat`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ValueFormat {
    /// Integers in hexadecimal.
    pub hex: bool,
}

/// The response to `variables`.
#[derive(Debug, Clone, Serialize)]
pub struct VariablesBody {
    /// In order.
    pub variables: Vec<Variable>,
}

/// `Variable`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, in a line.
    pub value: String,
    /// Its type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// 0: no children.
    pub variables_reference: i64,
    /// How many named children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named_variables: Option<i64>,
    /// How many indexed children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub indexed_variables: Option<i64>,
    /// The expression for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluate_name: Option<String>,
    /// Where it lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reference: Option<String>,
    /// What to show of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presentation_hint: Option<VariablePresentationHint>,
}

/// `VariablePresentationHint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VariablePresentationHint {
    /// `readOnly`.
    pub attributes: Vec<&'static str>,
}

/// `setVariable`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetVariableArguments {
    /// Of the scope or variable that holds it.
    pub variables_reference: i64,
    /// Which.
    pub name: String,
    /// An expression.
    pub value: String,
    /// How the value is written back.
    pub format: ValueFormat,
}

/// `setExpression`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetExpressionArguments {
    /// What is set.
    pub expression: String,
    /// To which expression.
    pub value: String,
    /// In which frame.
    pub frame_id: Option<i64>,
    /// How the value is written back.
    pub format: ValueFormat,
}

/// The response to `setVariable` and `setExpression`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetVariableBody {
    /// As it is now.
    pub value: String,
    /// Its type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// 0: no children.
    pub variables_reference: i64,
}

/// `evaluate`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EvaluateArguments {
    /// The text.
    pub expression: String,
    /// In which frame; none: the innermost of the last stop.
    pub frame_id: Option<i64>,
    /// `watch`, `repl`, `hover`, `clipboard`, `variables`.
    pub context: String,
    /// How values are written.
    pub format: ValueFormat,
}

/// The response to `evaluate`.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EvaluateBody {
    /// The value.
    pub result: String,
    /// Its type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// 0: no children.
    pub variables_reference: i64,
    /// How many named children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named_variables: Option<i64>,
    /// How many indexed children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub indexed_variables: Option<i64>,
    /// Where it lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reference: Option<String>,
}

/// `completions`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CompletionsArguments {
    /// In which frame.
    pub frame_id: Option<i64>,
    /// All of it.
    pub text: String,
    /// Where the cursor is, in UTF-16 units.
    pub column: i64,
    /// In which line of the text.
    pub line: Option<i64>,
}

/// The response to `completions`.
#[derive(Debug, Clone, Serialize)]
pub struct CompletionsBody {
    /// Sorted.
    pub targets: Vec<CompletionItem>,
}

/// `CompletionItem`.
#[derive(Debug, Clone, Serialize)]
pub struct CompletionItem {
    /// What is put in.
    pub label: String,
    /// `variable`, `field`, `keyword`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where the replaced text begins.
    pub start: i64,
    /// How long it is.
    pub length: i64,
}
