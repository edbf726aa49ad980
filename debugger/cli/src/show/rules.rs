//! Which proxy it is, and which of its requests can stop.

use std::time::Duration;

use wasmdbg_control::client::Client;
use wasmdbg_control::rules::Rule;
use wasmdbg_control::session::Attached;
use wasmdbg_session::text::{describe, show_duration};

use crate::terminal::console::{Console, Paint, harmless};

/// Who answered.
pub(crate) fn greeting(client: &Client, console: &Console) -> String {
    let welcome = client.welcome();
    let text = format!("{}, process {}, plugin {}", welcome.host, welcome.pid, welcome.plugin);
    console.paint(Paint::Strong, &text)
}

/// Which requests can stop, and for how long. Said when the breakpoints of the command line stand: a
/// request that is sent in answer to it must not pass them by.
pub(crate) fn announce_rules(attached: &Attached, console: &mut Console) {
    show_rules(&attached.rules, console);
    let deadline = show_duration(Duration::from_millis(attached.deadline_ms.max(1)));
    let text =
        console.paint(Paint::Faint, &format!("a stopped request goes on after {deadline} without a command"));
    console.say(&text);
}

pub(crate) fn show_rules(rules: &[Rule], console: &mut Console) {
    match rules {
        [] => console.say("every request can stop"),
        // The plugin's own, a secret: nobody else's requests can stop.
        [Rule::Header { name, value }] if name.eq_ignore_ascii_case("x-wasmdbg") => {
            let header = format!("{}: {}", harmless(name), harmless(value));
            let shown = console.paint(Paint::Strong, &header);
            console.say(&format!(
                "requests with this header can stop:\n  {shown}\n  curl -H '{header}' http://PROXY/PATH"
            ));
        }
        rules => {
            let said: Vec<_> = rules.iter().map(|rule| harmless(&describe(rule)).into_owned()).collect();
            console.say(&format!("requests can stop if {}", said.join(", and ")));
        }
    }
}
