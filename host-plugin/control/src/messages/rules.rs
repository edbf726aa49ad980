//! Which transactions a session wants. The rules of one session are combined with "and".

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One condition on a transaction, decided once when its request headers are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A request header field has exactly this value (name compared without case).
    Header {
        /// The field's name.
        name: String,
        /// The whole value.
        value: String,
    },
    /// The request's path begins with this text, `/` included.
    Path {
        /// The prefix.
        prefix: String,
    },
    /// The client's address.
    Client {
        /// IPv4 or IPv6.
        address: IpAddr,
    },
    /// This share of the transactions that pass all other rules, chosen by chance.
    Percent {
        /// Above 0, at most 100.
        percent: f64,
    },
    /// Only the next N transactions that pass all other rules.
    Next {
        /// At least 1.
        count: u64,
    },
}
