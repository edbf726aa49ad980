//! What the client is told while a session starts.

use std::time::Duration;

use wasmdbg_control::rules::Rule;
use wasmdbg_control::session::LanePhase;
use wasmdbg_session::text::{describe, show_duration};
use wasmdbg_session::{DebugInfo, Progress, Session};

use crate::protocol::Category;
use crate::transport::client::Client;

/// What goes on, and how much of it is done, of 100.
pub(crate) fn progress(progress: &Progress) -> (String, Option<f64>) {
    match progress {
        Progress::Lane(lane) => {
            let what = match lane.phase {
                LanePhase::Compiling => "compiling for debugging",
                LanePhase::Starting => "starting a virtual machine of its own",
                LanePhase::Ready => "ready",
            };
            (format!("{}: {what}", lane.name), None)
        }
        Progress::ReadingModule { filter, done, size } => {
            let part = 100.0 * *done as f64 / (*size).max(1) as f64;
            (format!("{filter}: reading the module from the proxy"), Some(part.min(100.0)))
        }
    }
}

/// What is debugged, and what is wrong with its symbols.
pub(crate) fn ready(client: &mut Client, session: &Session) {
    for filter in &session.attached().filters {
        let took = Duration::from_millis(filter.compile_ms.max(1));
        let how = if filter.cached { "from the cache" } else { "compiled" };
        let text = format!("filter {}: debug lane ready, {how} in {}", filter.name, show_duration(took));
        client.say(Category::Console, &text);
    }
    for module in session.modules() {
        let names: Vec<_> = module.filters.iter().map(|(_, name)| name.as_str()).collect();
        if let DebugInfo::NamesOnly(why) = &module.debug_info {
            client.say(Category::Important, &format!("{}: {why}", names.join(", ")));
        }
        for note in &module.notes {
            client.say(Category::Console, &format!("{}: {note}", names.join(", ")));
        }
    }
}

/// How to get a request stopped.
pub(crate) fn invitation(client: &mut Client, session: &Session) {
    let attached = session.attached();
    let deadline = show_duration(Duration::from_millis(attached.deadline_ms.max(1)));
    let mut text = match attached.rules.as_slice() {
        [] => "every request to this proxy can stop at your breakpoints".to_owned(),
        [Rule::Header { name, value }] => {
            format!("send your request with this header, all others pass by:\n    {name}: {value}")
        }
        rules => {
            let words: Vec<_> = rules.iter().map(describe).collect();
            format!("requests that match stop, all others pass by: {}", words.join("; "))
        }
    };
    text.push_str(&format!("\na stopped request goes on by itself after {deadline} in which you do nothing"));
    if attached.missed > 0 {
        text.push_str(&format!(
            "\n{} matching requests went by while the debug lane was made ready",
            attached.missed
        ));
    }
    client.say(Category::Console, &text);
}
