//! What `perf record` can write beyond one event's samples.

use crate::support::{Embedder, Folder, fail, fixture, json, perf, perf_record, run, succeed, turn};

/// A weight is a number of what the event counts: of two events the sums would mean nothing.
#[test]
fn of_several_events_the_first_counts_in_its_own_unit() {
    let folder = Folder::new();
    let data = folder.path("perf.data");
    let data_name = data.to_str().unwrap();
    for (events, first, unit, others) in [
        ("page-faults:u", "page-faults", "faults", false),
        ("page-faults:u,cpu-clock:u", "page-faults", "faults", true),
        ("cpu-clock:u,page-faults:u", "cpu-clock", "ns", true),
        // Each sample of the first one brings the values of both.
        ("{page-faults:u,cpu-clock:u}:S", "page-faults", "faults", false),
    ] {
        perf(&[
            "record",
            "-q",
            "-g",
            "-F",
            "20000",
            "-e",
            events,
            "-o",
            data_name,
            "--",
            "perf",
            "--version",
        ]);
        let script = perf(&["script", "-i", data_name, "-F", "event,period", "-G"]);
        let of_first = script.lines().filter(|line| line.contains(first));
        let period = |line: &str| line.split_whitespace().next().unwrap().parse::<u64>().unwrap();
        let (count, total) = of_first.fold((0u64, 0), |(count, sum), line| (count + 1, sum + period(line)));
        assert!(count > 0, "{events}: {script}");

        let profile = json(&data);
        assert_eq!(profile["samples"], count, "{events}");
        // Of a group perf takes the differences of the counters for weights.
        assert!(profile["total"] == total || events.starts_with('{'), "{events}: {profile}");
        assert_eq!(profile["unit"], unit, "{events}");
        let said = String::from_utf8(run(&["report", data_name]).stderr).unwrap();
        let left_out = format!("samples of other events than {first}, the first, are left out");
        assert_eq!(said.contains(&left_out), others, "{events}: {said}");
        let table = succeed(&["report", "--by", "function", data_name]);
        assert!(table.lines().any(|line| line.contains('%') && !line.contains("self")), "{events}: {table}");
    }
}

#[test]
fn what_cannot_be_used_says_how_to_record() {
    let folder = Folder::new();
    let data = folder.path("perf.data");
    let name = data.to_str().unwrap();
    let record = |how: &[&str]| {
        let _ = std::fs::remove_file(&data);
        perf(
            &[
                &["record", "-q", "-e", "page-faults:u", "-c", "1", "-o", name],
                how,
                &["--", "perf", "--version"],
            ]
            .concat(),
        );
    };
    record(&[]);
    let output = run(&["report", name]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("it has no callers: record with -g"), "{said}");
    let dump = fixture("../corpus/jitdump/v8.dump");
    let output = run(&["report", name, dump.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("describes the code of process 77, which is not in it"), "{said}");
    if perf(&["version", "--build-options"]).lines().any(|line| line.contains("zstd: [ on")) {
        record(&["-z"]);
        let error = fail(&["report", name]);
        assert!(error.contains("is compressed: record without -z"), "{error}");
    }
    let piped = std::process::Command::new("perf")
        .args(["record", "-q", "-e", "page-faults:u", "-o", "-", "--", "perf", "--version"])
        .stdout(std::fs::File::create(&data).unwrap())
        .status()
        .unwrap();
    assert!(piped.success());
    let error = fail(&["flamegraph", name]);
    assert!(error.contains("it was written to a pipe: let perf record write to a file"), "{error}");
}

#[test]
fn code_that_nobody_names_is_said_to_be_there() {
    let _turn = turn();
    let (embedder, folder) = (Embedder::start(), Folder::new());
    let data = folder.path("perf.data");
    perf_record(embedder.pid().parse().unwrap(), data.to_str().unwrap(), 0.5, ["499", "fp"]);
    let output = run(&["report", data.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let share =
        said.split("% of its time is in code that nobody names: wasmprof jitdump PID").next().unwrap();
    let share: f64 =
        share.trim_end().rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{said}"));
    assert!(share > 80.0, "{said}");
}
