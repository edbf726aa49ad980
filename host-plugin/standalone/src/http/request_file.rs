//! Files of requests in the form that editors use (`.http`): requests between lines of `###`, a request
//! line, header fields, an empty line, a body; `@name = value` and `{{name}}`; `#` and `//` comment. A line
//! `foreign: 7` in the place of a request line calls the filter's foreign function of that number, with the body as
//! its arguments. Reads text and no files.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use crate::upstream::{Body, full};

/// What is wrong with a file of requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct FileError {
    /// From 1.
    pub line: usize,
    /// What is wrong, and how it is written.
    pub reason: String,
}

/// What is between two lines of `###`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Section {
    /// A request is sent.
    Request(FileRequest),
    /// `proxy_on_foreign_function` of the filter is called.
    ForeignFunction {
        /// Its number.
        function: u32,
        /// What it can read; can be empty.
        arguments: Bytes,
    },
}

/// A request of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRequest {
    /// What stands behind its `###`; can be empty.
    pub name: String,
    /// The method.
    pub method: Method,
    /// `/path?query`
    pub path: String,
    /// The fields, `host` among them when the request line names one.
    pub headers: HeaderMap,
    /// The body; can be empty.
    pub body: Bytes,
}

impl FileRequest {
    pub(crate) fn into_http(self) -> Request<Body> {
        let mut request = Request::new(full(self.body));
        *request.method_mut() = self.method;
        // It was one when it was read.
        *request.uri_mut() = self.path.parse().unwrap_or_default();
        *request.headers_mut() = self.headers;
        request
    }
}

/// Reads the text of a file.
///
/// # Errors
/// See [`FileError`]; a file without a section is one.
pub fn parse(text: &str) -> Result<Vec<Section>, FileError> {
    let mut variables = BTreeMap::new();
    let mut sections = Vec::new();
    let mut reading = Reading::default();
    for (index, line) in text.lines().enumerate() {
        match line.strip_prefix("###") {
            Some(name) => {
                sections.extend(reading.finish()?);
                reading = Reading { name: name.trim_matches(['#', ' ']).to_owned(), ..Reading::default() };
            }
            None => reading.line(index + 1, line, &mut variables)?,
        }
    }
    sections.extend(reading.finish()?);
    if sections.is_empty() {
        let reason = "there is no request: write a line like `GET /path`".to_owned();
        return Err(FileError { line: text.lines().count().max(1), reason });
    }
    Ok(sections)
}

#[derive(Default)]
struct Reading {
    name: String,
    /// The line number and the request line.
    start: Option<(usize, String)>,
    headers: Vec<(usize, String)>,
    body: Option<String>,
}

