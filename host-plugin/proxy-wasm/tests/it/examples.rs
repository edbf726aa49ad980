//! The example filters as they are shipped.

use std::path::Path;

use wasmdbg_proxy_wasm::{Action, Callback, Settings};

use crate::double::{Loaded, Request, load_yaml};

fn example(name: &str, module: &str) -> Loaded {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let yaml = std::fs::read_to_string(root.join("filter.yaml")).unwrap();
    let yaml = yaml.replace(&format!("{name}.debug.wasm"), module);
    let loaded = load_yaml(&yaml, root.join("filter.yaml"), Settings::default());
    assert_eq!(loaded.filter.inactive_reason(), None);
    loaded
}

#[test]
fn the_token_filter_lets_primes_pass() {
    for module in ["rust-token.debug.wasm", "rust-token.release.wasm"] {
        let loaded = example("rust-token", module);
        let mut vm = loaded.filter.take_vm().unwrap();
        let request = Request::new(17, &[("token", "7919")]);
        let (context, outcome) = vm.create_context(request.boxed());
        assert_eq!(outcome.action, Action::Continue);
        let outcome = vm.call(context, Callback::RequestHeaders { end_of_stream: true });
        assert_eq!(outcome.action, Action::Continue, "{}", loaded.proxy.text());
        vm.call(context, Callback::ResponseHeaders { end_of_stream: true });
        vm.end(context);
        let response = request.maps.lock().unwrap().response.clone();
        assert!(response.contains(&("x-token-prime".to_string(), "7919".to_string())));
        assert!(loaded.proxy.text().contains("7919 is prime"), "{}", loaded.proxy.text());
    }
}

#[test]
fn the_token_filter_answers_for_the_others() {
    for module in ["rust-token.debug.wasm", "rust-token.release.wasm"] {
        let loaded = example("rust-token", module);
        let mut vm = loaded.filter.take_vm().unwrap();
        for (headers, says) in [
            (&[("token", "91")][..], "91 is not prime: 7 divides it\n"),
            (&[("token", "x")], "\"x\" is not a number\n"),
            (&[], "the header token is missing\n"),
        ] {
            let (context, _) = vm.create_context(Request::new(1, headers).boxed());
            let outcome = vm.call(context, Callback::RequestHeaders { end_of_stream: true });
            let Action::Respond(response) = outcome.action else { panic!("{:?}", outcome.action) };
            assert_eq!(response.status, 403);
            assert_eq!(String::from_utf8(response.body).unwrap(), says);
            assert_eq!(response.headers, [(b"content-type".to_vec(), b"text/plain".to_vec())]);
            vm.end(context);
        }
    }
}

#[test]
fn the_header_filter_counts_and_refuses() {
    for module in ["cpp-headers.debug.wasm", "cpp-headers.release.wasm"] {
        let loaded = example("cpp-headers", module);
        let mut vm = loaded.filter.take_vm().unwrap();
        let request = Request::new(1, &[("user-agent", "test")]);
        let (context, _) = vm.create_context(request.boxed());
        let outcome = vm.call(context, Callback::RequestHeaders { end_of_stream: true });
        assert_eq!(outcome.action, Action::Continue, "{}", loaded.proxy.text());
        vm.call(context, Callback::ResponseHeaders { end_of_stream: true });
        vm.end(context);
        let response = request.maps.lock().unwrap().response.clone();
        assert!(response.iter().any(|(name, _)| name == "x-headers"), "{response:?}");
        let long = "x".repeat(9000);
        let (context, _) = vm.create_context(Request::new(2, &[("long", &long)]).boxed());
        let outcome = vm.call(context, Callback::RequestHeaders { end_of_stream: true });
        let Action::Respond(response) = outcome.action else { panic!("{:?}", outcome.action) };
        assert_eq!(response.status, 431);
        assert!(String::from_utf8(response.body).unwrap().contains("the limit is 8192"));
        vm.end(context);
    }
}
