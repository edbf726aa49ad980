//! A stop: what it shows, what can be read and written, and what becomes of the transaction.

use wasmdbg_control::breakpoints::Planted;
use wasmdbg_control::code::{ListCode, ReadCode};
use wasmdbg_control::filters::ReadModule;
use wasmdbg_control::state::{ReadMemory, Value, WriteGlobal, WriteMemory};
use wasmdbg_control::stop::{CallbackOutcome, Context, GetFrames, ReleaseCause, ResumeMode, StopReason};
use wasmdbg_control::transactions::{ListTransactions, TransactionState};
use wasmdbg_control::{ContextId, ErrorKind, Event, FilterId, ModulePc, SlotId, TransactionId};
use wasmdbg_proxy_wasm::{Action, Callback};

use crate::debug_stage::{Stage, filter, i32s, refusal};

/// `callback(id, headers, end)`: adds what `$add` gives to the global and pauses if that is 50.
fn adding() -> String {
    filter(
        r#"(func $add (param $a i32) (param $b i32) (result i32) (local $sum i32)
            (local.set $sum (i32.add (local.get $a) (local.get $b)))
            (drop (i32.const 5001))
            (local.get $sum))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (i32.const 100)
            (global.set $count (call $add (global.get $count) (i32.load8_u (i32.const 0))))
            (drop)
            (i32.eq (global.get $count) (i32.const 50)))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (drop (i32.const 5002))
            (i32.const 0))"#,
    )
}

#[test]
fn a_stop_shows_the_guest_and_lets_it_be_changed() {
    let stage = Stage::new(&adding(), "");
    let front = stage.attached();
    let pc = stage.pc(5001);
    assert_eq!(front.breakpoints(stage.module(), &[pc]), [Planted::Bound { id: 1, pc }]);
    let flow = stage.request(17);
    let stop = front.stopped();
    assert_eq!(stop.reason, StopReason::Breakpoint { ids: vec![1] });
    assert_eq!((stop.slot, stop.filter_name.as_str()), (SlotId(0), "filter"));
    assert_eq!(stop.module, stage.module());
    assert_eq!(stop.callback, "proxy_on_request_headers");
    let Context::Stream { id, transaction, method, path } = &stop.context else {
        panic!("{:?}", stop.context)
    };
    assert_eq!((*id, *transaction), (ContextId(2), TransactionId(17)));
    assert_eq!((method.as_str(), path.as_str()), ("GET", "/"));
    assert!(stop.control && stop.fresh_vm);

    // Function indexes count the seven imports first, then the ABI marker and malloc.
    assert_eq!(stop.frame_count, 2);
    let frames = &stop.frames;
    assert_eq!((frames[0].function, frames[0].pc), (9, pc));
    assert_eq!(i32s(&frames[0].locals), [41, 0, 41]);
    assert_eq!(frames[1].function, 10);
    // The context, four pseudo-headers, the end of the stream.
    assert_eq!(i32s(&frames[1].locals), [2, 4, 1]);
    assert_eq!(frames[1].operands[0], Value::I32(100));

    let read = |address, length| {
        let asked = ReadMemory { stop: stop.stop, memory: 0, address, length };
        front.client.call(asked).unwrap()
    };
    assert_eq!(read(16, 9).data, b":pathtext");
    assert_eq!(read(65530, 100).data.len(), 6, "cut at the end");
    assert_eq!((read(70000, 4).data.len(), read(70000, 4).size), (0, 65536));
    let write = |address, data: &[u8]| {
        front.client.call(WriteMemory { stop: stop.stop, memory: 0, address, data: data.to_vec() })
    };
    write(16, b":text").unwrap();
    assert_eq!(read(16, 9).data, b":texttext");
    assert_eq!(refusal(write(65534, b"long")), ErrorKind::NotFound);
    assert_eq!(read(65534, 2).data, [0, 0], "all or nothing");

    let globals = || front.client.globals(stop.stop).unwrap();
    assert_eq!(globals(), [Value::I32(41), Value::I64(-3)]);
    let set = |index, value| front.client.call(WriteGlobal { stop: stop.stop, index, value });
    set(0, Value::I32(1)).unwrap();
    assert_eq!(globals()[0], Value::I32(1));
    assert_eq!(refusal(set(0, Value::I64(1))), ErrorKind::State);
    assert_eq!(refusal(set(1, Value::I64(1))), ErrorKind::State);
    assert_eq!(refusal(set(9, Value::I32(1))), ErrorKind::NotFound);

    let outer = front.client.call(GetFrames { stop: stop.stop, first: 1, count: 9 }).unwrap();
    assert_eq!((outer.frames.len(), outer.frame_count), (1, 2));
    assert_eq!(outer.frames[0], frames[1]);
    assert!(flow.is_held());
    front.resume(stop.stop, ResumeMode::Continue);
    // The sum was taken before the global was written.
    assert_eq!(flow.action(), Action::Continue);
    flow.end();
}