impl Reading {
    fn line(
        &mut self,
        number: usize,
        line: &str,
        variables: &mut BTreeMap<String, String>,
    ) -> Result<(), FileError> {
        let fault = |reason: String| Err(FileError { line: number, reason });
        let trimmed = line.trim();
        if let Some(body) = &mut self.body {
            if trimmed.starts_with("> ") || trimmed.starts_with("< ") {
                return fault(format!("scripts and files are not read here: {trimmed:?}"));
            }
            if is_request_line(trimmed) {
                return fault(format!(
                    "{trimmed:?} is in the body of a request: write ### between two requests"
                ));
            }
            body.push_str(&expand(line, variables, number)?);
            body.push('\n');
            return Ok(());
        }
        if trimmed.starts_with('#') || trimmed.starts_with("//") {
            return Ok(());
        }
        let Some((_, start)) = &mut self.start else {
            if let Some(variable) = trimmed.strip_prefix('@') {
                let Some((name, value)) = variable.split_once('=') else {
                    return fault(format!("{trimmed:?} sets nothing: write @name = value"));
                };
                let value = expand(value.trim(), variables, number)?;
                variables.insert(name.trim().to_owned(), value);
            } else if !trimmed.is_empty() {
                self.start = Some((number, expand(trimmed, variables, number)?));
            }
            return Ok(());
        };
        if trimmed.is_empty() {
            self.body = Some(String::new());
        } else if self.headers.is_empty() && line.starts_with([' ', '\t']) && trimmed.starts_with(['?', '&'])
        {
            // A query over several lines.
            start.push_str(&expand(trimmed, variables, number)?);
        } else {
            self.headers.push((number, expand(trimmed, variables, number)?));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Section>, FileError> {
        let Some((line, start)) = self.start.take() else { return Ok(None) };
        Ok(Some(match start.strip_prefix("foreign:") {
            Some(number) => self.foreign_function(line, number.trim())?,
            None => Section::Request(self.request(line, &start)?),
        }))
    }

    fn foreign_function(&mut self, line: usize, number: &str) -> Result<Section, FileError> {
        let Ok(function) = number.parse() else {
            let reason = format!("{number:?} is not the number of a function: write foreign: 7");
            return Err(FileError { line, reason });
        };
        if let Some((line, field)) = self.headers.first() {
            let reason = format!(
                "{field:?}: a foreign function has no header fields: write an empty line before its arguments"
            );
            return Err(FileError { line: *line, reason });
        }
        Ok(Section::ForeignFunction { function, arguments: self.body() })
    }

    /// Without the empty lines at its end.
    fn body(&mut self) -> Bytes {
        let body = self.body.take().unwrap_or_default();
        Bytes::from(body.trim_end_matches('\n').to_owned())
    }

    fn request(&mut self, line: usize, start: &str) -> Result<FileRequest, FileError> {
        let fault = |line: usize, reason: String| FileError { line, reason };
        let mut words: Vec<&str> = start.split_whitespace().collect();
        if words.last().is_some_and(|word| word.starts_with("HTTP/")) {
            words.pop();
        }
        let (method, target) = match words.as_slice() {
            [target] if target.contains(['/', '.', ':']) => ("GET", *target),
            [method, target] => (*method, *target),
            _ => return Err(fault(line, format!("{start:?} is no request line: write GET /path"))),
        };
        let method: Method = method.parse().map_err(|_| fault(line, format!("{method:?} is no method")))?;
        let uri: Uri = target.parse().map_err(|_| fault(line, format!("{target:?} is no URL or path")))?;
        let mut headers = HeaderMap::new();
        for (line, header) in self.headers.drain(..) {
            let field = header.split_once(':').and_then(|(name, value)| {
                let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
                Some((name, HeaderValue::from_str(value.trim()).ok()?))
            });
            let Some((name, value)) = field else {
                return Err(fault(line, format!("{header:?} is no header field: write name: value")));
            };
            headers.append(name, value);
        }
        if let Some(authority) = uri.authority()
            && !headers.contains_key(http::header::HOST)
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            headers.insert(http::header::HOST, host);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') || path == "*" { path.to_owned() } else { format!("/{path}") };
        let body = self.body();
        if !body.is_empty() {
            headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Ok(FileRequest { name: std::mem::take(&mut self.name), method, path, headers, body })
    }
}

/// `GET /b HTTP/1.1`
fn is_request_line(line: &str) -> bool {
    let mut words = line.split(' ');
    let method = words
        .next()
        .is_some_and(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase()));
    method
        && words.next().is_some()
        && words.next().is_some_and(|word| word.starts_with("HTTP/"))
        && words.next().is_none()
}

fn expand(text: &str, variables: &BTreeMap<String, String>, line: usize) -> Result<String, FileError> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("{{") {
        let Some((name, after)) = behind.split_once("}}") else { break };
        let name = name.trim();
        let Some(value) = variables.get(name) else {
            let reason = format!("nothing is named {name:?}: write @{name} = value above");
            return Err(FileError { line, reason });
        };
        expanded.push_str(before);
        expanded.push_str(value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(text: &str) -> Vec<FileRequest> {
        let request = |section| match section {
            Section::Request(request) => request,
            other => panic!("{other:?}"),
        };
        parse(text).unwrap().into_iter().map(request).collect()
    }

    #[test]
    fn foreign_functions_are_read() {
        let sections =
            parse("@what = world\n### first\nforeign: 7\n\nhello\n{{what}}\n\n###\nforeign:4294967295\n");
        let call = |function, arguments: &'static str| Section::ForeignFunction {
            function,
            arguments: arguments.into(),
        };
        assert_eq!(sections, Ok(vec![call(7, "hello\nworld"), call(u32::MAX, "")]));
        let error = |text: &str| parse(text).unwrap_err().to_string();
        assert!(error("\nforeign: -1").starts_with("line 2: \"-1\" is not the number of a function"));
        assert!(
            error("foreign: 7\nhost: here\n")
                .starts_with("line 2: \"host: here\": a foreign function has no")
        );
    }

    #[test]
    fn requests_are_read() {
        let text = "@host = http://origin:81\n@token = 7919\n\n# a comment\nGET {{host}}/a\n    ?b=1\n    &c=2\ntoken: {{token}}\n\n### second\nPOST /form HTTP/1.1\nHost: other\n\nline 1\nline 2\n\n###\n/plain\n";
        let requests = requests(text);
        assert_eq!(requests.len(), 3);
        assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("GET", "/a?b=1&c=2"));
        assert_eq!(requests[0].headers["token"], "7919");
        assert_eq!(requests[0].headers["host"], "origin:81");
        assert_eq!((requests[1].name.as_str(), requests[1].method.as_str()), ("second", "POST"));
        assert_eq!(requests[1].body, "line 1\nline 2");
        assert_eq!(requests[1].headers["content-length"], "13");
        assert_eq!((requests[2].method.as_str(), requests[2].path.as_str()), ("GET", "/plain"));
    }

    #[test]
    fn names_stand_for_their_values_everywhere() {
        let text = "@a = 1\n@b = {{a}}2\n// no request\nPOST http://line/{{b}}\nHost: field\nx: {{b}}\nx: 3\n\n{{b}}\n\n{{ a }}\n";
        let requests = requests(text);
        assert_eq!(requests.len(), 1);
        assert_eq!((requests[0].path.as_str(), &requests[0].body[..]), ("/12", &b"12\n\n1"[..]));
        let values = |name: &str| requests[0].headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(values("x"), ["12", "3"]);
        assert_eq!(values("host"), ["field"], "it says more than the request line");
    }

    #[test]
    fn a_request_without_a_body_does_not_say_how_long_it_is() {
        let requests = requests("GET /a\n\n\n");
        assert!(requests[0].body.is_empty() && requests[0].headers.is_empty(), "{requests:?}");
    }

    #[test]
    fn mistakes_have_a_line() {
        let error = |text: &str| parse(text).unwrap_err().to_string();
        assert!(error("").starts_with("line 1: there is no request"));
        assert!(error("GET /a\nno field\n").starts_with("line 2: \"no field\" is no header field"));
        assert!(error("\nGET /{{x}}\n").starts_with("line 2: nothing is named \"x\""));
        assert!(error("GET a b c d\n").contains("is no request line"));
        assert!(error("garbage\n").starts_with("line 1: \"garbage\" is no request line"));
        assert!(
            error("GET /a\n\nGET /b HTTP/1.1\n").starts_with("line 3: \"GET /b HTTP/1.1\" is in the body")
        );
        assert!(error("GET /\n\n> {% script %}\n").starts_with("line 3: scripts and files"));
    }
}
