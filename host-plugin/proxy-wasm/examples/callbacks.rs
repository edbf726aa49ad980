//! Cost of a light filter's callbacks without a proxy: `callbacks [REQUESTS] [FILTER.yaml]`, to be run
//! under `perf stat -e instructions:u` or `valgrind --tool=callgrind`, once with 0 requests and once with
//! many; the difference is the cost of the requests.

use std::path::Path;
use std::sync::Arc;

use wasmdbg_control::{FilterId, TransactionId};
use wasmdbg_proxy_wasm::{
    Action, Callback, Embedder, Filter, FilterConfig, HeaderMap, Headers, Level, OwnProperties, RequestFacts,
    Runtime, Settings, Status, ThreadHandle, Transaction,
};

struct Quiet;

impl Embedder for Quiet {
    fn host_name(&self) -> String {
        String::from("a bench")
    }

    fn log(&self, level: Level, filter: &str, _: Option<TransactionId>, message: &str) {
        if level >= Level::Warn {
            eprintln!("{filter}: {message}");
        }
    }

    fn log_level(&self) -> Level {
        Level::Warn
    }

    fn task(&self, body: Box<dyn FnOnce() + Send>) {
        body();
    }

    fn spawn(&self, _: &str, _: Box<dyn FnOnce() + Send>) -> Result<Box<dyn ThreadHandle>, String> {
        Err(String::from("no threads here"))
    }
}

const REQUEST: [(&[u8], &[u8]); 6] = [
    (b":method", b"GET"),
    (b":path", b"/cache/100/x"),
    (b":authority", b"localhost"),
    (b":scheme", b"http"),
    (b"token", b"7919"),
    (b"user-agent", b"wrk"),
];

/// All of it without size: making one costs nothing.
struct Static {
    request: Fields<6>,
    others: Fields<0>,
}

/// The first ones of [`REQUEST`].
struct Fields<const COUNT: usize>;

impl<const COUNT: usize> Headers for Fields<COUNT> {
    fn get(&mut self, name: &[u8], value: &mut Vec<u8>) -> Result<(), Status> {
        let found = REQUEST[..COUNT].iter().find(|(field, _)| *field == name).ok_or(Status::NotFound)?;
        value.extend_from_slice(found.1);
        Ok(())
    }

    fn pairs(&mut self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Status> {
        REQUEST[..COUNT].iter().for_each(|(name, value)| each(name, value));
        Ok(())
    }

    fn count(&mut self) -> Result<u32, Status> {
        Ok(COUNT as u32)
    }

    fn add(&mut self, _: &[u8], _: &[u8]) -> Result<(), Status> {
        Ok(())
    }

    fn replace(&mut self, _: &[u8], _: &[u8]) -> Result<(), Status> {
        Ok(())
    }

    fn remove(&mut self, _: &[u8]) -> Result<(), Status> {
        Ok(())
    }

    fn set_all(&mut self, _: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Status> {
        Ok(())
    }
}

impl Transaction for Static {
    fn id(&self) -> TransactionId {
        TransactionId(1)
    }

    fn facts(&mut self) -> RequestFacts {
        RequestFacts { method: String::new(), path: String::new(), client: None, client_port: 0 }
    }

    fn headers(&mut self, map: HeaderMap) -> Result<&mut dyn Headers, Status> {
        Ok(match map {
            HeaderMap::RequestHeaders => &mut self.request,
            _ => &mut self.others,
        })
    }

    fn property(&mut self, _: &[&[u8]], _: &mut Vec<u8>) -> Result<(), Status> {
        Err(Status::NotFound)
    }

    fn own_properties(&mut self, _: &mut dyn FnMut(&OwnProperties)) {}

    fn own_properties_mut(&mut self, work: &mut dyn FnMut(&mut OwnProperties)) {
        work(&mut OwnProperties::default());
    }

    fn set_property(&mut self, _: &[&[u8]], _: &[u8]) -> Result<(), Status> {
        Err(Status::NotFound)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let requests: u32 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let path = arguments.next().unwrap_or_else(|| String::from("examples/rust-token/filter.yaml"));
    let (mut config, _) = FilterConfig::read(Path::new(&path), None)?;
    config.configuration = String::from("token quiet");
    if let Some(module) = arguments.next() {
        config.module_path = module.into();
    }
    let (runtime, _traps) = Runtime::new(Arc::new(Quiet), Settings::default(), 1 << 20)?;
    let filter = Filter::load(&runtime, FilterId(0), config, 2);
    let mut vm = filter.take_vm().ok_or("no virtual machine")?;
    for _ in 0..requests {
        let (context, _) = vm.create_context(Box::new(Static { request: Fields, others: Fields }));
        for callback in [
            Callback::RequestHeaders { end_of_stream: true },
            Callback::ResponseHeaders { end_of_stream: true },
        ] {
            if vm.has(callback) && vm.call(context, callback).action != Action::Continue {
                return Err("the filter does not continue".into());
            }
        }
        vm.end(context);
    }
    Ok(())
}
