//! How many lines refused connections get in the log: anybody may try to connect, as often as he likes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One line in this time for each user, and one more with the number of those left out.
const PERIOD: Duration = Duration::from_secs(1);

/// Users with a count of their own; a user namespace gives one process many.
const USERS: usize = 64;

/// Refused connections by user id, of which at most one a second is logged.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    users: BTreeMap<u32, Recent>,
}

/// A user who was refused less than a [`PERIOD`] ago.
#[derive(Debug)]
struct Recent {
    until: Instant,
    left_out: u64,
}

impl Refusals {
    /// Whether this refusal gets a line; if not, it is counted.
    pub(super) fn take(&mut self, uid: u32, now: Instant) -> bool {
        let full = self.users.len() >= USERS;
        if let Some(recent) = self.users.get_mut(&uid) {
            recent.left_out += 1;
            return false;
        }
        // With so many users at once one of them stands for all that come later.
        if full && let Some(recent) = self.users.values_mut().next() {
            recent.left_out += 1;
            return false;
        }
        self.users.insert(uid, Recent { until: now + PERIOD, left_out: 0 });
        true
    }

    /// The users whose time is over and who were refused more than once in it, and how often more.
    pub(super) fn left_out(&mut self, now: Instant) -> Vec<(u32, u64)> {
        let mut counted = Vec::new();
        self.users.retain(|uid, recent| {
            let over = recent.until <= now;
            if over && recent.left_out > 0 {
                counted.push((*uid, recent.left_out));
            }
            !over
        });
        counted
    }

    /// When to ask for [`Refusals::left_out`].
    pub(super) fn next(&self) -> Option<Instant> {
        self.users.values().map(|recent| recent.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_gets_one_line_a_second_and_a_count() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        let lines = (0..6000).filter(|_| refusals.take(1000, start)).count();
        assert_eq!((lines, refusals.next()), (1, Some(start + PERIOD)));
        assert!(refusals.take(1001, start), "another user has a line of its own");
        assert_eq!(refusals.left_out(start + PERIOD / 2), []);
        assert_eq!(refusals.left_out(start + PERIOD), [(1000, 5999)]);
        assert_eq!(refusals.next(), None);
        assert!(refusals.take(1000, start + PERIOD));
    }

    #[test]
    fn many_users_at_once_take_no_more_lines_and_memory() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        let lines = (0..10_000).filter(|&uid| refusals.take(uid, start)).count();
        assert_eq!((lines, refusals.users.len()), (USERS, USERS));
        let counted: u64 = refusals.left_out(start + PERIOD).iter().map(|(_, count)| count).sum();
        assert_eq!(counted, 10_000 - USERS as u64);
    }
}
