//! The YAML of filters and settings.

use std::fs;
use std::path::Path;
use std::time::Duration;

use wasmdbg_proxy_wasm::config::Limits;
use wasmdbg_proxy_wasm::{FilterConfig, Settings};

const PATH: &str = "/etc/filter.yaml";

fn parse(text: &str) -> (FilterConfig, Vec<String>) {
    FilterConfig::parse(text, Path::new(PATH), None).unwrap()
}

fn refused(text: &str) -> String {
    FilterConfig::parse(text, Path::new(PATH), None).unwrap_err().to_string()
}

#[test]
fn every_key_in_both_spellings() {
    for (root_id, vm_config, vm_id) in [("rootId", "vmConfig", "vmId"), ("root_id", "vm_config", "vm_id")] {
        let (config, warnings) = parse(&format!(
            r#"
config:
  name: token
  {root_id}: root
  configuration: quiet
  fail_open: false
  {vm_config}:
    runtime: ats.wasm.runtime.wasmtime
    {vm_id}: one
    configuration: of the vm
    environment_variables:
      host_env_keys: [CARGO_MANIFEST_DIR, NOT_SET_ANYWHERE]
      key_values: {{ A: b, N: 7 }}
    code: {{ local: {{ filename: /filters/x.wasm }} }}
  capability_restriction_config: {{ allowed_capabilities: [proxy_log] }}
"#
        ));
        assert_eq!(warnings, [""; 0]);
        assert_eq!((config.name.as_str(), config.root_id.as_str()), ("token", "root"));
        assert_eq!((config.configuration.as_str(), config.fail_open), ("quiet", false));
        assert_eq!((config.vm_id.as_str(), config.vm_configuration.as_str()), ("one", "of the vm"));
        assert_eq!(config.module_path, Path::new("/filters/x.wasm"));
        let here = env!("CARGO_MANIFEST_DIR");
        let pairs: Vec<(&str, &str)> =
            config.environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("CARGO_MANIFEST_DIR", here), ("A", "b"), ("N", "7")]);
        assert!(config.capabilities.unwrap().contains("proxy_log"));
    }
}

#[test]
fn what_is_left_out() {
    let (config, warnings) = parse("config: {vmConfig: {code: {local: {filename: x.wasm}}}}");
    assert_eq!(warnings, [""; 0]);
    assert_eq!((config.name.as_str(), config.fail_open), ("filter", true));
    assert_eq!(config.module_path, Path::new("/etc/x.wasm"), "beside the YAML");
    assert!(config.capabilities.is_none());
}

