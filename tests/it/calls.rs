//! The fixture `calls`: a filter that makes the host calls which a request lists, byte for byte, and says
//! what came of them.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use wasmdbg_tests::ats::Filter;
use wasmdbg_tests::process::repository;
use wasmdbg_tests::raw;
use wasmdbg_tests::scratch::Scratch;

pub(crate) const OK: u8 = 0;
pub(crate) const NOT_FOUND: u8 = 1;
pub(crate) const BAD_ARGUMENT: u8 = 2;

pub(crate) const REQUEST: u16 = 0;
pub(crate) const RESPONSE: u16 = 2;

/// The filter, for requests that name their calls `name`. Its module is made in `folder`.
pub(crate) fn filter(folder: &Scratch, name: &str) -> Result<Filter> {
    Ok(Filter::new(name, &module(folder, name)?).fail_closed())
}

/// The module alone.
pub(crate) fn module(folder: &Scratch, name: &str) -> Result<PathBuf> {
    let text = std::fs::read_to_string(repository().join("tests/fixtures/calls/calls.wat"))?;
    // The sizes of the names stay.
    ensure!(name.len() == "calls".len(), "{name}: the fixture takes a name of five letters");
    let text =
        text.replace("\"calls", &format!("\"{name}")).replace("\"said-calls", &format!("\"said-{name}"));
    folder.write(&format!("{name}.wasm"), wat::parse_str(text)?)
}

/// A list of calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Vec<u8>);

/// A name or a value; [`Text::Times`] is one byte many times, too long for a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Text<'a> {
    Bytes(&'a [u8]),
    Times(u32, u8),
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Text<'a> {
    fn from(bytes: &'a T) -> Self {
        Self::Bytes(bytes.as_ref())
    }
}

impl Calls {
    fn call<'a>(mut self, function: u8, argument: u16, first: impl Into<Text<'a>>, second: Text<'_>) -> Self {
        self.0.push(function);
        self.0.extend(argument.to_le_bytes());
        for text in [first.into(), second] {
            match text {
                Text::Bytes(bytes) => {
                    self.0.extend((bytes.len() as u32).to_le_bytes());
                    self.0.extend(bytes);
                }
                Text::Times(times, byte) => {
                    self.0.extend((times | 1 << 31).to_le_bytes());
                    self.0.push(byte);
                }
            }
        }
        self
    }

    pub(crate) fn add<'a>(self, map: u16, name: impl Into<Text<'a>>, value: impl Into<Text<'a>>) -> Self {
        self.call(0, map, name, value.into())
    }

    pub(crate) fn replace<'a>(self, map: u16, name: impl Into<Text<'a>>, value: impl Into<Text<'a>>) -> Self {
        self.call(1, map, name, value.into())
    }

    pub(crate) fn remove(self, map: u16, name: &str) -> Self {
        self.call(2, map, name, Text::Bytes(b""))
    }

    pub(crate) fn set_pairs(self, map: u16, pairs: &[(&[u8], &[u8])]) -> Self {
        self.call(3, map, "", Text::Bytes(&serialize(pairs)))
    }

    pub(crate) fn get(self, map: u16, name: &str) -> Self {
        self.call(4, map, name, Text::Bytes(b""))
    }

    pub(crate) fn pairs(self, map: u16) -> Self {
        self.call(5, map, "", Text::Bytes(b""))
    }

    pub(crate) fn property(self, path: &str) -> Self {
        self.call(6, 0, path.replace('.', "\0").as_str(), Text::Bytes(b""))
    }

    /// `path` has its dots; its last part may have any bytes.
    pub(crate) fn set_property<'a>(self, path: &[&[u8]], value: impl Into<Text<'a>>) -> Self {
        self.call(7, 0, &path.join(&0), value.into())
    }

    pub(crate) fn respond(self, status: u16, headers: &[(&[u8], &[u8])], body: &str) -> Self {
        self.call(8, status, &serialize(headers), Text::Bytes(body.as_bytes()))
    }

    pub(crate) fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn serialize(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = (pairs.len() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        bytes.extend([name, &b"\0"[..], value, b"\0"].concat());
    }
    bytes
}

/// What a filter's calls of one callback came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) end_of_stream: bool,
    /// Number of headers that the callback was given.
    pub(crate) headers: u32,
    /// A status and what was returned, for each call.
    pub(crate) results: Vec<(u8, Vec<u8>)>,
}

impl Said {
    /// Of the calls that the filter `calls` made for a request, in a raw response.
    pub(crate) fn of_request(response: &[u8]) -> Result<Self> {
        Self::field(response, "said-calls")
    }

    /// The same for its response.
    pub(crate) fn of_response(response: &[u8]) -> Result<Self> {
        Self::field(response, "said-calls-response")
    }

    /// Of a field of a raw response.
    pub(crate) fn field(response: &[u8], name: &str) -> Result<Self> {
        let digits = raw::split(response).and_then(|(head, _)| raw::field(head, name));
        let digits =
            digits.with_context(|| format!("no {name} in {:?}", String::from_utf8_lossy(response)))?;
        Self::parse(&digits)
    }

    pub(crate) fn parse(digits: &str) -> Result<Self> {
        let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16);
        let bytes = (0..digits.len() / 2).map(byte).collect::<Result<Vec<u8>, _>>()?;
        let number = |at: usize| -> Result<u32> {
            Ok(u32::from_le_bytes(bytes.get(at..at + 4).context("the results are cut")?.try_into()?))
        };
        let mut results = Vec::new();
        let mut at = 5;
        while at < bytes.len() {
            let size = number(at + 1)? as usize;
            let value = bytes.get(at + 5..at + 5 + size).context("the results are cut")?;
            results.push((bytes[at], value.to_vec()));
            at += 5 + size;
        }
        Ok(Self { end_of_stream: bytes[0] != 0, headers: number(1)?, results })
    }

    pub(crate) fn statuses(&self) -> Vec<u8> {
        self.results.iter().map(|(status, _)| *status).collect()
    }

    /// The status, and what was returned as text, of one call.
    pub(crate) fn text(&self, call: usize) -> (u8, String) {
        let (status, bytes) = &self.results[call];
        (*status, String::from_utf8_lossy(bytes).into_owned())
    }

    /// The pairs that one call returned.
    pub(crate) fn pairs(&self, call: usize) -> Vec<(String, String)> {
        let bytes = &self.results[call].1;
        let number =
            |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        let mut at = 4 + 8 * number(0);
        let mut take = |size: usize| {
            let text = String::from_utf8_lossy(&bytes[at..at + size]).into_owned();
            at += size + 1;
            text
        };
        (0..number(0)).map(|pair| (take(number(4 + 8 * pair)), take(number(8 + 8 * pair)))).collect()
    }
}

/// A request with its calls, as bytes; its connection is closed after it.
pub(crate) fn request(line: &str, calls: &Calls, of_response: &Calls, more: &str) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n");
    for (name, calls) in [("calls", calls), ("calls-response", of_response)] {
        if !calls.0.is_empty() {
            text.push_str(&format!("{name}: {}\r\n", calls.hex()));
        }
    }
    (text + more + "\r\n").into_bytes()
}
