//! The audit log: who did what to a live proxy. One line each, through the host's log.

use wasmdbg_control::rules::Rule;
use wasmdbg_control::text::{SHOWN, cut, escaped};

use super::{Agent, Client};
use crate::debug::session::Session;
use crate::embedder::Level;

/// The name under which the plugin itself logs.
const PLUGIN: &str = "wasmdbg";

impl Agent {
    /// One line of bounded length, whatever clients have put into `text`.
    pub(super) fn audit(&self, text: &str) {
        // Escaped before it is cut: a line break of a client must not begin a line, and escapes are long.
        let text = escaped(text);
        self.lane.runtime.log(Level::Info, PLUGIN, None, &format!("audit: {}", cut(&text, SHOWN)));
    }

    pub(super) fn audit_session(&self, session: &Session, text: &str) {
        let Session { id, name, peer, .. } = session;
        self.audit(&format!("session {id} ({name}, {peer}) {text}"));
    }

    pub(super) fn audit_client(&self, client: &Client, text: &str) {
        self.audit(&format!("{} ({}) {text}", client.name, client.peer));
    }
}

/// Without the values of header fields: they can be secrets.
pub(super) fn rules_in_words(rules: &[Rule]) -> String {
    let words = rules.iter().map(|rule| match rule {
        Rule::Header { name, .. } => format!("header:{name}=…"),
        Rule::Path { prefix } => format!("path:{prefix}"),
        Rule::Client { address } => format!("client:{address}"),
        Rule::Percent { percent } => format!("percent:{percent}"),
        Rule::Next { count } => format!("next:{count}"),
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() { String::from("all") } else { words.join(" ") }
}