#[test]
fn what_is_written_changes_what_the_filter_does() {
    let stage = Stage::new(&adding(), "");
    let front = stage.attached();
    let module = wat::parse_str(adding()).unwrap();
    // The opcode behind the marker's function is entered with the new byte: stop before it is loaded.
    let entry = ModulePc::at(module.windows(3).position(|bytes| bytes == [0x41, 0xe4, 0x00]).unwrap());
    front.breakpoints(stage.module(), &[entry]);
    let flow = stage.request(1);
    let stop = front.stopped();
    let data = vec![9];
    front.client.call(WriteMemory { stop: stop.stop, memory: 0, address: 0, data }).unwrap();
    front.resume(stop.stop, ResumeMode::Continue);
    assert_eq!(flow.action(), Action::Pause, "41 + 9 is 50");
    let list = front.client.call(ListTransactions {}).unwrap();
    let paused = TransactionState::Paused { callback: "proxy_on_request_headers".into() };
    assert_eq!(list.transactions[0].state, paused);
    assert_eq!(list.fast_lane, 6);
    flow.end();
}

#[test]
fn a_transaction_is_seen_from_its_start_to_its_end() {
    let stage = Stage::new(&adding(), "");
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(5002)]);
    let flow = stage.request(5);
    let started = front.wait("a start", |event| match event {
        Event::TransactionStarted(info) => Some(info),
        _ => None,
    });
    assert_eq!((started.id, started.client.as_str()), (TransactionId(5), "127.0.0.1:1"));
    assert_eq!(flow.action(), Action::Continue);
    let ended = front.wait("the callback's end", |event| match event {
        Event::CallbackEnded(ended) if ended.callback == "proxy_on_request_headers" => Some(ended.outcome),
        _ => None,
    });
    assert_eq!(ended, CallbackOutcome::Returned { value: Some(0), local_response: None });
    flow.call(Callback::ResponseHeaders { end_of_stream: true });
    let stop = front.stopped();
    let list = front.client.call(ListTransactions {}).unwrap();
    let callback = String::from("proxy_on_response_headers");
    assert_eq!(list.transactions[0].state, TransactionState::Stopped { stop: stop.stop, callback });
    front.resume(stop.stop, ResumeMode::Continue);
    let released = front.wait("a release", |event| match event {
        Event::Released(released) => Some(released),
        _ => None,
    });
    assert_eq!((released.stop, released.cause), (stop.stop, ReleaseCause::Resumed));
    assert_eq!(flow.action(), Action::Continue);
    flow.end();
    let ended = front.wait("the end", |event| match event {
        Event::TransactionEnded(ended) => Some(ended),
        _ => None,
    });
    assert_eq!((ended.id, ended.status, ended.aborted), (TransactionId(5), Some(200), false));
    assert!(front.client.call(ListTransactions {}).unwrap().transactions.is_empty());
}

#[test]
fn a_late_command_finds_nothing() {
    let stage = Stage::new(&adding(), "");
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(5001)]);
    let first = stage.request(1);
    let old = front.stopped();
    front.resume(old.stop, ResumeMode::Continue);
    first.action();
    first.end();
    let second = stage.request(2);
    let new = front.stopped();
    assert_ne!(old.stop, new.stop);
    assert!(!new.fresh_vm, "an earlier request has left something");
    let late = wasmdbg_control::stop::Resume { stop: old.stop, mode: ResumeMode::Continue };
    assert_eq!(refusal(front.client.call(late)), ErrorKind::NotFound);
    let late = ReadMemory { stop: old.stop, memory: 0, address: 0, length: 1 };
    assert_eq!(refusal(front.client.call(late)), ErrorKind::NotFound);
    assert!(second.is_held());
    front.resume(new.stop, ResumeMode::Continue);
    second.action();
    second.end();
}

