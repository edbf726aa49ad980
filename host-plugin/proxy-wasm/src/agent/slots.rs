//! The threads, the code and the engine of the debug lane: made when a session needs them, gone after
//! the last one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use wasmdbg_control::{ModuleHash, SlotId};

use super::Agent;
use crate::abi::linker::link;
use crate::abi::table::Lane;
use crate::debug::DebugLane;
use crate::debug::engine::{DebugEngine, DebugModule};
use crate::debug::lane::{Note, SlotCode};
use crate::debug::slot::{Job, Slot};
use crate::debug::worker::{Worker, refuse};
use crate::embedder::{Level, ThreadHandle};
use crate::filter::Filter;

/// See the module.
pub(super) struct Crew {
    lane: Arc<DebugLane>,
    cache_folder: Option<PathBuf>,
    engine: Option<DebugEngine>,
    modules: BTreeMap<ModuleHash, Arc<DebugModule>>,
    /// Modules that are being compiled.
    compiling: Vec<ModuleHash>,
    threads: BTreeMap<SlotId, Box<dyn ThreadHandle>>,
    /// Slots whose thread could not be made.
    orphans: Vec<(Arc<Slot>, Receiver<Job>)>,
}

impl Crew {
    pub(super) fn new(lane: Arc<DebugLane>, cache_folder: Option<PathBuf>) -> Self {
        Self {
            lane,
            cache_folder,
            engine: None,
            modules: BTreeMap::new(),
            compiling: Vec::new(),
            threads: BTreeMap::new(),
            orphans: Vec::new(),
        }
    }

    /// Code images of the lane: one per module, and a copy for each slot.
    pub(super) fn images(&self) -> u64 {
        (self.modules.len() + self.threads.len()) as u64
    }

    pub(super) fn module(&self, hash: ModuleHash) -> Option<&Arc<DebugModule>> {
        self.modules.get(&hash)
    }

    /// Starts compiling a filter's module, unless that is done or under way.
    ///
    /// # Errors
    /// There is no engine for this machine.
    pub(super) fn compile(&mut self, filter: &Filter) -> Result<(), String> {
        let hash = filter.module();
        if self.modules.contains_key(&hash) || self.compiling.contains(&hash) {
            return Ok(());
        }
        let engine = match &mut self.engine {
            Some(engine) => engine,
            none => {
                let background = self.lane.runtime.embedder.compiles_in_background();
                let made = DebugEngine::new(self.cache_folder.clone(), background);
                none.insert(
                    made.map_err(|error| format!("there is no debug engine on this machine: {error:#}"))?,
                )
            }
        };
        self.compiling.push(hash);
        let lane = Arc::clone(&self.lane);
        let told = move |result, warning| lane.note(Note::Compiled(hash, result, warning));
        engine.compile(hash, Arc::clone(filter.module_bytes()), Box::new(told));
        Ok(())
    }

    /// Makes it possible to make slots of a filter whose module is compiled.
    ///
    /// # Errors
    /// The module cannot be linked.
    pub(super) fn prepare(&self, filter: &Filter) -> Result<(), String> {
        let (Some(engine), Some(module)) = (&self.engine, self.modules.get(&filter.module())) else {
            return Err(String::from("the module is not compiled: a fault of the plugin"));
        };
        let instance = link(engine.engine(), &module.module, filter.core(), Lane::Debug)
            .map_err(|error| error.to_string())?;
        let code = SlotCode {
            core: Arc::clone(filter.core()),
            engine: engine.engine().clone(),
            module: Arc::clone(module),
            instance,
        };
        self.lane.tables().codes.entry(filter.id()).or_insert_with(|| Arc::new(code));
        Ok(())
    }

    pub(super) fn compiled(&mut self, hash: ModuleHash, module: Option<DebugModule>) {
        self.compiling.retain(|other| *other != hash);
        if let Some(module) = module {
            self.modules.insert(hash, Arc::new(module));
        }
    }

    /// Gives a slot its thread.
    pub(super) fn spawn(&mut self, slot: Arc<Slot>, jobs: Receiver<Job>, code: Arc<SlotCode>) {
        // Thread names have 15 bytes.
        let name = format!("[WASMDBG {}]", slot.id);
        // The jobs get lost with a body that never runs: they travel in a cell that stays here as well.
        let cell = Arc::new(std::sync::Mutex::new(Some(jobs)));
        let body = {
            let (lane, slot, cell) = (Arc::clone(&self.lane), Arc::clone(&slot), Arc::clone(&cell));
            Box::new(move || {
                let jobs = cell.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
                if let Some(jobs) = jobs {
                    Worker::run(lane, slot, code, jobs);
                }
            })
        };
        match self.lane.runtime.embedder.spawn(&name, body) {
            Ok(thread) => {
                self.threads.insert(slot.id, thread);
            }
            Err(reason) => {
                slot.orphan.store(true, Ordering::Release);
                self.lane.slot_failed(&slot, format!("there is no thread for its virtual machine: {reason}"));
                let jobs = cell.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
                self.orphans.extend(jobs.map(|jobs| (slot, jobs)));
            }
        }
    }

    /// A slot's thread is at its end.
    pub(super) fn gone(&mut self, id: SlotId) {
        self.lane.drop_slot(id);
        if let Some(thread) = self.threads.remove(&id) {
            thread.join();
        }
    }

    /// Stands in for threads that could not be made, and takes everything down when nobody needs it.
    pub(super) fn tidy(&mut self) {
        let lane = Arc::clone(&self.lane);
        self.orphans.retain(|(slot, jobs)| {
            while let Ok(job) = jobs.try_recv() {
                refuse(&lane, slot, job);
            }
            let mut tables = lane.tables();
            let bound = slot.lock().bound.is_some();
            if !bound {
                tables.slots.retain(|other| other.id != slot.id);
            }
            bound
        });
        if self.engine.is_none() || lane.any_session() || !self.compiling.is_empty() {
            return;
        }
        if !self.threads.is_empty() || !self.orphans.is_empty() || !lane.tables().slots.is_empty() {
            return;
        }
        self.modules.clear();
        self.engine = None;
    }
}

impl Agent {
    /// What other threads have to tell.
    pub(super) fn heed(&mut self, note: Note) {
        match note {
            Note::Compiled(hash, result, warning) => {
                if let Some(warning) = warning {
                    let text = format!("the cache of compiled code: {warning}");
                    self.lane.runtime.log(Level::Warn, "wasmdbg", None, &text);
                }
                match result {
                    Ok(module) => self.crew.compiled(hash, Some(module)),
                    Err(error) => {
                        self.crew.compiled(hash, None);
                        let text = error.to_string();
                        for filter in self.filters.clone() {
                            if filter.module() == hash {
                                self.fail_lane(filter.id(), &text);
                            }
                        }
                    }
                }
            }
            Note::Spawn(slot, jobs, code) => self.crew.spawn(slot, jobs, code),
            // Attaches look at their slots in each turn.
            Note::Ready => {}
            Note::Failed(filter, reason) => self.slot_failed(filter, &reason),
            Note::Gone(id) => self.crew.gone(id),
        }
    }
}
