//! What no run of a server may leave in its logs, whatever its test asserts.

use std::path::Path;

/// A crash, an end by the server itself, or a panic of ours that was caught.
const FAULTS: [&str; 6] = [
    "received signal 11",
    "received signal 6",
    "FATAL",
    "Fatal",
    "a fault of this plugin",
    "a fault of the plugin",
];

/// A stop that nobody resumed: its request went on by the deadline, and not by what the test did.
const DEADLINE: &str = "did not resume stop";

/// The lines of its logs that must not be there.
pub(super) fn faults(folder: &Path, deadlines_pass: bool) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["output", "diags.log", "error.log"] {
        let text = std::fs::read(folder.join("log").join(name)).unwrap_or_default();
        found.extend(faults_in(&String::from_utf8_lossy(&text), deadlines_pass));
    }
    // Its standard error has the same lines again.
    found.sort();
    found.dedup();
    found
}

fn faults_in(text: &str, deadlines_pass: bool) -> Vec<String> {
    let is_fault = |line: &&str| {
        FAULTS.iter().any(|fault| line.contains(fault)) || !deadlines_pass && line.contains(DEADLINE)
    };
    text.lines().filter(is_fault).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::faults_in;

    #[test]
    fn a_crash_and_a_deadline_that_passed_are_faults() {
        let log = "[N] NOTE: traffic server running\n\
                   traffic_server: received signal 11 (Segmentation fault)\n\
                   [N] NOTE: [wasmdbg] wasmdbg: audit: session 1 (x) did not resume stop 2 in time: released\n";
        assert_eq!(faults_in(log, false).len(), 2);
        assert_eq!(faults_in(log, true), ["traffic_server: received signal 11 (Segmentation fault)"]);
    }
}
