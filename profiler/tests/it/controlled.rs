//! Recordings that another program starts and stops, and whose clocks make the samples.

use std::path::Path;

use nix::sys::signal::Signal;
use wasmdbg_profiler::perf::{Event, Options, Sampler, online_cpus};
use wasmdbg_profiler::target::Target;
use wasmdbg_tests::process::{pin, processors, signal};
use wasmdbg_tests::recorder::Recorder;

use crate::support::{Embedder, Folder, command, fixture, json, share, turn, use_cpu};

fn start(embedder: &Embedder, folder: &Folder, out: &Path, hertz: &str) -> Recorder {
    let (pid, out) = (embedder.pid(), out.display().to_string());
    let mut command = command(&["record", "-q", "-F", hertz, "-d", "0", "-p", &pid, "-o", &out]);
    Recorder::start(&mut command, &folder.path(""), "recorder").unwrap()
}

#[test]
fn samples_are_taken_when_another_program_says_so() {
    let _turn = turn();
    let (folder, embedder) = (Folder::new(), Embedder::start());
    let pid = embedder.pid().parse().unwrap();
    let out = folder.path("out.wasmprof");
    let used = || Target::open(pid).unwrap().cpu_seconds().unwrap().0;
    let mut recorder = start(&embedder, &folder, &out, "499");
    let before = used();
    use_cpu(pid, 1.0);
    recorder.write("pause\n").unwrap();
    let begun = used();
    recorder.tell("enable").unwrap();
    use_cpu(pid, 1.0);
    recorder.tell("disable").unwrap();
    let enabled = used() - begun;
    use_cpu(pid, 2.0);
    recorder.tell("ping").unwrap();
    let (said, errors) = recorder.stop().unwrap();
    assert!(errors.contains("\"pause\" is no command: enable, disable, ping and stop are"), "{errors}");
    let profile = json(&out);
    let summary = &profile["summary"];
    assert_eq!(summary["ended"], "stop", "{said}");
    let (counted, all) = (summary["target_cpu"].as_f64().unwrap(), used() - before);
    let sampled = profile["total"].as_u64().unwrap() as f64 / 1e9;
    assert!(all > 4.0 && enabled < 2.0, "{all} {enabled}");
    assert!((counted - enabled).abs() < 0.3, "{counted} of {enabled}: {said}");
    // The clock runs on where a hypervisor takes the processor; a recorder that does not stop has three times as much.
    assert!((0.6..2.0).contains(&(sampled / enabled)), "{sampled} of {enabled}: {said}");
}

/// Where the clocks of processors may be used at all. Others are not interrupted, and a thread that moves is
/// followed.
#[test]
fn the_clocks_are_those_of_the_processors_that_the_process_may_use() {
    let _turn = turn();
    let (folder, embedder) = (Folder::new(), Embedder::start());
    let pid = embedder.pid().parse().unwrap();
    let options =
        Options { event: Event::CpuClock, frequency: 99, stack: 1024, kernel: true, by_thread: false };
    let allowed = Sampler::open(pid, &options).unwrap().processors().is_some();
    let usable = processors().unwrap();
    let (first, last) = (usable[0], *usable.last().unwrap());
    pin(pid, first).unwrap();
    let out = folder.path("out.wasmprof");
    let mut recorder = start(&embedder, &folder, &out, "499");
    recorder.tell("enable").unwrap();
    use_cpu(pid, 1.0);
    pin(pid, last).unwrap();
    use_cpu(pid, 4.0);
    let (said, _) = recorder.stop().unwrap();
    let profile = json(&out);
    let sampled = profile["total"].as_u64().unwrap() as f64 / 1e9;
    // It is seen within a second where it is now.
    assert!(sampled > 2.5, "{sampled}: {said}");
    let (few, all) = (if first == last { 1 } else { 2 }, online_cpus().len());
    if !allowed {
        assert!(!said.contains("by the clock of"), "{said}");
    } else {
        assert_eq!(profile["summary"]["processors"], few, "{said}");
        assert!(said.contains(&format!("by the clock of {few} of {all} processors")), "{said}");
    }
}

#[test]
fn samples_that_are_lost_are_counted_and_said() {
    let _turn = turn();
    let (folder, embedder) = (Folder::new(), Embedder::start());
    let out = folder.path("out.wasmprof");
    let mut recorder = start(&embedder, &folder, &out, "4999");
    recorder.tell("enable").unwrap();
    signal(recorder.pid(), Signal::SIGSTOP).unwrap();
    // More than its buffers hold.
    use_cpu(embedder.pid().parse().unwrap(), 2.0);
    signal(recorder.pid(), Signal::SIGCONT).unwrap();
    // The kernel says how many with the next sample that fits: once they are read, and the process has run on.
    recorder.tell("ping").unwrap();
    use_cpu(embedder.pid().parse().unwrap(), 0.2);
    let (said, errors) = recorder.stop().unwrap();
    assert!(
        errors.contains("of the samples were lost") && errors.contains("a lower -F than 4999"),
        "{errors}"
    );
    let summary = json(&out)["summary"].clone();
    let lost = summary["lost"].as_u64().unwrap();
    assert!(lost > 1000 && said.contains(&format!("{lost} lost")), "{said}");
}

/// The kernel tells of new code only while an event is enabled.
#[test]
fn code_that_came_during_a_pause_is_known() {
    let _turn = turn();
    let (first, second) = (fixture("shares_first.wasm"), fixture("shares_second.wasm"));
    let (folder, embedder) = (Folder::new(), Embedder::with(&first, &second, &["reload"]));
    let pid = embedder.pid().parse().unwrap();
    let out = folder.path("out.wasmprof");
    let mut recorder = start(&embedder, &folder, &out, "3999");
    for _ in 0..30 {
        // Each module is there for some 300 ms.
        use_cpu(pid, 0.25);
        recorder.tell("enable").unwrap();
        use_cpu(pid, 0.02);
        recorder.tell("disable").unwrap();
    }
    let (said, _) = recorder.stop().unwrap();
    let profile = json(&out);
    let parts = ["inlined_third", "half", "fifth"].map(|name| share(&profile, "functions", name));
    // One that is not told apart counts for the other: 0 % of one and more than there is of the other.
    assert!(parts[1] > 5.0 && parts[2] > 5.0, "{parts:?} {said}");
    assert!((70.0..100.5).contains(&parts.iter().sum::<f64>()), "{parts:?} {said}");
}
