//! A proxy in memory: an embedder that keeps its log, and transactions whose headers are lists.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread;

use wasmdbg_control::{FilterId, TransactionId};
use wasmdbg_proxy_wasm::{
    Buffer, BufferKind, Embedder, Filter, FilterConfig, ForeignFunctions, HeaderMap, Headers, Level,
    OwnProperties, RequestFacts, Runtime, Settings, Status, ThreadHandle, Transaction, TrapReport,
};

/// The embedder.
#[derive(Default)]
pub(crate) struct Proxy {
    lines: Mutex<Vec<(Level, Option<u64>, String)>>,
    level: Mutex<Option<Level>>,
    /// Those that wait to be run; none: each has a thread at once.
    tasks: Mutex<Option<Vec<Task>>>,
}

/// What a task thread does.
pub(crate) type Task = Box<dyn FnOnce() + Send>;

impl Proxy {
    pub(crate) fn lines(&self) -> Vec<(Level, Option<u64>, String)> {
        self.lines.lock().unwrap().clone()
    }

    pub(crate) fn set_level(&self, level: Level) {
        *self.level.lock().unwrap() = Some(level);
    }

    /// From now on tasks wait: those that have come since the last call.
    pub(crate) fn take_tasks(&self) -> Vec<Task> {
        self.tasks.lock().unwrap().replace(Vec::new()).unwrap_or_default()
    }

    /// The texts of the log, one a line.
    pub(crate) fn text(&self) -> String {
        self.lines().into_iter().map(|(_, _, text)| text + "\n").collect()
    }
}

impl Embedder for Proxy {
    fn host_name(&self) -> String {
        String::from("a proxy in memory")
    }

    fn log(&self, level: Level, _filter: &str, transaction: Option<TransactionId>, message: &str) {
        let line = (level, transaction.map(|id| id.0), message.to_owned());
        self.lines.lock().unwrap().push(line);
    }

    fn log_level(&self) -> Level {
        self.level.lock().unwrap().unwrap_or(Level::Info)
    }

    fn compiles_in_background(&self) -> bool {
        false
    }

    fn foreign_functions(&self, functions: &mut ForeignFunctions) {
        functions.add(
            "reverse",
            Box::new(|arguments, result| {
                result.extend(arguments.iter().rev());
                Ok(())
            }),
        );
        functions.add("refuse", Box::new(|_, _| Err(Status::Empty)));
    }

