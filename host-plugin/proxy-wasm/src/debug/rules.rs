//! Whether a transaction is one that a session wants. Runs on event threads: no allocation but for a
//! header's value, no lock.
use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmdbg_control::rules::Rule;
use wasmdbg_control::{ErrorKind, TransactionId, WireError};

use crate::embedder::RequestFacts;

/// The header of the rule that is made when a client names none.
pub(crate) const TOKEN_HEADER: &str = "x-wasmdbg";

/// A request that a session may want. It is asked only for what the rules look at: most requests are
/// nobody's.
pub struct Candidate<'a> {
    header: &'a dyn Fn(&str, &mut Vec<u8>) -> bool,
    find_facts: &'a dyn Fn() -> RequestFacts,
    facts: OnceCell<RequestFacts>,
}

impl<'a> Candidate<'a> {
    /// `facts` is called once at most; `header` appends the value of a request header field and says
    /// whether there is one.
    pub fn new(facts: &'a dyn Fn() -> RequestFacts, header: &'a dyn Fn(&str, &mut Vec<u8>) -> bool) -> Self {
        Self { header, find_facts: facts, facts: OnceCell::new() }
    }

    pub(crate) fn facts(&self) -> &RequestFacts {
        self.facts.get_or_init(self.find_facts)
    }
}

impl std::fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.facts().fmt(f)
    }
}

/// The rules of one session for one filter.
#[derive(Debug)]
pub(crate) struct Rules {
    certain: Vec<Rule>,
    /// Transactions pass when their draw is below this; `None`: no such rule.
    share: Option<f64>,
    /// What is left of a "next N" rule.
    next: Option<AtomicU64>,
    /// Makes the draws of this session its own.
    seed: u64,
}

impl Rules {
    /// # Errors
    /// A number out of its range.
    pub(crate) fn new(rules: &[Rule], seed: u64) -> Result<Self, WireError> {
        let refuse = |text: String| Err(WireError::new(ErrorKind::State, text));
        let mut made = Self { certain: Vec::new(), share: None, next: None, seed };
        for rule in rules {
            match rule {
                Rule::Percent { percent } if *percent > 0.0 && *percent <= 100.0 => {
                    // Independent shares multiply.
                    made.share = Some(made.share.unwrap_or(1.0) * percent / 100.0);
                }
                Rule::Percent { percent } => {
                    return refuse(format!("percent:{percent} is no share: above 0 and at most 100"));
                }
                Rule::Next { count: 0 } => {
                    return refuse(String::from("next:0 takes no transaction: at least 1"));
                }
                Rule::Next { count } => {
                    let least = made.next.map_or(*count, |left| left.load(Ordering::Relaxed).min(*count));
                    made.next = Some(AtomicU64::new(least));
                }
                certain => made.certain.push(certain.clone()),
            }
        }
        Ok(made)
    }

    /// Whether the transaction is wanted. A "next N" rule is charged: [`Rules::put_back`] when the
    /// transaction is not taken after all.
    pub(crate) fn take(&self, transaction: TransactionId, request: &Candidate<'_>) -> bool {
        self.certain.iter().all(|rule| holds(rule, request))
            && self.share.is_none_or(|share| draw(self.seed, transaction) < share)
            && self.next.as_ref().is_none_or(|left| {
                let less = |left: u64| left.checked_sub(1);
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
            })
    }

    pub(crate) fn put_back(&self) {
        if let Some(left) = &self.next {
            left.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn holds(rule: &Rule, request: &Candidate<'_>) -> bool {
    match rule {
        Rule::Header { name, value } => {
            let mut found = Vec::new();
            (request.header)(name, &mut found) && found == value.as_bytes()
        }
        Rule::Path { prefix } => request.facts().path.starts_with(prefix.as_str()),
        Rule::Client { address } => {
            request.facts().client.is_some_and(|client| same_client(client, *address))
        }
        // Not among the certain ones.
        Rule::Percent { .. } | Rule::Next { .. } => true,
    }
}

/// A dual-stack socket shows IPv4 clients as mapped addresses.
fn same_client(one: IpAddr, other: IpAddr) -> bool {
    one.to_canonical() == other.to_canonical()
}

/// A number in 0..1 that is the same for every filter of a chain: a transaction is wanted by all of the
/// session's filters or by none (splitmix64).
fn draw(seed: u64, transaction: TransactionId) -> f64 {
    let mut x = seed.wrapping_add(transaction.0.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    // 53 bits fit an f64 exactly.
    (x >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> RequestFacts {
        RequestFacts {
            method: String::from("GET"),
            path: String::from("/shop/cart?id=1"),
            client: "::ffff:127.0.0.1".parse().ok(),
            client_port: 4711,
        }
    }

    fn takes(rules: &[Rule], transaction: u64) -> bool {
        let rules = Rules::new(rules, 7).expect("good rules");
        let header = |name: &str, value: &mut Vec<u8>| {
            value.extend_from_slice(b"yes");
            name == "x-debug"
        };
        rules.take(TransactionId(transaction), &Candidate::new(&facts, &header))
    }

    #[test]
    fn all_rules_must_hold() {
        let header = |name: &str, value: &str| Rule::Header { name: name.into(), value: value.into() };
        let path = |prefix: &str| Rule::Path { prefix: prefix.into() };
        assert!(takes(&[], 1));
        assert!(takes(&[header("x-debug", "yes"), path("/shop/")], 1));
        assert!(!takes(&[header("x-debug", "yes"), path("/admin/")], 1));
        assert!(!takes(&[header("x-debug", "no")], 1));
        assert!(!takes(&[header("x-other", "yes")], 1));
        let client = |address: &str| Rule::Client { address: address.parse().expect("an address") };
        assert!(takes(&[client("127.0.0.1")], 1));
        assert!(!takes(&[client("127.0.0.2")], 1));
    }

    #[test]
    fn a_share_is_about_that_share() {
        let taken = (0..10_000).filter(|&id| takes(&[Rule::Percent { percent: 10.0 }], id)).count();
        assert!((800..1_200).contains(&taken), "{taken} of 10000");
        assert!((0..100).all(|id| takes(&[Rule::Percent { percent: 100.0 }], id)));
    }

    #[test]
    fn next_counts_only_what_passes_the_other_rules_and_is_taken() {
        let rules = [Rule::Path { prefix: "/shop".into() }, Rule::Next { count: 2 }];
        let rules = Rules::new(&rules, 1).expect("good rules");
        let take = |path: &str| {
            let facts = || RequestFacts { path: path.into(), ..facts() };
            rules.take(TransactionId(1), &Candidate::new(&facts, &|_, _| false))
        };
        assert!(!take("/other"));
        assert!(take("/shop"));
        rules.put_back();
        assert!(take("/shop") && take("/shop"));
        assert!(!take("/shop"));
    }

    #[test]
    fn impossible_numbers_are_refused() {
        for rule in
            [Rule::Percent { percent: 0.0 }, Rule::Percent { percent: 100.5 }, Rule::Next { count: 0 }]
        {
            assert!(Rules::new(&[rule], 0).is_err());
        }
        assert!(Rules::new(&[Rule::Percent { percent: f64::NAN }], 0).is_err());
    }
}
