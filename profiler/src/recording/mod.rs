//! The recording file: what it holds, and how it is written and read. One versioned format, described in
//! `docs/RECORDING_FORMAT.md`; readable up to the last whole record after a crash of the recorder.
//!
//! It holds addresses of code, names, and modules. It never holds a byte of a stack or of a memory: what
//! a request carried cannot be in it.

mod bytes;
mod described;
mod read;
mod stacks;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmdbg_control::ModuleHash;

pub use read::ReadError;
pub use stacks::{Stack, Stacks};
pub use write::Writer;

use crate::code::address_map::AddressMap;
use crate::code::image::CompiledFunction;
use crate::code::timeline::JitCode;
use crate::target::space::ObjectId;
use crate::unwind::RawFrame;

/// The first bytes of a file.
pub const MAGIC: &[u8; 8] = b"WASMPROF";

/// The version of the format that is written. Others are refused.
pub const VERSION: u32 = 2;

/// Everything in a recording.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// How it was made.
    pub info: Info,
    /// What holds code, by number.
    pub objects: BTreeMap<u32, ObjectInfo>,
    /// Functions of compiled modules.
    pub functions: BTreeMap<u32, Vec<CompiledFunction>>,
    /// Places of compiled modules.
    pub address_maps: BTreeMap<u32, AddressMap>,
    /// The modules.
    pub modules: BTreeMap<ModuleHash, Arc<[u8]>>,
    /// Unstripped copies of modules, or their source maps, by the hash of the module that runs.
    pub debug_files: BTreeMap<ModuleHash, Arc<[u8]>>,
    /// Distinct frames.
    pub frames: Vec<RawFrame>,
    /// Distinct stacks.
    pub stacks: Stacks,
    /// Samples by the order of their drain.
    pub samples: Vec<SampleRow>,
    /// Names of threads.
    pub threads: BTreeMap<u32, String>,
    /// Names of frames of the host and the kernel, by their index.
    pub names: BTreeMap<u32, Arc<str>>,
    /// Code that another program described. A frame's address in such an object is the code's number, shifted
    /// left by 32, and the offset in it. In a file the frames are of unknown code; see
    /// [`Recording::describe`].
    pub jit: Vec<JitCode>,
    /// Names before a colon in [`Recording::jit`] that are filters.
    pub jit_filters: BTreeSet<String>,
    /// The end, unless the recorder died.
    pub summary: Option<Summary>,
}

/// How a recording was made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Name and version of the recorder.
    pub recorder: String,
    /// The target.
    pub pid: u32,
    /// Its command line's program.
    pub program: String,
    /// `cpu-clock`, `cycles`, …
    pub event: String,
    /// The unit of weights.
    pub unit: String,
    /// Samples a second that were asked of the kernel.
    pub frequency: u64,
    /// Whether the kernel was sampled too.
    pub kernel: bool,
    /// Seconds since 1970.
    pub started: u64,
}

/// Something that holds code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ObjectInfo {
    /// An ELF file.
    Host {
        /// Path in the target's file system.
        path: String,
        /// Where the recorder read it.
        reached: Option<String>,
        /// Build id in hex.
        build_id: Option<String>,
    },
    /// A compiled module.
    Wasm(WasmInfo),
    /// Code that a jitdump or a perf map described, see [`Recording::jit`].
    Jit {
        /// What described it.
        source: String,
    },
}

/// See [`ObjectInfo::Wasm`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WasmInfo {
    /// Filters that run it, or the module's file.
    pub filters: Vec<String>,
    /// The module; none when it was not found.
    pub module: Option<ModuleHash>,
    /// wasmtime's version.
    pub engine: Option<String>,
    /// `fast` or `debug`.
    pub lane: String,
    /// Counts the images at one place, from 0.
    pub generation: u32,
    /// When it was first seen, CLOCK_MONOTONIC in ns.
    pub seen: u64,
    /// How its module was found: `socket`, `memory`, `file`.
    pub source: String,
    /// Why names or places are missing.
    pub problem: Option<String>,
}

impl WasmInfo {
    /// What a profile calls its code: `filter NAME`, with what tells it from other code of that filter.
    #[must_use]
    pub fn label(&self) -> String {
        let mut name = String::from("filter ");
        name.push_str(&if self.filters.is_empty() {
            String::from("module")
        } else {
            self.filters.join(" or ")
        });
        if self.lane == "debug" {
            name.push_str(", debug lane");
        }
        if self.generation > 0 {
            name.push_str(&format!(", generation {}", self.generation));
        }
        name
    }
}

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleRow {
    /// CLOCK_MONOTONIC, ns.
    pub time: u64,
    /// The thread.
    pub tid: u32,
    /// Index into [`Recording::stacks`].
    pub stack: u32,
    /// Its weight.
    pub weight: u64,
}

/// What the recorder says at the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Seconds of recording, without pauses.
    pub seconds: f64,
    /// Samples.
    pub samples: u64,
    /// Samples that the kernel could not deliver.
    pub lost: u64,
    /// Times that the kernel slowed sampling down.
    pub throttled: u64,
    /// Samples with an innermost frame that belongs to no known code.
    pub unresolved: u64,
    /// Samples with a frame of a module.
    pub wasm: u64,
    /// Of these, those whose stack reaches the thread's first function.
    pub wasm_rooted: u64,
    /// CPU seconds of the target meanwhile, if it lived.
    pub target_cpu: Option<f64>,
    /// Samples per CPU second of the target.
    pub rate: Option<f64>,
    /// CPU seconds of the recorder.
    pub own_cpu: f64,
    /// Why it ended: `time`, `samples`, `interrupt`, `stop`, `exit`.
    pub ended: String,
    /// Processors whose clocks made the samples; none when an event of each thread did.
    #[serde(default)]
    pub processors: Option<usize>,
    /// The part of the time in which the sampled processors would have run that a hypervisor took; none when unknown.
    #[serde(default)]
    pub stolen: Option<f64>,
    /// Threads that came meanwhile, or processors that they moved to, without samples: descriptors ran out.
    #[serde(default)]
    pub unfollowed: u64,
}

/// A range of the text as the recording has it.
pub(crate) type TextRange = Range<u32>;

impl Recording {
    /// The object with this number.
    #[must_use]
    pub fn object(&self, id: ObjectId) -> Option<&ObjectInfo> {
        self.objects.get(&id.0)
    }

    /// Sum of all weights.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.samples.iter().map(|sample| sample.weight).sum()
    }
}
