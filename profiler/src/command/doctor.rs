//! `wasmprof doctor`: tries what a recording needs and says what to change.

use std::ffi::OsString;
use std::fs;

use anyhow::{Result, bail};
use lexopt::prelude::{Long, Short, Value, ValueExt};
use wasmdbg_profiler::descriptions::Descriptions;
use wasmdbg_profiler::limits::Cancel;
use wasmdbg_profiler::modules::Modules;
use wasmdbg_profiler::perf::{Event, Options, Sampler};
use wasmdbg_profiler::target::Target;
use wasmdbg_profiler::target::permission::{self, CAPABILITIES, Capability, paranoid};

use super::input::number;

const HELP: &str = "\
usage: wasmprof doctor [PID]

Tries what a recording needs, of any process or of the one with this pid, and says what to change.
";

pub(super) fn run(arguments: Vec<OsString>) -> Result<()> {
    let mut pid = None;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('p') | Long("pid") => pid = Some(number(&mut parser, "--pid")?),
            Value(value) if pid.is_none() => {
                let text = value.string()?;
                let Ok(value) = text.parse() else { bail!("{text:?} is no pid") };
                pid = Some(value);
            }
            Short('h') | Long("help") => {
                say!("{}", HELP.trim_end());
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    match pid {
        Some(pid) => look_at(pid),
        None => look_around(),
    }
}

/// One process.
fn look_at(pid: u32) -> Result<()> {
    let target = Target::open(pid)?;
    let sampled = try_event(Event::CpuClock, pid);
    let memory = target.refusal();
    let mut modules = Modules::new();
    let asked = modules.ask_proxy(&target, None);
    let images = modules.images().len();
    say!("event {}: {}", Event::CpuClock, either(&sampled));
    say!("memory: {}", memory.as_deref().unwrap_or("can be read"));
    match &asked {
        Ok(true) => say!(
            "control socket: answers, and gives the code of {images} filter{}",
            if images == 1 { "" } else { "s" }
        ),
        Ok(false) => say!("control socket: none: no wasmdbg.so, or `control.enabled: false` in its settings"),
        Err(error) => say!("control socket: {error}"),
    }
    if sampled.is_err() {
        bail!("recording is not possible: see what event {} says", Event::CpuClock);
    }
    if memory.is_some() && images == 0 {
        let mut descriptions = Descriptions::new();
        descriptions.look(&target, &[], &Cancel::default());
        if descriptions.is_empty() {
            bail!(
                "its code can be had neither from its memory nor over the control socket: only a jitdump or a perf map, by record --code FILE, names it then"
            );
        }
        say!("perf map: there, and names its code");
    }
    Ok(())
}

fn either(result: &Result<String, String>) -> &str {
    match result {
        Ok(text) | Err(text) => text,
    }
}

/// The machine and this user.
fn look_around() -> Result<()> {
    let root = nix::unistd::geteuid().is_root();
    let (any, traces) = (permission::has(Capability::Perfmon), permission::has(Capability::SysPtrace));
    let whose = match (root, any) {
        (true, _) => "root",
        (_, true) => "not root, with cap_perfmon: processes of all users can be sampled",
        _ => "not root: only processes of this user can be sampled",
    };
    say!("user: {whose}");
    match paranoid() {
        None => say!("perf events: this kernel has none (CONFIG_PERF_EVENTS)"),
        Some(level) if root => say!("kernel.perf_event_paranoid: {level}: holds for others than root"),
        Some(level) if any => say!("kernel.perf_event_paranoid: {level}: does not hold with cap_perfmon"),
        Some(level) if level > 2 => say!(
            "kernel.perf_event_paranoid: {level}: on many systems nobody but root may sample then; as root: sysctl kernel.perf_event_paranoid=2"
        ),
        Some(2) => say!(
            "kernel.perf_event_paranoid: 2: own processes, program only; for the kernel's frames as root: sysctl kernel.perf_event_paranoid=1"
        ),
        Some(level) => say!("kernel.perf_event_paranoid: {level}: own processes, with the kernel"),
    }
    let own = std::process::id();
    let clock = try_event(Event::CpuClock, own);
    say!("event {}: {}", Event::CpuClock, either(&clock));
    for event in [Event::Cycles, Event::Instructions] {
        say!("event {event}: {}", either(&try_event(event, own)));
    }
    say!("memory of other processes: {}", if root || traces { String::from("all") } else { ptrace_scope() });
    say!("kernel symbols: {}", permission::kernel_names().as_deref().unwrap_or("there"));
    let lock = fs::read_to_string("/proc/sys/kernel/perf_event_mlock_kb").unwrap_or_default();
    say!(
        "ring buffers: kernel.perf_event_mlock_kb is {}, {}",
        lock.trim(),
        match lock.trim().parse::<u64>() {
            Ok(kilobytes) if kilobytes < 516 && !root => "as root: sysctl kernel.perf_event_mlock_kb=516",
            _ => "enough",
        }
    );
    if clock.is_err() {
        bail!("recording is not possible here: see what event {} says", Event::CpuClock);
    }
    Ok(())
}

/// Opens an event of a process.
fn try_event(event: Event, pid: u32) -> Result<String, String> {
    let options = Options { event, frequency: 99, stack: 1024, kernel: true, by_thread: false };
    let sampler = Sampler::open(pid, &options).map_err(|error| error.to_string())?;
    let kernel = if sampler.samples_kernel() { "with the kernel" } else { "program only" };
    let clock = match event {
        Event::CpuClock if sampler.processors().is_some() => ", by the clocks of the processors",
        Event::CpuClock => &format!(
            ", by the clocks of the threads: at more than 250 Hz these cost more where threads sleep often; {CAPABILITIES}"
        ),
        _ => "",
    };
    Ok(format!("works, {kernel}{clock}"))
}

fn ptrace_scope() -> String {
    match fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default().trim() {
        "" | "0" => String::from("own processes"),
        "1" => format!(
            "only children: kernel.yama.ptrace_scope is 1; as root: sysctl kernel.yama.ptrace_scope=0, or {CAPABILITIES}"
        ),
        "2" => format!("only with cap_sys_ptrace: kernel.yama.ptrace_scope is 2; {CAPABILITIES}"),
        _ => String::from("nobody: kernel.yama.ptrace_scope is 3 until the next boot"),
    }
}
