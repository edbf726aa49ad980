//! Virtual machines are made ahead, replaced at once, and handed to who waits.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use wasmdbg_proxy_wasm::{FastVm, Level, Unavailable};

use crate::wat::{load, module};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_taken_one_is_replaced() {
    let loaded = load(&module(""), "");
    let filter = &loaded.filter;
    let mut taken: Vec<FastVm> = Vec::new();
    for _ in 0..6 {
        let (sender, receiver) = mpsc::channel();
        match filter.take_vm() {
            Some(vm) => taken.push(vm),
            None => {
                filter.when_ready(Box::new(move |vm| sender.send(vm).unwrap()));
                taken.push(receiver.recv_timeout(PATIENCE).unwrap().unwrap());
            }
        }
    }
    assert_eq!(taken.len(), 6);
    let counters = filter.counters().snapshot();
    assert!(counters.vms_started >= 6, "{counters:?}");
    drop(taken);
    let counters = filter.counters().snapshot();
    assert!(counters.vms < counters.vms_started, "{counters:?}");
}

#[test]
fn everybody_who_waits_gets_one() {
    let loaded = load(&module(""), "");
    let (sender, receiver) = mpsc::channel();
    for _ in 0..10 {
        let sender = sender.clone();
        loaded.filter.when_ready(Box::new(move |vm| sender.send(vm).unwrap()));
    }
    let vms: Vec<FastVm> = (0..10).map(|_| receiver.recv_timeout(PATIENCE).unwrap().unwrap()).collect();
    assert_eq!(vms.len(), 10);
}

#[test]
fn one_that_is_given_back_serves_again() {
    let loaded = load(&module(""), "  http: true\n");
    let vm = loaded.filter.take_vm().unwrap();
    loaded.filter.return_vm(vm);
    assert!(loaded.filter.take_vm().is_some());
}

/// Refuses its configuration while the host's log level is error (4).
const REFUSING: &str = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $proxy_get_log_level (i32.const 0x100)))
    (i32.ne (i32.load (i32.const 0x100)) (i32.const 4)))"#;

#[test]
fn a_start_that_works_after_a_failed_one_serves_all_who_wait() {
    let loaded = load(&module(REFUSING), "");
    let (filter, proxy) = (&loaded.filter, &loaded.proxy);
    // The spare ones that were begun before tasks wait, and those that are there.
    let (sender, receiver) = mpsc::channel();
    let wait = || {
        let sender = sender.clone();
        filter.when_ready(Box::new(move |vm| sender.send(vm.is_ok()).unwrap()));
    };
    proxy.take_tasks();
    while filter.take_vm().is_some() {}
    wait();
    let mut builds = proxy.take_tasks();
    while builds.len() < 2 {
        wait();
        builds.extend(proxy.take_tasks());
    }
    proxy.set_level(Level::Error);
    builds.pop().unwrap()();
    while receiver.try_recv().is_ok() {}
    // Within a second after it: nothing more is built, but one is on its way.
    (0..3).for_each(|_| wait());
    assert_eq!(proxy.take_tasks().len(), 0, "within a second");
    proxy.set_level(Level::Info);
    builds.into_iter().for_each(|build| build());
    loop {
        let builds = proxy.take_tasks();
        if builds.is_empty() {
            break;
        }
        builds.into_iter().for_each(|build| build());
    }
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [true, true, true]);
}

#[test]
fn a_start_that_fails_later_is_told_and_tried_again() {
    let loaded = load(&module(REFUSING), "");
    let filter = &loaded.filter;
    let wait = || {
        let (sender, receiver) = mpsc::channel();
        filter.when_ready(Box::new(move |vm| sender.send(vm).unwrap()));
        receiver.recv_timeout(PATIENCE).unwrap()
    };
    loaded.proxy.set_level(Level::Error);
    let refused = std::iter::repeat_with(wait).find_map(Result::err).unwrap();
    let reason = "proxy_on_configure returned false: the filter refuses its configuration";
    assert_eq!(refused, Unavailable::Start(reason.to_string()));
    assert_eq!(filter.inactive_reason(), None, "its other virtual machines serve");
    assert!(loaded.proxy.text().contains(&format!("no virtual machine: {reason}")));
    loaded.proxy.set_level(Level::Info);
    // For a second nobody tries; then it works again.
    let started = Instant::now();
    while wait().is_err() {
        assert!(started.elapsed() < PATIENCE);
    }
}
