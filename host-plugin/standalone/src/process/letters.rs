//! The way of a letter to the filter's root context: in the debug lane if somebody debugs the filter, else in the
//! virtual machine of the thread.

use std::time::Instant;

use tokio::sync::oneshot;
use wasmdbg_proxy_wasm::{Action, Letter, Level, Outcome};

use super::worker::Worker;
use crate::report::Called;

impl Worker {
    /// Has the callback of `letter` run to its end.
    pub(crate) async fn deliver(&self, letter: Letter) -> Called {
        let shared = &self.shared;
        if !shared.filter.wants_letter(&letter) {
            return Called::Absent;
        }
        shared.lane_started().await;
        let action = if let Some(root) = shared.lane.root(shared.filter.id()) {
            let (sender, answer) = oneshot::channel();
            root.post(letter, Box::new(move |outcome| drop(sender.send(outcome.action))));
            answer.await.unwrap_or(Action::Failed)
        } else if let Err(why) = self.acquire().await {
            self.lost(&why);
            Action::Failed
        } else {
            self.deliver_here(letter)
        };
        if action == Action::Failed { Called::Failed } else { Called::Returned }
    }

    /// With all that is due there before it.
    fn deliver_here(&self, letter: Letter) -> Action {
        let entered = self.enter(None, |vm| {
            let posted = vm.post(letter);
            let (now, mut effects) = (Instant::now(), Vec::new());
            while let Some(more) = vm.pass_time(now) {
                effects.extend(more);
            }
            let action = if posted && !vm.is_dead() { Action::Continue } else { Action::Failed };
            ((), Outcome { action, effects })
        });
        let Some((_, (), action)) = entered else {
            self.lost("this thread has no virtual machine: that of a service is where requests are served");
            return Action::Failed;
        };
        action
    }

    /// Says why the filter does not get a letter.
    fn lost(&self, why: &str) {
        self.shared.runtime.log(Level::Error, &self.shared.filter.config().name, None, why);
    }
}
