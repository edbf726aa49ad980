//! Frames as a programmer counts them: inlined calls are frames too. Owns the expansion of activations
//! into frames and what is hidden at the start of an inlined call.

use wasmdbg_symbols::{InstanceId, Language, ModulePc, SourceFrame};

use crate::error::Error;
use crate::source::Position;
use crate::target::Target;

/// One frame of a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// 0 is the innermost.
    pub number: u32,
    /// The Wasm activation that holds it (several inlined frames share one); 0 is the innermost.
    pub activation: u32,
    /// How many inlined calls deep inside that activation; 0 is the function itself.
    pub depth: u32,
    /// Offset in the `.wasm` file: the opcode that runs next, in callers the one behind the call.
    pub pc: ModulePc,
    /// The function's name, demangled.
    pub function: String,
    /// Where it stands; `None` without line tables or in generated code.
    pub position: Option<Position>,
    /// The line is only near: the debug info has none for this very code.
    pub approximate: bool,
    /// It is an inlined call.
    pub inlined: bool,
}

/// A frame with what its variables and steps need.
#[derive(Debug, Clone)]
pub(crate) struct Scoped {
    pub(crate) frame: Frame,
    /// `None` without debug info.
    pub(crate) instance: Option<InstanceId>,
    /// The pc to ask about: in callers one before the return address.
    pub(crate) lookup: ModulePc,
    /// Index of the Wasm function.
    pub(crate) function: u32,
    pub(crate) language: Language,
}

/// Frames of a stop, expanded from the inside out as far as anyone asked.
#[derive(Debug, Default)]
pub(crate) struct Expansion {
    frames: Vec<Scoped>,
    next_activation: u32,
    complete: bool,
}

impl Expansion {
    /// Expands until frame `number` is there or all are; `hidden` inlined frames of the innermost
    /// activation are left out.
    pub(crate) fn reach(&mut self, target: &Target, hidden: u32, number: u32) -> Result<(), Error> {
        while !self.complete && self.frames.len() <= number as usize {
            let index = self.next_activation;
            let Some(activation) = target.activation(index)? else {
                self.complete = true;
                break;
            };
            let lookup = Target::lookup_pc(index, &activation);
            let mut sources = source_frames(target, activation.function, lookup);
            if index == 0 {
                sources.drain(..(hidden as usize).min(sources.len().saturating_sub(1)));
            }
            let deepest = sources.len() as u32 - 1;
            for (inner, source) in sources.into_iter().enumerate() {
                let frame = Frame {
                    number: self.frames.len() as u32,
                    activation: index,
                    depth: deepest - inner as u32,
                    pc: activation.pc,
                    function: source.name.full.to_string(),
                    position: source.position.as_ref().map(Position::from),
                    approximate: source.approximate,
                    inlined: source.inlined,
                };
                self.frames.push(Scoped {
                    frame,
                    instance: source.instance,
                    lookup,
                    function: source.function,
                    language: source.language,
                });
            }
            self.next_activation += 1;
        }
        Ok(())
    }

    pub(crate) fn frames(&self) -> &[Scoped] {
        &self.frames
    }
}

/// The frames at a pc, innermost first; never empty.
pub(crate) fn source_frames(target: &Target, function: u32, lookup: ModulePc) -> Vec<SourceFrame> {
    let frames = target.symbols().map_or_else(Vec::new, |symbols| symbols.frames(lookup));
    if !frames.is_empty() {
        return frames;
    }
    let name = match target.symbols() {
        Some(symbols) => symbols.function_name(function),
        None => {
            let name: std::sync::Arc<str> = format!("func[{function}]").into();
            wasmdbg_symbols::FunctionName { full: std::sync::Arc::clone(&name), short: name }
        }
    };
    let language = Language::Other;
    vec![SourceFrame {
        instance: None,
        name,
        position: None,
        approximate: false,
        inlined: false,
        function,
        language,
    }]
}

#[cfg(test)]
mod tests {
    use wasmdbg_control::server::answer_each;
    use wasmdbg_control::session::Welcome;
    use wasmdbg_control::stop::{Context, Frame as WireFrame, FrameList, MAX_FRAMES, StopReason, Stopped};
    use wasmdbg_control::{
        Client, Connection, ContextId, FilterId, ModuleHash, PROTOCOL_VERSION, Reply, Request, SlotId,
        StopId, WireError,
    };

    use super::*;

    /// A proxy that has frames without end; it says nothing when it is asked for twice the most.
    fn endless(request: Request) -> Option<Result<Reply, WireError>> {
        Some(Ok(match request {
            Request::Frames(asked) if asked.first < 2 * MAX_FRAMES => {
                let frame = WireFrame { function: 0, pc: ModulePc(0), locals: vec![], operands: vec![] };
                FrameList { frames: vec![frame; asked.count as usize], frame_count: u32::MAX }.into()
            }
            Request::Hello(_) => Welcome {
                protocol: PROTOCOL_VERSION,
                plugin: String::new(),
                host: String::new(),
                pid: 1,
                capabilities: vec![],
            }
            .into(),
            _ => return None,
        }))
    }

    #[test]
    fn frames_without_end_are_read_as_far_as_a_stack_can_have_them() {
        let (ours, theirs) = Connection::memory().unwrap();
        let proxy = std::thread::spawn(move || answer_each(theirs, endless));
        let (client, _events) = Client::greet(ours, "a test").unwrap();
        let info = Stopped {
            stop: StopId(1),
            slot: SlotId(1),
            filter: FilterId(0),
            filter_name: String::new(),
            module: ModuleHash([0; 32]),
            context: Context::Root { id: ContextId(1) },
            callback: String::new(),
            reason: StopReason::Interrupt,
            control: true,
            deadline_ms: 1000,
            frames: vec![],
            frame_count: u32::MAX,
            fresh_vm: false,
        };
        let (mut expansion, target) = (Expansion::default(), Target::new(client, info, None));
        expansion.reach(&target, 0, u32::MAX).unwrap();
        assert_eq!(expansion.frames().len(), MAX_FRAMES as usize);
        drop(target);
        proxy.join().unwrap();
    }
}
