//! `wasmdbg ps`, and its JSON form against docs/PS_JSON.md.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use serde_json::Value;

use crate::proxy::{Play, Proxy, repository, stdout, wasmdbg};

/// The example of the document.
fn documented() -> Value {
    let document = std::fs::read_to_string(repository().join("docs/PS_JSON.md")).unwrap();
    let text = document.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    serde_json::from_str(text).unwrap()
}

/// Other proxies may run on this machine: only ours is compared.
fn own(all: &Value, proxy: &Proxy) -> Value {
    let proxies = all["proxies"].as_array().unwrap();
    proxies.iter().find(|entry| entry["socket"] == proxy.socket()).expect("ours is listed").clone()
}

#[test]
fn the_json_form_is_the_documented_one() {
    let proxy = Proxy::start(Play::Nothing);
    let output = wasmdbg(&["ps", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let documented = documented();
    assert_eq!(all["schema"], documented["schema"]);
    assert_eq!(all.as_object().unwrap().len(), documented.as_object().unwrap().len());
    let mut entry = own(&all, &proxy);
    // This process has no plugin mapped: what is known of a proxy's process is not known of ours.
    entry["pid"] = 4711.into();
    entry["process"] = "traffic_server".into();
    entry["socket"] = "/run/trafficserver/wasmdbg.sock".into();
    assert_eq!(entry, documented["proxies"][0]);
}

#[test]
fn a_proxy_that_does_not_answer_is_listed_with_the_reason() {
    let proxy = Proxy::start(Play::Refuse);
    let output = wasmdbg(&["ps", "--json"]).output().unwrap();
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let entry = own(&all, &proxy);
    let documented = documented()["proxies"][1].clone();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&entry), keys(&documented));
    assert!(entry["error"].as_str().unwrap().contains("control.users"), "{entry}");
}

#[test]
fn the_text_form_names_filters_sessions_and_stops() {
    let proxy = Proxy::start(Play::Nothing);
    let text = stdout(&wasmdbg(&["ps"]).output().unwrap());
    let own = text.split(&proxy.socket()).nth(1).unwrap();
    let own: Vec<&str> = own.lines().skip(1).take(4).collect();
    assert_eq!(
        own,
        [
            "  filter  token  active  /etc/trafficserver/token.wasm  10245 contexts, 2 traps, 1 debugged",
            "  filter  headers  inactive, requests pass: cannot read /etc/trafficserver/headers.wasm: no such file  \
             /etc/trafficserver/headers.wasm  0 contexts",
            "  session 1 by wasmdbg 0.1.0 (uid 1000, pid 4890) on token",
            "  1 debug virtual machine, 1 stopped",
        ]
    );
    assert!(
        text.contains("Apache Traffic Server 9.2.5, plugin 0.1.0, loaded for 51s, 3 transactions in flight")
    );
}

/// A listener at `path` that does not accept, and so many connections that there is room for no more.
fn crowded(path: &Path) -> (OwnedFd, Vec<OwnedFd>) {
    let address = UnixAddr::new(path).unwrap();
    let make = || socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).unwrap();
    let listener = make();
    bind(listener.as_raw_fd(), &address).unwrap();
    listen(&listener, Backlog::new(1).unwrap()).unwrap();
    let mut crowd = Vec::new();
    loop {
        let next = make();
        match connect(next.as_raw_fd(), &address) {
            Ok(()) => crowd.push(next),
            Err(nix::Error::EAGAIN) => return (listener, crowd),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_socket_that_does_not_accept_is_listed_with_the_reason_and_so_are_the_others() {
    let proxy = Proxy::start(Play::Nothing);
    let stuck = proxy.folder().join("stuck");
    std::fs::create_dir(&stuck).unwrap();
    let stuck = stuck.join("wasmdbg.sock");
    let _crowd = crowded(&stuck);
    let output = wasmdbg(&["ps", "--json"]).output().unwrap();
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(own(&all, &proxy)["protocol"], 1);
    let proxies = all["proxies"].as_array().unwrap();
    let entry =
        proxies.iter().find(|entry| entry["socket"] == stuck.to_str().unwrap()).expect("it is listed");
    assert!(entry["error"].as_str().unwrap().contains("accepts no connections"), "{entry}");
}
