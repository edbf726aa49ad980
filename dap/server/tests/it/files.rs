//! Whose files a client can read: a module's debug info names any file its maker likes.

use std::path::Path;

use serde_json::{Value, json};
use wasmdbg_dap::Reach;

use crate::client::{Client, Scratch, repository};

/// A module whose source map says that it was made of `sources`, beside its map.
fn module(scratch: &Scratch, sources: &[&Path]) -> Value {
    let fixture = repository().join("debugger/symbols/tests/fixtures/script/script.debug.wasm");
    let map = std::fs::read(fixture.with_extension("wasm.map")).expect("its map");
    let mut map: Value = serde_json::from_slice(&map).expect("JSON");
    let filler: Vec<_> = (sources.len()..4).map(|number| json!(format!("none-{number}"))).collect();
    map["sources"] = sources.iter().map(|path| json!(path)).chain(filler).collect();
    for member in ["sourcesContent", "sourceRoot"] {
        map.as_object_mut().expect("members").remove(member);
    }
    scratch.write("module/script.debug.wasm.map", map.to_string());
    let program = scratch.write("module/script.debug.wasm", std::fs::read(fixture).expect("the module"));
    json!({ "program": program, "listen": "127.0.0.1:0" })
}

fn launched(reach: Reach, arguments: &Value) -> Client {
    let mut client = Client::new(reach, &json!({}));
    client.ask("launch", arguments);
    client.event("initialized");
    client
}

fn source(path: &Path) -> Value {
    json!({ "source": { "path": path } })
}

#[test]
fn a_file_that_is_no_source_by_its_size_is_not_read() {
    let scratch = Scratch::new();
    let huge = scratch.write("module/huge.ts", "");
    std::fs::File::options()
        .write(true)
        .open(&huge)
        .and_then(|file| file.set_len(1 << 40))
        .expect("its size");
    let arguments = module(&scratch, &[&huge]);
    for reach in [Reach::AllFiles, Reach::SourceFolders] {
        let mut client = launched(reach, &arguments);
        let why = client.refused("source", &source(&huge));
        assert!(why.contains("huge.ts: it is larger than the 16777216 bytes"), "{reach:?}: {why}");
    }
}

#[test]
fn the_folder_that_it_was_started_in_is_the_workspace_when_no_other_is() {
    let scratch = Scratch::new();
    let here = std::env::current_dir().expect("a folder").join("Cargo.toml");
    let work = scratch.write("work/here.ts", "here");
    let mut arguments = module(&scratch, &[&here, &work]);
    let mut client = launched(Reach::SourceFolders, &arguments);
    let text = client.ask("source", &source(&here))["content"].to_string();
    assert!(text.contains("wasmdbg-dap"), "{text}");
    arguments["cwd"] = json!(scratch.0.join("work"));
    let mut client = launched(Reach::SourceFolders, &arguments);
    let why = client.refused("source", &source(&here));
    assert!(why.contains("Cargo.toml is not shown at a port"), "{why}");
    assert_eq!(client.ask("source", &source(&work))["content"], "here");
}

#[test]
fn a_client_at_a_port_reads_sources_and_nothing_else() {
    let scratch = Scratch::new();
    let secret = scratch.write("home/secret", "the secret");
    let beside = scratch.write("module/beside.ts", "beside");
    let work = scratch.write("work/here.ts", "here");
    let unnamed = scratch.write("module/unnamed.ts", "no debug info names it");
    let mut arguments = module(&scratch, &[&secret, &beside, &work]);
    arguments["cwd"] = json!(scratch.0.join("work"));
    let mut client = launched(Reach::SourceFolders, &arguments);
    let why = client.refused("source", &source(&secret));
    assert!(why.contains("secret is not shown at a port") && why.contains("sourceMap"), "{why}");
    let why = client.refused("source", &source(&scratch.0.join("module/../home/secret")));
    assert!(why.contains("is not shown at a port"), "{why}");
    assert_eq!(client.ask("source", &source(&beside))["content"], "beside");
    assert_eq!(client.ask("source", &source(&work))["content"], "here");
    assert!(client.refused("source", &source(&unnamed)).contains("no filter of this session was built"));

    // What the user says is his to read.
    let home = scratch.0.join("home");
    arguments["sourceMap"] = json!({ (home.display().to_string()): home });
    let mut client = launched(Reach::SourceFolders, &arguments);
    assert_eq!(client.ask("source", &source(&secret))["content"], "the secret");
    // On standard input and output the client is who started it.
    arguments["sourceMap"] = Value::Null;
    let mut client = launched(Reach::AllFiles, &arguments);
    assert_eq!(client.ask("source", &source(&secret))["content"], "the secret");
}
