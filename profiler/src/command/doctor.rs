//! `wasmprof doctor`: tries what a recording needs and says what to change.

use std::ffi::OsString;
use std::fs;

use anyhow::{Result, bail};
use wasmdbg_profiler::perf::{Event, Options, Sampler, paranoid};

pub(super) fn run(arguments: Vec<OsString>) -> Result<()> {
    if !arguments.is_empty() {
        bail!("usage: wasmprof doctor");
    }
    let root = nix::unistd::geteuid().is_root();
    say!("user: {}", if root { "root" } else { "not root: only processes of this user can be sampled" });
    match paranoid() {
        None => say!("perf events: this kernel has none (CONFIG_PERF_EVENTS)"),
        Some(level) if level > 2 => say!(
            "kernel.perf_event_paranoid: {level}: on many systems nobody but root may sample then; as root: sysctl kernel.perf_event_paranoid=2"
        ),
        Some(2) => say!(
            "kernel.perf_event_paranoid: 2: own processes, program only; for the kernel's frames as root: sysctl kernel.perf_event_paranoid=1"
        ),
        Some(level) => say!("kernel.perf_event_paranoid: {level}: own processes, with the kernel"),
    }
    let clock = try_event(Event::CpuClock);
    let works = clock.is_ok();
    say!("event {}: {}", Event::CpuClock, clock.unwrap_or_else(|error| error));
    for event in [Event::Cycles, Event::Instructions] {
        say!("event {event}: {}", try_event(event).unwrap_or_else(|error| error));
    }
    say!("memory of other processes: {}", ptrace_scope());
    let hidden = fs::read_to_string("/proc/kallsyms")
        .is_ok_and(|text| text.lines().next().is_some_and(|line| line.starts_with("0000000000000000")));
    let kernel = if hidden { "hidden; as root: sysctl kernel.kptr_restrict=0" } else { "there" };
    say!("kernel symbols: {kernel}");
    let lock = fs::read_to_string("/proc/sys/kernel/perf_event_mlock_kb").unwrap_or_default();
    say!(
        "ring buffers: kernel.perf_event_mlock_kb is {}, {}",
        lock.trim(),
        match lock.trim().parse::<u64>() {
            Ok(kilobytes) if kilobytes < 516 && !root => "as root: sysctl kernel.perf_event_mlock_kb=516",
            _ => "enough",
        }
    );
    if !works {
        bail!("recording is not possible here: see what event {} says", Event::CpuClock);
    }
    Ok(())
}

/// Opens an event of this process, which is what a recording does with another one.
fn try_event(event: Event) -> Result<String, String> {
    let options = Options { event, frequency: 99, stack: 1024, kernel: true };
    match Sampler::open(std::process::id(), &options) {
        Ok(sampler) if sampler.samples_kernel() => Ok("works, with the kernel".to_owned()),
        Ok(_) => Ok("works, program only".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn ptrace_scope() -> &'static str {
    match fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default().trim() {
        "" | "0" => "own processes",
        "1" => {
            "only children: kernel.yama.ptrace_scope is 1; as root: sysctl kernel.yama.ptrace_scope=0, or setcap cap_sys_ptrace=ep on wasmprof"
        }
        "2" => {
            "only with cap_sys_ptrace: kernel.yama.ptrace_scope is 2; as root: setcap cap_sys_ptrace=ep on wasmprof"
        }
        _ => "nobody: kernel.yama.ptrace_scope is 3 until the next boot",
    }
}
