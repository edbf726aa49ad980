//! The records of the server that the plugin asks for: all of them, by the name that each version has.
//!
//! A name that the server does not know is answered as a record without a value, so a wrong one would show
//! nowhere. Only what stands here can be asked for, and a test holds it against the names of each version.

/// A record of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    in_9: &'static str,
    in_10: &'static str,
}

impl Record {
    const fn same(name: &'static str) -> Self {
        Self { in_9: name, in_10: name }
    }

    /// Its name in the server of this version (`9.2.9`).
    pub(crate) fn name(self, version: &str) -> &'static str {
        let major = version.split('.').next().and_then(|major| major.parse().ok());
        // A version that is not a number is a build from the main branch: newer than 9.
        if major.is_some_and(|major: u32| major < 10) { self.in_9 } else { self.in_10 }
    }
}

macro_rules! records {
    ($( $(#[$about:meta])* $record:ident = $value:expr; )*) => {
        $( $(#[$about])* pub(crate) const $record: Record = $value; )*

        #[cfg(test)]
        const ALL: &[Record] = &[$($record),*];
    };
}

records! {
    /// The stack size of the server's threads, in bytes.
    STACK_SIZE = Record::same("proxy.config.thread.default.stacksize");
    /// Not 0: the number of event threads follows from that of the processors.
    AUTOMATIC_THREADS = Record {
        in_9: "proxy.config.exec_thread.autoconfig",
        in_10: "proxy.config.exec_thread.autoconfig.enabled",
    };
    /// Event threads for each processor, a fraction.
    THREADS_PER_PROCESSOR = Record::same("proxy.config.exec_thread.autoconfig.scale");
    /// The number of event threads when it is not automatic.
    THREADS = Record::same("proxy.config.exec_thread.limit");
    /// Seconds without a byte of the client.
    CLIENT_INACTIVITY = Record::same("proxy.config.http.transaction_no_activity_timeout_in");
    /// Seconds without a byte of the origin.
    ORIGIN_INACTIVITY = Record::same("proxy.config.http.transaction_no_activity_timeout_out");
    /// Seconds that a transaction of the client may take in all.
    CLIENT_ACTIVITY = Record::same("proxy.config.http.transaction_active_timeout_in");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version and all the names of its records, one a line.
    const VERSIONS: [(&str, &str); 2] = [
        ("9.2.9", include_str!("../../names/records-9.2.txt")),
        ("10.2.0", include_str!("../../names/records-10.txt")),
    ];

    #[test]
    fn every_version_has_every_record() {
        for (version, known) in VERSIONS {
            assert!(known.lines().count() > 500, "the names of {version}");
            for record in ALL {
                let name = record.name(version);
                assert!(known.lines().any(|line| line == name), "{version} has no {name}");
            }
        }
    }

    #[test]
    fn names_follow_the_major_version() {
        let name = |version| AUTOMATIC_THREADS.name(version);
        assert_eq!(name("9.2.5"), "proxy.config.exec_thread.autoconfig");
        for version in ["10.0.0", "10.2.0", "11.0.0-dev", ""] {
            assert_eq!(name(version), "proxy.config.exec_thread.autoconfig.enabled", "{version}");
        }
    }
}