#[test]
fn breakpoints_stand_on_opcodes_or_nowhere() {
    let stage = Stage::new(&adding(), "");
    let front = stage.attached();
    let pc = stage.pc(5001);
    // Into the constant's bytes: the drop behind it is next. Outside of any body: nowhere.
    let planted = front.breakpoints(stage.module(), &[pc + 1, ModulePc(3), pc]);
    assert_eq!(planted[0], Planted::Bound { id: 1, pc: pc + 3 });
    assert!(matches!(&planted[1], Planted::Refused { id: 2, reason } if reason.contains("no function")));
    assert_eq!(planted[2], Planted::Bound { id: 3, pc });
    let flow = stage.request(1);
    let stop = front.stopped();
    assert_eq!(stop.reason, StopReason::Breakpoint { ids: vec![3] });
    // Changed while it stands: the one at the drop stays, with another number.
    let planted = front.breakpoints(stage.module(), &[pc + 3]);
    assert_eq!(planted, [Planted::Bound { id: 1, pc: pc + 3 }]);
    let stop = front.step(stop.stop, ResumeMode::Continue);
    assert_eq!((stop.reason, stop.frames[0].pc), (StopReason::Breakpoint { ids: vec![1] }, pc + 3));
    front.resume(stop.stop, ResumeMode::Continue);
    flow.action();
    flow.end();
}

/// A tick stands while its slot has a transaction that the filter paused.
#[test]
fn the_end_of_a_client_releases_no_stop_of_something_else() {
    let stage = Stage::new(
        &filter(
            r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
                (drop (call $tick (i32.const 1)))
                (i32.const 1))
            (func (export "proxy_on_tick") (param i32)
                (if (i32.load8_u (i32.const 0)) (then (drop (i32.const 5003)) (i32.store8 (i32.const 0) (i32.const 0)))))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (i32.store8 (i32.const 0) (i32.const 1))
                (i32.const 1))"#,
        ),
        "",
    );
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(5003)]);
    let flow = stage.request(1);
    assert_eq!(flow.action(), Action::Pause);
    let stop = front.stopped();
    assert_eq!(stop.callback, "proxy_on_tick");
    flow.client_gone();
    front.resume(stop.stop, ResumeMode::Continue);
    let cause = front.wait("the end of the stop", |event| match event {
        Event::Released(released) => Some(released.cause),
        _ => None,
    });
    assert_eq!(cause, ReleaseCause::Resumed);
    flow.end();
}

#[test]
fn the_module_is_read_by_ranges() {
    let stage = Stage::new(&adding(), "");
    let front = stage.client();
    let bytes = stage.filters[0].module_bytes();
    let read = |module, offset, length| front.client.call(ReadModule { module, offset, length });
    let whole = read(stage.module(), 0, u32::MAX).unwrap();
    assert_eq!((whole.size, &whole.data[..]), (bytes.len() as u64, &bytes[..]));
    assert_eq!(read(stage.module(), 4, 2).unwrap().data, bytes[4..6]);
    assert!(read(stage.module(), 1 << 40, 2).unwrap().data.is_empty());
    assert_eq!(refusal(read(wasmdbg_control::ModuleHash([0; 32]), 0, 1)), ErrorKind::NotFound);
}

#[test]
fn the_compiled_image_is_read_by_ranges() {
    let stage = Stage::new(&adding(), "");
    let front = stage.client();
    assert!(front.client.welcome().capabilities.iter().any(|capability| capability == "read_code"));
    let listed = front.client.call(ListCode {}).unwrap().images.remove(0);
    let read = |filter, offset, length| front.client.call(ReadCode { filter, offset, length });
    let whole = read(listed.filter, 0, u32::MAX).unwrap();
    assert!(whole.data.starts_with(b"\x7fELF"));
    assert_eq!(whole.data.len() as u64, whole.size, "it is small");
    assert!(listed.size < whole.size, "the code is a part of it");
    let parts =
        [(0, 100), (100, 1), (101, u32::MAX)].map(|(offset, length)| read(listed.filter, offset, length));
    let joined: Vec<u8> = parts.into_iter().flat_map(|part| part.unwrap().data).collect();
    assert_eq!(joined, whole.data);
    assert!(read(listed.filter, u64::MAX, 2).unwrap().data.is_empty());
    assert_eq!(refusal(read(FilterId(99), 0, 1)), ErrorKind::NotFound);
}