/// Whatever else is wrong with a file, what it says of failures counts.
#[test]
fn a_file_with_a_mistake_keeps_its_fail_policy() {
    let folder = std::env::temp_dir().join(format!("wasmdbg-policy-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("guard.yaml");
    let policy = |text: &str| {
        std::fs::write(&path, text).unwrap();
        assert!(FilterConfig::read(&path, None).is_err(), "{text}");
        FilterConfig::unreadable(&path).fail_open
    };
    assert!(!policy("config:\n  fail_open: false\n  limits: {pause: never}\n"));
    assert!(!policy("config: {\"fail_open\": \"false\", limits: {map_fields: many}}\n"));
    assert!(!policy("config:\n  fail_open: false # closed\n\tno yaml\n"));
    assert!(policy("config:\n  # fail_open: false\n  limits: {pause: never}\n"));
    assert!(policy("config:\n  fail_open: true\n  limits: {pause: never}\n"));
    assert!(policy("config:\n  limits: {pause: never}\n"), "the default");
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(FilterConfig::unreadable(&path).fail_open, "nothing is there to say it");
}

#[test]
fn configurations_that_are_no_text() {
    let of = |value: &str| {
        parse(&format!("config: {{configuration: {value}, vmConfig: {{code: {{local: {{filename: x}}}}}}}}"))
            .0
            .configuration
    };
    assert_eq!(of("plain words"), "plain words");
    assert_eq!(of("7"), "7");
    assert_eq!(of("true"), "true");
    assert_eq!(of("{a: [1, two]}"), r#"{"a":[1,"two"]}"#);
    assert_eq!(of("null"), "");
}

#[test]
fn keys_that_have_no_effect_are_named() {
    let (_, warnings) = parse(
        "config:\n  nam: x\n  vmConfig:\n    runtime: ats.wasm.runtime.wamr\n    allow_precompiled: true\n    code: {local: {filename: x, size: 3}}\n",
    );
    assert_eq!(
        warnings,
        [
            "unknown key config.nam at line 2 is ignored",
            "unknown key config.vmConfig.code.local.size at line 6 is ignored",
            "runtime: ats.wasm.runtime.wamr is ignored, the filter runs on wasmtime",
            "allow_precompiled is ignored, modules are compiled by the plugin itself",
        ]
    );
}

#[test]
fn whether_a_filter_sees_http_can_be_said() {
    let of = |line: &str| {
        let text = format!("config:\n  name: x\n{line}  vmConfig: {{code: {{local: {{filename: x}}}}}}\n");
        parse(&text).0.http
    };
    assert_eq!((of(""), of("  http: null\n")), (None, None));
    assert_eq!((of("  http: false\n"), of("  http: 'true'\n")), (Some(false), Some(true)));
    let wrong = refused("config:\n  http: no\n  vmConfig: {code: {local: {filename: x}}}\n");
    assert!(wrong.starts_with("/etc/filter.yaml: ") && wrong.contains("line 2 column 9"), "{wrong}");
    assert!(wrong.contains("expected true or false, found no"), "{wrong}");
}

#[test]
fn unknown_keys_have_their_line() {
    let warnings = |text: &str| Settings::parse(text, Path::new("s")).unwrap().1;
    // The second is not taken for the first, nor a comment, nor a value.
    let text = "# memory: x\nlimits:\n  memory: 1 MB\n  colour: red\n\nmemory: 2\ndebug:\n  limits: 7\n";
    let line = |key, line| format!("unknown key {key} at line {line} is ignored");
    assert_eq!(warnings(text), [line("limits.colour", 4), line("memory", 6), line("debug.limits", 8)]);
    assert_eq!(warnings("{limits: {memory: 1, \"x\": 2}}"), [line("limits.x", 1)]);
    // Where it is not sure none is said.
    assert_eq!(warnings("limits: {\nx: 2}"), ["unknown key limits.x is ignored"]);
}

#[test]
fn errors_have_line_and_column() {
    let code = "  vmConfig: {code: {local: {filename: x}}}\n";
    let syntax = refused("config:\n  name: [a\n  b: }\n");
    assert!(syntax.starts_with("/etc/filter.yaml: ") && syntax.contains("line 3 column"), "{syntax}");
    let kind = refused(&format!("config:\n{code}  limits:\n    cpu_per_callback: soon\n"));
    assert!(kind.contains("\"soon\" is not a duration: a number with ms, s, m or h"), "{kind}");
    assert!(kind.contains("line 4 column"), "{kind}");
    let flag = refused(&format!("config:\n{code}  fail_open: maybe\n"));
    assert!(flag.contains("expected true or false") && flag.contains("line 3 column"), "{flag}");
    let missing = refused("config:\n  vmConfig: {code: {local: {}}}\n");
    assert!(missing.contains("missing field `filename`") && missing.contains("line 2"), "{missing}");
    let empty = refused("");
    assert!(empty.contains("config"), "{empty}");
    let gone = FilterConfig::read(Path::new("/nowhere/x.yaml"), None).unwrap_err().to_string();
    assert!(gone.starts_with("cannot read /nowhere/x.yaml: "), "{gone}");
}

#[test]
fn a_module_in_the_config_directory() {
    let dir = std::env::temp_dir().join(format!("wasmdbg-config-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("there.wasm"), "").unwrap();
    let find = |name: &str| {
        let text = format!("config: {{vmConfig: {{code: {{local: {{filename: {name}}}}}}}}}");
        FilterConfig::parse(&text, Path::new(PATH), Some(&dir)).unwrap().0.module_path
    };
    assert_eq!(find("there.wasm"), dir.join("there.wasm"));
    assert_eq!(find("nowhere.wasm"), Path::new("/etc/nowhere.wasm"));
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn settings_and_their_defaults() {
    let (settings, _) = Settings::parse("", Path::new("s")).unwrap();
    assert!(settings.control.enabled && settings.control.socket.is_none());
    assert_eq!((settings.debug.max_vms, settings.debug.max_memory), (4, 512 << 20));
    assert_eq!(settings.limits.cpu_per_callback, Duration::from_millis(500));
    assert_eq!(settings.limits.memory, 256 << 20);
    let (pause, done) = (Duration::from_secs(60), Duration::from_secs(30));
    assert_eq!((settings.limits.pause, settings.limits.done), (Some(pause), Some(done)));
    assert_eq!(settings.start_timeout, Duration::from_secs(5));
    let (settings, warnings) = Settings::parse(
        "control: {enabled: false, socket: /run/x, users: [ops, 1000]}\ndebug: {max_vms: 2, max_memory: 64MiB, pause_deadline: 2m}\nlimits: {cpu_per_callback: 1.5s, memory: 1048576, pause: off, done: 2m}\nstart_timeout: 1h\ncolour: red\n",
        Path::new("s"),
    )
    .unwrap();
    assert_eq!(warnings, ["unknown key colour at line 5 is ignored"]);
    assert!(!settings.control.enabled);
    assert_eq!(settings.control.users, ["ops", "1000"]);
    assert_eq!(
        (settings.debug.max_memory, settings.debug.pause_deadline),
        (64 << 20, Duration::from_secs(120))
    );
    assert_eq!(settings.limits.cpu_per_callback, Duration::from_millis(1500));
    assert_eq!(settings.limits.memory, 1 << 20);
    assert_eq!((settings.limits.pause, settings.limits.done), (None, Some(Duration::from_secs(120))));
    assert_eq!(settings.start_timeout, Duration::from_secs(3600));
    let refused = |text: &str| Settings::parse(text, Path::new("s")).unwrap_err().to_string();
    assert!(refused("limits: {memory: 3 apples}").contains("is not a size"));
    assert!(refused("limits: {memory: 3 apples}").contains("line 1 column"));
    assert!(refused("debug: {max_vms: 0}").contains("debug.max_vms must be at least 1"));
    assert!(refused("limits: {cpu_per_callback: 5}").contains("a number with ms, s, m or h"));
    assert!(refused("limits: {pause: 0 s}").contains("write off for no limit"));
    assert!(refused("limits: {done: never}").contains("is not a duration"));
}

#[test]
fn a_filter_overrides_limits() {
    let (config, _) = parse(
        "config: {limits: {memory: 8 MB, pause: off, done: 3 s}, vmConfig: {code: {local: {filename: x}}}}",
    );
    let (settings, _) = Settings::parse("limits: {cpu_per_callback: 7ms}", Path::new("s")).unwrap();
    let limits = config.limits.over(settings.limits);
    assert_eq!((limits.memory, limits.cpu_per_callback), (8 << 20, Duration::from_millis(7)));
    assert_eq!((limits.pause, limits.done), (None, Some(Duration::from_secs(3))));
    let all = "log_bytes: 1, log_lines: 2, log_rate: 3 KB, map_fields: 4, map_bytes: 5, shared_data: 6, queue: 7, metrics: 8";
    let (config, warnings) =
        parse(&format!("config: {{limits: {{{all}}}, vmConfig: {{code: {{local: {{filename: x}}}}}}}}"));
    assert_eq!(warnings, [""; 0]);
    let Limits { log_bytes, log_lines, log_rate, map_fields, map_bytes, shared_data, queue, metrics, .. } =
        config.limits.over(settings.limits);
    assert_eq!((log_bytes, log_lines, log_rate, map_fields, map_bytes), (1, 2, 3 << 10, 4, 5));
    assert_eq!((shared_data, queue, metrics), (6, 7, 8));
}

/// The examples in docs/CONFIGURATION.md: every key that is shown is one, and the settings are the defaults.
#[test]
fn the_documented_files_are_read() {
    let document = include_str!("../../../../docs/CONFIGURATION.md");
    let blocks: Vec<&str> = document
        .split("```yaml\n")
        .skip(1)
        .map(|block| block.split_once("```").expect("the block ends").0)
        .collect();
    let [filter, settings] = blocks.as_slice() else { panic!("{} blocks", blocks.len()) };
    let (config, warnings) = parse(filter);
    assert_eq!(warnings, [""; 0]);
    let (read, warnings) = Settings::parse(settings, Path::new("s")).unwrap();
    assert_eq!(warnings, [""; 0]);
    let defaults = Settings::default();
    assert_eq!(format!("{read:?}"), format!("{defaults:?}"));
    assert_eq!(config.limits.over(defaults.limits), defaults.limits);
    assert_eq!((config.fail_open, config.capabilities), (true, None));
    // Every setting is among them.
    for (field, _) in format!("{read:#?}").lines().filter_map(|line| line.trim().split_once(": ")) {
        assert!(settings.contains(&format!("{field}:")), "{field} is not documented");
    }
}
