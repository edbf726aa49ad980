use std::sync::atomic::{AtomicUsize, Ordering};

use wasmdbg_control::code::{CodeList, Lane};
use wasmdbg_control::filters::{FilterCounters, FilterList, FilterState, ModuleBytes};
use wasmdbg_control::{FilterId, Message, Request};

use super::*;
use crate::limits::Budget;
use crate::target::proxy::tests::FakeProxy;

/// A module with one function, of which each has its own constant, and so many bytes of debug info.
fn module(number: u8, debug_info: usize) -> Vec<u8> {
    let mut bytes = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x08\x01\x06\0\x41".to_vec();
    bytes.extend([number, 0x1a, 0x00, 0x0b]);
    if debug_info > 0 {
        let length = (debug_info + 12) as u32;
        bytes.push(0);
        bytes.extend([length as u8 & 0x7f | 0x80, (length >> 7) as u8]);
        bytes.extend(b"\x0b.debug_info");
        bytes.resize(bytes.len() + debug_info, number);
    }
    bytes
}

fn hash(module: &[u8]) -> ModuleHash {
    ModuleHash::of(module)
}

/// A folder with the modules of filters that are called `filter0`, `filter1`, ….
struct Filters {
    folder: PathBuf,
    reads: Arc<AtomicUsize>,
    modules: Modules,
    _proxy: FakeProxy,
}

impl Filters {
    /// Their code lies at 0x1000, 0x2000, …, and has `code` bytes.
    fn start(name: &str, files: Vec<Vec<u8>>, budget: Budget, code: u64) -> Self {
        let folder = std::env::temp_dir().join(format!("wasmprof-modules-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (number, bytes) in files.iter().enumerate() {
            std::fs::write(folder.join(format!("{number}.wasm")), bytes).unwrap();
        }
        let reads = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&reads);
        let (socket, proxy) = FakeProxy::start(name, move |peer, id, request| {
            let body = match request {
                Request::Filters(_) => {
                    let filters = files.iter().enumerate().map(|(number, bytes)| filter(number, bytes));
                    FilterList { filters: filters.collect() }.into()
                }
                Request::Code(_) => {
                    let images = files.iter().enumerate().map(|(number, bytes)| CodeImage {
                        filter: FilterId(number as u32),
                        name: format!("filter{number}"),
                        module: hash(bytes),
                        lane: Lane::Fast,
                        generation: 0,
                        address: (number as u64 + 1) * 0x1000,
                        size: code,
                        functions: 1,
                    });
                    CodeList { images: images.collect() }.into()
                }
                Request::ReadModule(asked) => {
                    count.fetch_add(1, Ordering::Relaxed);
                    let data = files.iter().find(|bytes| hash(bytes) == asked.module).unwrap().clone();
                    ModuleBytes { size: data.len() as u64, data }.into()
                }
                other => panic!("{other:?}"),
            };
            peer.send(&Message::Response { id, body });
        });
        let mut modules = Modules::within(budget);
        (modules.proxy, modules.root) = (Some(proxy), folder.clone());
        modules.ask_again();
        Self { folder, reads, modules, _proxy: socket }
    }

    fn notes(&self) -> String {
        self.modules.notes().collect::<Vec<_>>().join("; ")
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

impl Drop for Filters {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn filter(number: usize, module: &[u8]) -> FilterInfo {
    FilterInfo {
        id: FilterId(number as u32),
        name: format!("filter{number}"),
        root_id: String::new(),
        vm_id: String::new(),
        module_path: format!("/{number}.wasm"),
        module: Some(hash(module)),
        module_size: module.len() as u64,
        state: FilterState::Active,
        fail_open: false,
        service: false,
        counters: FilterCounters::default(),
    }
}

fn image(module: &[u8]) -> Image {
    let mut config = wasmtime::Config::new();
    config.debug_symbols(true);
    let engine = wasmtime::Engine::new(&config).unwrap();
    Image::parse(&wasmtime::Module::new(&engine, module).unwrap().serialize().unwrap()).unwrap()
}

#[test]
fn filters_with_one_module_take_its_room_once() {
    let one = module(1, 0);
    // For it, and for a look at one of its files at a time.
    let room = Budget::new(1 << 20, 2 * one.len() as u64);
    let image = image(&one);
    let mut filters = Filters::start("shared", vec![one; 8], room, image.code.len() as u64);
    assert_eq!((filters.notes(), filters.reads()), (String::new(), 1));
    let identity = filters.modules.identify(&image, 0x3000);
    assert_eq!((identity.info.filters, identity.module.is_some()), (vec!["filter2".to_owned()], true));
    // At another address it may be any of them.
    assert_eq!(filters.modules.identify(&image, 0x9000).info.filters.len(), 8);
    assert_eq!((filters.notes(), filters.reads()), (String::new(), 1));
}

#[test]
fn a_folder_of_modules_takes_its_room_once() {
    let files: Vec<_> = (0..10).map(|number| module(number, 1000)).collect();
    let all: usize = files.iter().map(Vec::len).sum();
    // Once over the socket, and once as files that may be the unstripped copies of others.
    let mut filters = Filters::start("folder", files, Budget::new(1 << 20, 2 * all as u64), 0);
    assert_eq!((filters.notes(), filters.reads()), (String::new(), 10));
    assert_eq!((filters.modules.candidates.len(), filters.modules.debug_files.len()), (10, 10));
    // One that came since is found with the next filter.
    filters.modules.budget = Budget::new(1 << 20, 1 << 20);
    std::fs::write(filters.folder.join("new.wasm"), module(10, 1000)).unwrap();
    filters.modules.look_beside(&filters.folder.join("0.wasm"));
    assert_eq!(filters.modules.debug_files.len(), 11);
}

#[test]
fn code_of_a_filter_whose_module_is_left_out_has_no_other_filters_name() {
    let (one, other) = (module(1, 0), module(2, 0));
    let image = image(&other);
    let room = Budget::new(1 << 20, one.len() as u64);
    let mut filters = Filters::start("left-out", vec![one, other], room, image.code.len() as u64);
    assert!(filters.notes().contains("the module of filter filter1 is left out"), "{}", filters.notes());
    // Both have the same shape.
    assert_eq!(filters.modules.matching(&image), [0]);
    let identity = filters.modules.identify(&image, 0x2000);
    assert_eq!((identity.info.filters, identity.module), (vec!["filter1".to_owned()], None));
    // Elsewhere nothing tells whose it is.
    assert_eq!(filters.modules.identify(&image, 0x9000).info.filters, ["filter0", "filter1"]);
    assert_eq!(filters.reads(), 2, "what is left out is not asked for again");
}
