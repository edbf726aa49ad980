//! What `wasmprof record` says: how far it is, what it has, and what makes that less than it could be.

use std::io::Write;
use std::time::Duration;

use wasmdbg_profiler::descriptions::Descriptions;
use wasmdbg_profiler::limits::on_one_line;
use wasmdbg_profiler::perf::{self, Event, Options};
use wasmdbg_profiler::recorder::Progress;
use wasmdbg_profiler::recording::Summary;
use wasmdbg_profiler::target::Target;
use wasmdbg_profiler::target::permission::{self, CAPABILITIES, Facts};

use super::args::DEFAULT_STACK;

/// Up to this frequency the kernel's own tick mostly comes first: the timer need not be set for each thread.
const SLOW: u64 = 250;

/// Why there are no samples, and what to do.
pub(super) fn why_none(summary: &Summary, target: &Target, event: Event) -> String {
    let pid = target.pid();
    if target.is_stopped() {
        format!("process {pid} is stopped (by SIGSTOP, or by a debugger)")
    } else if summary.seconds == 0.0 {
        "sampling was disabled all the time".to_owned()
    } else if summary.ended == "interrupt" && summary.seconds < 0.5 {
        format!("it was {:.1} s: record for longer", summary.seconds)
    } else if event == Event::CpuClock {
        format!(
            "process {pid} used hardly any CPU in this time (its children do not count); send it load and record again"
        )
    } else {
        format!("process {pid} had no {event} in this time (its children do not count)")
    }
}

pub(super) fn print_progress(progress: &Progress, duration: Duration, enabled: bool) {
    let of = if duration.is_zero() { String::new() } else { format!(" of {:.0}", duration.as_secs_f64()) };
    eprint!(
        "\r\x1b[K{:.1}{of} s: {} samples, {} in modules, {} lost{}",
        progress.elapsed.as_secs_f64(),
        progress.samples,
        progress.wasm,
        progress.lost,
        if enabled { "" } else { "; paused" }
    );
    let _ = std::io::stderr().flush();
}

/// Descriptions of code that name none of this process.
pub(super) fn print_unnamed(descriptions: &Descriptions, target: &Target) {
    for (path, of) in descriptions.of_others(target.inner_pid()) {
        let (path, pid) = (path.display(), target.pid());
        let text = format!("{path} describes the code of process {of}, not of {pid}");
        eprintln!("wasmprof: {}", on_one_line(&text));
    }
    for problem in descriptions.problems() {
        eprintln!("wasmprof: code is not named by it: {problem}");
    }
}

/// What the recorder may not do, and what that costs.
pub(super) fn print_limits(target: &Target, options: &Options, progress: &Progress) {
    if let Some(refusal) = target.refusal() {
        eprintln!("wasmprof: {refusal}");
        eprintln!(
            "wasmprof: code is named by what the process itself gives out; what it does not is unknown"
        );
    }
    if options.kernel && !progress.kernel {
        eprintln!("wasmprof: the kernel is not sampled: {}", Facts::of(target.pid()).kernel());
    }
    let Options { event, frequency, by_thread, .. } = *options;
    if event == Event::CpuClock && frequency > SLOW && progress.processors.is_none() && !by_thread {
        eprintln!(
            "wasmprof: the clocks of the threads were sampled, which above {SLOW} Hz costs the process more whenever a thread \
             sleeps: those of the processors are for root, or {CAPABILITIES}"
        );
    }
}

/// Why samples of the kernel have no functions, if there are some.
pub(super) fn print_kernel_names(progress: &Progress) {
    if progress.kernel
        && let Some(why) = permission::kernel_names()
    {
        eprintln!("wasmprof: the kernel's functions have no names: {why}");
    }
}

pub(super) fn print_summary(summary: &Summary, pid: u32, wall: Duration) {
    let ended = match summary.ended.as_str() {
        "exit" => format!(" (process {pid} ended)"),
        "interrupt" => " (interrupted)".to_owned(),
        _ => String::new(),
    };
    say!(
        "{} samples in {:.1} s{ended}: {} lost, {} unresolved, throttled {} times",
        summary.samples,
        summary.seconds,
        summary.lost,
        summary.unresolved,
        summary.throttled
    );
    if let (Some(rate), Some(used)) = (summary.rate, summary.target_cpu) {
        say!("rate: {rate:.1} samples per CPU second ({used:.2} CPU s of the process)");
    }
    if let Some(count) = summary.processors {
        say!(
            "by the clock of {count} of {} processors, on which the process may run",
            perf::online_cpus().len()
        );
    }
    let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 * 100.0 / of as f64 };
    say!(
        "in modules: {} samples ({:.1} %), {:.1} % of them with the whole stack",
        summary.wasm,
        share(summary.wasm, summary.samples),
        share(summary.wasm_rooted, summary.wasm)
    );
    say!(
        "own cost: {:.0} ms CPU ({:.2} % of one processor)",
        summary.own_cpu * 1000.0,
        summary.own_cpu * 100.0 / wall.as_secs_f64().max(0.001)
    );
}

/// What makes a recording less than it could be.
pub(super) fn print_doubts(summary: &Summary, options: &Options) {
    let asked = summary.samples + summary.lost;
    if summary.lost * 100 > asked {
        eprintln!(
            "wasmprof: {:.0} % of the samples were lost, more where there is more to say: a lower -F than {} gives right shares",
            summary.lost as f64 * 100.0 / asked as f64,
            options.frequency
        );
    }
    if let Some(stolen) = summary.stolen.filter(|stolen| *stolen > MUCH) {
        eprintln!(
            "wasmprof: a hypervisor took {:.0} % of the processors' time meanwhile, which counts where the process was interrupted: \
             shares may be far off; record again when the machine is quieter",
            stolen * 100.0
        );
    }
    if let Some(missing) = not_sampled(summary, options).filter(|missing| *missing > MUCH) {
        eprintln!(
            "wasmprof: {:.0} % of the process's CPU time has no samples: its threads moved to other processors, or lived for a \
             moment",
            missing * 100.0
        );
    }
    if summary.unfollowed > 0 {
        eprintln!(
            "wasmprof: {} threads that came meanwhile, or processors that they moved to, have no samples: raise ulimit -n",
            summary.unfollowed
        );
    }
    if options.stack < DEFAULT_STACK && summary.wasm_rooted * 10 < summary.wasm * 9 {
        eprintln!(
            "wasmprof: stacks are cut off, and what a filter calls does not count for it: use a larger --stack"
        );
    }
}

/// Shares above this one are worth a line.
const MUCH: f64 = 0.1;

/// The part of the CPU time for which there should be samples and are none, when there was enough time to tell.
fn not_sampled(summary: &Summary, options: &Options) -> Option<f64> {
    // How much of the time was the program's alone is not known so well.
    let known = options.event == Event::CpuClock && options.kernel;
    let used = summary.target_cpu.filter(|used| known && *used > 0.5)?;
    let taken = (summary.samples + summary.lost) as f64 / options.frequency as f64;
    Some(1.0 - taken / used)
}
