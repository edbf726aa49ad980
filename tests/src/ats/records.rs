//! The server's records: records.config of version 9, records.yaml of version 10.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::Options;
use super::server::Server;
use crate::scratch::Scratch;

/// A record as [`Options::record`] takes it: `proxy.config.NAME TYPE VALUE`.
struct Record<'a> {
    name: &'a str,
    kind: &'a str,
    value: &'a str,
}

impl<'a> Record<'a> {
    fn parse(line: &'a str) -> Result<Self> {
        let mut words = line.splitn(3, ' ');
        let (name, kind, value) = (words.next(), words.next(), words.next());
        let name = name.and_then(|name| name.strip_prefix("proxy.config."));
        let record = name.zip(kind).zip(value);
        let ((name, kind), value) =
            record.with_context(|| format!("{line:?} is not `proxy.config.NAME TYPE VALUE`"))?;
        Ok(Self { name, kind, value })
    }

    fn yaml(&self) -> Result<Value> {
        Ok(match self.kind {
            _ if self.value == "NULL" => Value::Null,
            "STRING" => self.value.into(),
            _ => serde_json::from_str(self.value)
                .with_context(|| format!("{}: {:?} is not a number", self.name, self.value))?,
        })
    }
}

/// Writes the one file that this version reads; 10 ends at once when it finds the other.
pub(super) fn write(
    scratch: &Scratch,
    server: &Server,
    options: &Options,
    address: SocketAddr,
    tls: Option<SocketAddr>,
) -> Result<()> {
    let lines = lines(server, options, address, tls);
    if server.major < 10 {
        let text: String = lines.iter().map(|line| format!("CONFIG {line}\n")).collect();
        scratch.write("etc/records.config", text)?;
    } else {
        scratch.write("etc/records.yaml", yaml(&lines)?)?;
    }
    Ok(())
}

fn lines(server: &Server, options: &Options, address: SocketAddr, tls: Option<SocketAddr>) -> Vec<String> {
    let mut ports = format!("{}:ip-in=127.0.0.1", address.port());
    if options.http2 {
        ports.push_str(":proto=http2;http");
    }
    if let Some(tls) = tls {
        ports.push_str(&format!(" {}:ip-in=127.0.0.1:ssl:proto=http2;http", tls.port()));
    }
    let mut own = vec![
        format!("http.server_ports STRING {ports}"),
        // Keeps the user who starts it.
        "admin.user_id STRING #-1".into(),
        format!("exec_thread.limit INT {}", options.event_threads),
        "crash_log_helper STRING NULL".into(),
        "diags.output.diag STRING E".into(),
        "net.connections_throttle INT 10000".into(),
    ];
    if server.major < 10 {
        own.push("exec_thread.autoconfig INT 0".into());
    } else {
        own.push("exec_thread.autoconfig.enabled INT 0".into());
        // Under a runroot it looks for them in the runroot.
        let templates = server.prefix.join("etc/trafficserver/body_factory");
        own.push(format!("body_factory.template_sets_dir STRING {}", templates.display()));
    }
    let own = own.iter().map(|record| format!("proxy.config.{record}"));
    own.chain(options.records.iter().cloned()).collect()
}

/// The dotted names as a tree. JSON is YAML.
fn yaml(lines: &[String]) -> Result<String> {
    let mut records = Value::Object(Map::new());
    for line in lines {
        let record = Record::parse(line)?;
        let mut node = &mut records;
        for part in record.name.split('.') {
            node = &mut node[part];
        }
        *node = record.yaml()?;
    }
    Ok(serde_json::json!({ "records": records }).to_string())
}

#[cfg(test)]
mod tests {
    use super::yaml;

    #[test]
    fn dotted_names_become_a_tree() {
        let lines = [
            "proxy.config.http.server_ports STRING 8080:ip-in=127.0.0.1 8443:ssl",
            "proxy.config.http.insert_age INT 0",
            "proxy.config.crash_log_helper STRING NULL",
        ];
        let text = yaml(&lines.map(String::from)).unwrap();
        let expected = r#"{"records":{"crash_log_helper":null,"http":{"insert_age":0,"server_ports":"8080:ip-in=127.0.0.1 8443:ssl"}}}"#;
        assert_eq!(text, expected);
        assert!(yaml(&["proxy.config.x INT many".into()]).is_err());
        assert!(yaml(&["http.x INT 1".into()]).is_err());
    }
}