    fn task(&self, body: Box<dyn FnOnce() + Send>) {
        match &mut *self.tasks.lock().unwrap() {
            Some(tasks) => tasks.push(body),
            None => drop(thread::spawn(body)),
        }
    }

    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Result<Box<dyn ThreadHandle>, String> {
        struct Handle(thread::JoinHandle<()>);
        impl ThreadHandle for Handle {
            fn join(self: Box<Self>) {
                let _ = self.0.join();
            }
        }
        let builder = thread::Builder::new().name(name.to_owned());
        match builder.spawn(body) {
            Ok(handle) => Ok(Box::new(Handle(handle))),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What a transaction holds; the test keeps it while a context owns the transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Maps {
    pub(crate) request: Vec<(String, String)>,
    pub(crate) response: Vec<(String, String)>,
    pub(crate) properties: Vec<(String, Vec<u8>)>,
    /// Those whose names begin with `own`.
    pub(crate) own: OwnProperties,
    /// The body of the request. `None`: this proxy has no bodies.
    pub(crate) body: Option<Vec<u8>>,
    /// How long reading a property takes.
    pub(crate) sleep: std::time::Duration,
    /// The next access panics.
    pub(crate) poisoned: bool,
}

/// A transaction.
#[derive(Clone)]
pub(crate) struct Request {
    id: u64,
    pub(crate) maps: Arc<Mutex<Maps>>,
    request: Fields,
    response: Fields,
    body: Body,
}

/// One of its header maps, as it is lent.
#[derive(Clone)]
struct Fields {
    maps: Arc<Mutex<Maps>>,
    of: fn(&mut Maps) -> &mut Vec<(String, String)>,
}

/// Its body, as it is lent.
#[derive(Clone)]
struct Body(Arc<Mutex<Maps>>);

impl Request {
    /// `GET /`, or the `:path` among `headers`, with the other fields behind its pseudo-headers.
    pub(crate) fn new(id: u64, headers: &[(&str, &str)]) -> Self {
        let (paths, headers): (Vec<_>, Vec<_>) = headers.iter().partition(|(name, _)| *name == ":path");
        let path = paths.first().map_or("/", |(_, path)| path);
        let pseudo = [(":method", "GET"), (":path", path), (":authority", "here"), (":scheme", "http")];
        let request = pseudo.iter().chain(&headers).map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let response = vec![(":status".to_string(), "200".to_string())];
        let maps = Arc::new(Mutex::new(Maps { request, response, ..Maps::default() }));
        Self {
            id,
            request: Fields { maps: Arc::clone(&maps), of: |maps| &mut maps.request },
            response: Fields { maps: Arc::clone(&maps), of: |maps| &mut maps.response },
            body: Body(Arc::clone(&maps)),
            maps,
        }
    }

    pub(crate) fn boxed(&self) -> Box<dyn Transaction> {
        Box::new(self.clone())
    }
}

impl Fields {
    fn with<R>(&self, act: impl FnOnce(&mut Vec<(String, String)>) -> R) -> R {
        let mut maps = self.maps.lock().unwrap_or_else(|poison| poison.into_inner());
        assert!(!maps.poisoned, "the transaction is poisoned");
        act((self.of)(&mut maps))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn is(name: &[u8]) -> impl Fn(&(String, String)) -> bool + '_ {
    |(field, _)| field.as_bytes().eq_ignore_ascii_case(name)
}

impl Transaction for Request {
    fn id(&self) -> TransactionId {
        TransactionId(self.id)
    }

    fn facts(&mut self) -> RequestFacts {
        RequestFacts {
            method: "GET".to_string(),
            path: self.request.with(|fields| fields[1].1.clone()),
            client: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            client_port: 1,
        }
    }

    fn headers(&mut self, map: HeaderMap) -> Result<&mut dyn Headers, Status> {
        match map {
            HeaderMap::RequestHeaders => Ok(&mut self.request),
            HeaderMap::ResponseHeaders => Ok(&mut self.response),
            _ => Err(Status::BadArgument),
        }
    }

    fn buffer(&mut self, kind: BufferKind) -> Result<&mut dyn Buffer, Status> {
        match kind {
            _ if self.maps.lock().unwrap().body.is_none() => Err(Status::Unimplemented),
            BufferKind::RequestBody => Ok(&mut self.body),
            BufferKind::ResponseBody => Err(Status::NotFound),
        }
    }

    fn property(&mut self, path: &[&[u8]], value: &mut Vec<u8>) -> Result<(), Status> {
        let path = text(&path.join(&b'.'));
        let maps = self.maps.lock().unwrap();
        thread::sleep(maps.sleep);
        let found = maps.properties.iter().find(|(name, _)| *name == path).ok_or(Status::NotFound)?;
        value.extend_from_slice(&found.1);
        Ok(())
    }

    fn set_property(&mut self, path: &[&[u8]], value: &[u8]) -> Result<(), Status> {
        let path = text(&path.join(&b'.'));
        if path.is_empty() || path.starts_with("source") || path.starts_with("own") {
            return Err(Status::NotFound);
        }
        self.maps.lock().unwrap().properties.push((path, value.to_vec()));
        Ok(())
    }

    fn own_properties(&mut self, work: &mut dyn FnMut(&OwnProperties)) {
        work(&self.maps.lock().unwrap().own);
    }

    fn own_properties_mut(&mut self, work: &mut dyn FnMut(&mut OwnProperties)) {
        work(&mut self.maps.lock().unwrap().own);
    }
}

impl Headers for Fields {
    fn get(&mut self, name: &[u8], value: &mut Vec<u8>) -> Result<(), Status> {
        self.with(|fields| {
            let values: Vec<&str> = fields.iter().filter(|f| is(name)(f)).map(|(_, v)| v.as_str()).collect();
            if values.is_empty() {
                return Err(Status::NotFound);
            }
            value.extend_from_slice(values.join(",").as_bytes());
            Ok(())
        })
    }

    fn pairs(&mut self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Status> {
        self.with(|fields| fields.iter().for_each(|(k, v)| each(k.as_bytes(), v.as_bytes())));
        Ok(())
    }

    fn count(&mut self) -> Result<u32, Status> {
        Ok(self.with(|fields| fields.len() as u32))
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        self.with(|fields| fields.push((text(name), text(value))));
        Ok(())
    }

    fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        self.with(|fields| match fields.iter_mut().find(|f| is(name)(f)) {
            Some(field) => field.1 = text(value),
            None => fields.push((text(name), text(value))),
        });
        Ok(())
    }

    fn remove(&mut self, name: &[u8]) -> Result<(), Status> {
        self.with(|fields| fields.retain(|f| !is(name)(f)));
        Ok(())
    }

    fn set_all(&mut self, pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Status> {
        self.with(|fields| *fields = pairs.iter().map(|(k, v)| (text(k), text(v))).collect());
        Ok(())
    }
}

impl Body {
    fn with<R>(&self, act: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        act(self.0.lock().unwrap().body.as_mut().unwrap())
    }
}

impl Buffer for Body {
    fn size(&mut self) -> Result<usize, Status> {
        Ok(self.with(|body| body.len()))
    }

    fn read(&mut self, range: Range<usize>, bytes: &mut Vec<u8>) -> Result<(), Status> {
        self.with(|body| bytes.extend_from_slice(&body[range]));
        Ok(())
    }

    fn splice(&mut self, range: Range<usize>, bytes: &[u8]) -> Result<(), Status> {
        self.with(|body| drop(body.splice(range, bytes.iter().copied())));
        Ok(())
    }
}

/// A loaded filter and all that belongs to it.
pub(crate) struct Loaded {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) filter: Arc<Filter>,
    pub(crate) traps: Receiver<TrapReport>,
}

/// Loads the filter of a YAML text that is thought to lie at `path`.
pub(crate) fn load_yaml(yaml: &str, path: PathBuf, settings: Settings) -> Loaded {
    let proxy = Arc::new(Proxy::default());
    let embedder: Arc<dyn Embedder> = proxy.clone();
    let (config, _) = FilterConfig::parse(yaml, &path, None).unwrap();
    let (runtime, traps) = Runtime::new(embedder, settings, 1 << 20).unwrap();
    let filter = Filter::load(&runtime, FilterId(0), config, 2);
    Loaded { proxy, runtime, filter, traps }
}
