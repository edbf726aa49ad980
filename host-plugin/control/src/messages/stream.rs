//! The transaction behind a stopped callback: header maps, properties, and the filter's own settings.

use serde::{Deserialize, Serialize};

use super::ids::StopId;

/// Reads them, as the filter's host functions would at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadStream {
    /// Which stop.
    pub stop: StopId,
    /// Further properties to read, by their paths with dots: those that have no fixed name, such as
    /// `request.headers.token`, and those that filters set. What such a property holds is a text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<String>,
}

/// A header field or a setting: its name and its value. Bytes that are no UTF-8 are replaced.
pub type Field = (String, String);

/// What a stopped callback works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// The request's fields in order, pseudo-headers first; `None`: there are none in this phase, or no
    /// transaction runs.
    pub request_headers: Option<Vec<Field>>,
    /// The response's, in the same way.
    pub response_headers: Option<Vec<Field>>,
    /// Properties that have a value now, by their path with dots: `source.address`.
    pub properties: Vec<(String, Property)>,
    /// The filter's settings: `name`, `root_id`, `vm_id`, `configuration`, …
    pub filter: Vec<Field>,
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    /// A text.
    Text(String),
    /// An integer; times and durations are nanoseconds.
    Integer(i64),
    /// A truth value.
    Bool(bool),
}
