//! What a filter may put into a message, the same in every host: the parts of a start line, under their
//! pseudo-headers and properties, and fields. Decides and splits; changes nothing and knows no message.
//!
//! | part | may hold |
//! |---|---|
//! | method | a token (RFC 9110, 5.6.2); never from or to HEAD and CONNECT |
//! | path | `/`, then any bytes but controls, space, 0x7f and `#`; `?` begins the query |
//! | query | the same bytes; none for no query |
//! | authority, the field `host` | the characters of a host and a port (RFC 3986, 3.2): no `/?#@` |
//! | scheme | `http`, `https` |
//! | status | 200 to 599; never from or to 204 and 304 |
//! | reason | no controls but the tab |
//! | field | a token; a value without controls but the tab (RFC 9110, 5.5) |
//!
//! Bytes from 0x80 on pass in paths, queries and values: they end nothing, and clients send them. A
//! pseudo-header or field that the message has already may be written once more, whatever it is: a filter that
//! writes back the map that it has read must not fail because of its client.
//!
//! HEAD, CONNECT, 204 and 304 say whether a body follows. Both sides have agreed on that before a filter
//! sees the message: one that changes it makes the next message's beginning the rest of this one.

use crate::embedder::{HeaderMap, Status};

/// Longest name, path, query or method in bytes: Traffic Server keeps their lengths in 16 bits.
pub const NAME_LIMIT: usize = 0xffff;
/// Longest value of a field in bytes: Traffic Server keeps its length in 24 bits.
pub const VALUE_LIMIT: usize = 0xff_ffff;

/// A part of a start line under the name that HTTP/2 gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pseudo {
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority`
    Authority,
    /// `:path`, with the query
    Path,
    /// `:status`
    Status,
}

impl Pseudo {
    /// Those of a map, in the order in which it lists them.
    pub fn of(map: HeaderMap) -> &'static [Self] {
        match map {
            HeaderMap::RequestHeaders => &[Self::Method, Self::Scheme, Self::Authority, Self::Path],
            HeaderMap::ResponseHeaders => &[Self::Status],
            HeaderMap::RequestTrailers | HeaderMap::ResponseTrailers => &[],
        }
    }

    /// With its colon.
    pub fn name(self) -> &'static [u8] {
        match self {
            Self::Method => b":method",
            Self::Scheme => b":scheme",
            Self::Authority => b":authority",
            Self::Path => b":path",
            Self::Status => b":status",
        }
    }

    /// The one that `name` is in `map`. None for the name of a field.
    ///
    /// # Errors
    /// [`Status::NotFound`] when `name` has a colon and the map has no such pseudo-header.
    pub fn named(map: HeaderMap, name: &[u8]) -> Result<Option<Self>, Status> {
        if name.first() != Some(&b':') {
            return Ok(None);
        }
        let found = Self::of(map).iter().find(|pseudo| pseudo.name() == name);
        found.copied().map(Some).ok_or(Status::NotFound)
    }
}

/// A part of a message as a filter may set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The request's method.
    Method(&'a [u8]),
    /// `http`, `https`
    Scheme(&'a [u8]),
    /// A host, and a port or none.
    Authority(&'a [u8]),
    /// Path and query.
    Path {
        /// Begins with `/`.
        path: &'a [u8],
        /// What follows `?`.
        query: &'a [u8],
    },
    /// The path alone; the query stays.
    UrlPath(&'a [u8]),
    /// The query alone; the path stays.
    Query(&'a [u8]),
    /// The response's status.
    Status(u16),
    /// The words behind it (HTTP/1).
    Reason(&'a [u8]),
    /// A field.
    Field {
        /// As the filter wrote it.
        name: &'a [u8],
        /// The whole value.
        value: &'a [u8],
    },
    /// A part of the start line that the message has already: nothing is to be done.
    Unchanged,
}

impl<'a> Part<'a> {
    /// The part that is named `name` in a header map. `has(name, value)` says whether the message has this
    /// pseudo-header or one field with this value now.
    ///
    /// # Errors
    /// [`Status::BadArgument`] when it cannot hold `value`, or there is no such pseudo-header.
    pub fn of_map(
        map: HeaderMap,
        name: &'a [u8],
        value: &'a [u8],
        has: &dyn Fn(&[u8], &[u8]) -> bool,
    ) -> Result<Self, Status> {
        let Some(pseudo) = Pseudo::named(map, name).map_err(|_| Status::BadArgument)? else {
            let of_request = map == HeaderMap::RequestHeaders;
            return match Self::field(name, value) {
                Some(_) if of_request && name.eq_ignore_ascii_case(b"host") && !is_of(&AUTHORITY, value) => {
                    None
                }
                checked => checked,
            }
            .or_else(|| has(name, value).then_some(Self::Field { name, value }))
            .ok_or(Status::BadArgument);
        };
        let checked = match pseudo {
            Pseudo::Method => Self::method(value, has),
            Pseudo::Scheme => matches!(value, b"http" | b"https").then_some(Self::Scheme(value)),
            Pseudo::Authority => is_of(&AUTHORITY, value).then_some(Self::Authority(value)),
            Pseudo::Path => Self::path(value),
            Pseudo::Status => status_of(value).and_then(|status| Self::status(status, has)),
        };
        let unchanged = || has(name, value).then_some(Self::Unchanged);
        checked.or_else(unchanged).ok_or(Status::BadArgument)
    }

    /// The part that a property is, and the map that it is in.
    ///
    /// # Errors
    /// [`Status::NotFound`] when the property cannot be set; as [`Part::of_map`].
    pub fn of_property(
        path: &[&'a [u8]],
        value: &'a [u8],
        has: impl Fn(HeaderMap, &[u8], &[u8]) -> bool,
    ) -> Result<(HeaderMap, Self), Status> {
        let (map, rest) = match path {
            [b"request", rest @ ..] => (HeaderMap::RequestHeaders, rest),
            [b"response", rest @ ..] => (HeaderMap::ResponseHeaders, rest),
            _ => return Err(Status::NotFound),
        };
        let has = |name: &[u8], value: &[u8]| has(map, name, value);
        let name: &[u8] = match (map, rest) {
            (_, [b"headers", name]) => name,
            (HeaderMap::RequestHeaders, [b"path"]) => b":path",
            (HeaderMap::RequestHeaders, [b"host"]) => b":authority",
            (HeaderMap::RequestHeaders, [b"scheme"]) => b":scheme",
            (HeaderMap::RequestHeaders, [b"method"]) => b":method",
            (HeaderMap::RequestHeaders, [b"url_path"]) => {
                let part = is_path(value).then_some(Self::UrlPath(value));
                return Ok((map, part.ok_or(Status::BadArgument)?));
            }
            (HeaderMap::RequestHeaders, [b"query"]) => {
                let part = is_target(value).then_some(Self::Query(value));
                return Ok((map, part.ok_or(Status::BadArgument)?));
            }
            (HeaderMap::ResponseHeaders, [b"code"]) => {
                let part = code(value).and_then(|status| Self::status(status, &has));
                return Ok((map, part.ok_or(Status::BadArgument)?));
            }
            (HeaderMap::ResponseHeaders, [b"code_details"]) => {
                let part = (value.len() <= NAME_LIMIT && is_text(value)).then_some(Self::Reason(value));
                return Ok((map, part.ok_or(Status::BadArgument)?));
            }
            _ => return Err(Status::NotFound),
        };
        Ok((map, Self::of_map(map, name, value, &has)?))
    }

    /// A field; none for one that would change what the other side reads as the next, or that a host
    /// would cut.
    pub fn field(name: &'a [u8], value: &'a [u8]) -> Option<Self> {
        let fits = is_of(&TOKEN, name) && value.len() <= VALUE_LIMIT && is_text(value);
        fits.then_some(Self::Field { name, value })
    }

    fn method(value: &'a [u8], has: &dyn Fn(&[u8], &[u8]) -> bool) -> Option<Self> {
        let frames = [&b"HEAD"[..], b"CONNECT"];
        let keeps = !frames.contains(&value) && !frames.iter().any(|method| has(b":method", method));
        (is_of(&TOKEN, value) && keeps).then_some(Self::Method(value))
    }

    fn path(value: &'a [u8]) -> Option<Self> {
        let mut halves = value.splitn(2, |byte| *byte == b'?');
        let (path, query) = (halves.next()?, halves.next().unwrap_or_default());
        (is_path(path) && is_target(query)).then_some(Self::Path { path, query })
    }

    fn status(status: u16, has: &dyn Fn(&[u8], &[u8]) -> bool) -> Option<Self> {
        let has_none = [&b"204"[..], b"304"].iter().any(|now| has(b":status", now));
        ((200..600).contains(&status) && has_body(status) != has_none).then_some(Self::Status(status))
    }
}

/// Whether a response of this status has a body at all (RFC 9110, 6.4.1).
pub fn has_body(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}

/// Whether a field says where a message ends, or speaks of one connection (RFC 9110, 7.6.1): these are the
/// host's. What a filter writes into them reads back and goes nowhere.
pub fn is_framing(name: &[u8]) -> bool {
    let own: &[&[u8]] = match name.len() {
        10 => &[b"connection", b"keep-alive"],
        14 => &[b"content-length"],
        16 => &[b"proxy-connection"],
        17 => &[b"transfer-encoding"],
        _ => return false,
    };
    own.iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// Letters, digits and `others`.
const fn bytes(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut place = 0;
    while place < others.len() {
        table[others[place] as usize] = true;
        place += 1;
    }
    table
}

/// `token` of RFC 9110, 5.6.2.
const TOKEN: [bool; 256] = bytes(b"!#$%&'*+-.^_`|~");
/// `host` and `port` of RFC 3986, 3.2.
const AUTHORITY: [bool; 256] = bytes(b"-._~%!$&'()*+,;=:[]");

/// Whether `text` is neither empty nor too long and of these bytes alone.
fn is_of(table: &[bool; 256], text: &[u8]) -> bool {
    (1..=NAME_LIMIT).contains(&text.len()) && text.iter().all(|byte| table[usize::from(*byte)])
}

fn is_path(path: &[u8]) -> bool {
    path.first() == Some(&b'/') && is_target(path) && !path.contains(&b'?')
}

/// Whether a text has no controls but the tab.
fn is_text(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127))
}

/// Whether a path or a query ends where it seems to.
fn is_target(text: &[u8]) -> bool {
    text.len() <= NAME_LIMIT && !text.iter().any(|byte| matches!(byte, 0..=32 | b'#' | 127))
}

/// A status as three digits.
fn status_of(text: &[u8]) -> Option<u16> {
    let digits = text.len() == 3 && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// A status as a little-endian integer of 8 or 4 bytes, or as text.
fn code(value: &[u8]) -> Option<u16> {
    match (<[u8; 8]>::try_from(value), <[u8; 4]>::try_from(value)) {
        (Ok(bytes), _) => u16::try_from(u64::from_le_bytes(bytes)).ok(),
        (_, Ok(bytes)) => u16::try_from(u32::from_le_bytes(bytes)).ok(),
        _ => status_of(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: HeaderMap = HeaderMap::RequestHeaders;
    const RESPONSE: HeaderMap = HeaderMap::ResponseHeaders;

    fn nothing(_: &[u8], _: &[u8]) -> bool {
        false
    }

    /// The bytes that a part refuses, asked one by one in the middle of `around`.
    fn refused(map: HeaderMap, name: &[u8], around: (&[u8], &[u8])) -> Vec<u8> {
        let fits = |byte: u8| {
            let value = [around.0, &[byte], around.1].concat();
            Part::of_map(map, name, &value, &nothing).is_ok()
        };
        (0..=255).filter(|byte| !fits(*byte)).collect()
    }

    /// All bytes but those of `allowed`.
    fn all_but(allowed: impl Fn(u8) -> bool) -> Vec<u8> {
        (0..=255).filter(|byte| !allowed(*byte)).collect()
    }

    /// A map, a name, what comes before the byte, and the bytes that are refused.
    type Row = (HeaderMap, &'static [u8], &'static [u8], Vec<u8>);

    #[test]
    fn every_byte_of_every_part() {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let target = |byte: u8| byte > 0x20 && byte != 0x7f && byte != b'#';
        let host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte);
        let value = |byte: u8| byte == b'\t' || byte >= 0x20 && byte != 0x7f;
        let table: [Row; 7] = [
            (REQUEST, b":method", b"GET", all_but(token)),
            (REQUEST, b":path", b"/a", all_but(target)),
            (REQUEST, b":path", b"/a?b", all_but(target)),
            (REQUEST, b":authority", b"h", all_but(host)),
            (REQUEST, b"Host", b"h", all_but(host)),
            (REQUEST, b"x-field", b"a", all_but(value)),
            (RESPONSE, b"host", b"a", all_but(value)),
        ];
        for (map, name, front, expected) in table {
            let name_text = String::from_utf8_lossy(name);
            assert_eq!(refused(map, name, (front, b"b")), expected, "{name_text}");
            assert_eq!(refused(map, name, (front, b"")), expected, "{name_text}, as the last byte");
        }
        let names: Vec<u8> = (0..=255).filter(|byte| Part::field(&[b'a', *byte], b"").is_none()).collect();
        assert_eq!(names, all_but(token));
    }

    #[test]
    fn parts_that_are_whole_or_nothing() {
        let part = |name: &'static str, value: &'static str| {
            let map = if name == ":status" { RESPONSE } else { REQUEST };
            Part::of_map(map, name.as_bytes(), value.as_bytes(), &nothing)
        };
        assert_eq!(part(":path", "/a?b?c"), Ok(Part::Path { path: b"/a", query: b"b?c" }));
        assert_eq!(part(":path", "/"), Ok(Part::Path { path: b"/", query: b"" }));
        assert_eq!(part(":scheme", "https"), Ok(Part::Scheme(b"https")));
        assert_eq!(part(":authority", "[::1]:80"), Ok(Part::Authority(b"[::1]:80")));
        assert_eq!(part(":status", "404"), Ok(Part::Status(404)));
        assert_eq!(part("x", ""), Ok(Part::Field { name: b"x", value: b"" }));
        for (name, value) in [
            (":path", ""),
            (":path", "a"),
            (":path", "*"),
            (":path", "?a"),
            (":path", "http://h/"),
            (":method", ""),
            (":scheme", "ftp"),
            (":scheme", "HTTP"),
            (":scheme", ""),
            (":authority", ""),
            ("host", ""),
            (":status", "199"),
            (":status", "100"),
            (":status", "600"),
            (":status", "0200"),
            (":status", "+20"),
            (":status", ""),
            (":other", "x"),
            (":Path", "/"),
            ("", "x"),
        ] {
            assert_eq!(part(name, value), Err(Status::BadArgument), "{name}: {value}");
        }
        assert_eq!(Part::of_map(REQUEST, b":status", b"200", &nothing), Err(Status::BadArgument));
        assert_eq!(Part::of_map(RESPONSE, b":path", b"/", &nothing), Err(Status::BadArgument));
    }

    #[test]
    fn what_a_server_would_cut_is_refused() {
        let long = vec![b'a'; NAME_LIMIT + 1];
        let path = [b"/", &long[2..]].concat();
        let too_long = [b"/", &long[1..]].concat();
        let fits = |name: &[u8], value: &[u8]| Part::of_map(REQUEST, name, value, &nothing).is_ok();
        assert!(fits(b":path", &path) && !fits(b":path", &too_long));
        assert!(fits(b":path", &[&path, &b"?"[..], &long[1..]].concat()));
        assert!(!fits(b":path", &[b"/?", &long[..]].concat()));
        for pseudo in [&b":method"[..], b":authority", b"host"] {
            assert!(fits(pseudo, &long[1..]) && !fits(pseudo, &long), "{pseudo:?}");
        }
        assert!(fits(&long[1..], b"") && !fits(&long, b""));
        let mut value = vec![b'v'; VALUE_LIMIT];
        assert!(fits(b"x", &value));
        value.push(b'v');
        assert!(!fits(b"x", &value));
    }

    #[test]
    fn what_says_whether_a_body_follows_does_not_change() {
        let from = |now: &'static str, name: &'static str, value: &'static str| {
            let map = if name == ":status" { RESPONSE } else { REQUEST };
            let has = move |other: &[u8], is: &[u8]| other == name.as_bytes() && is == now.as_bytes();
            Part::of_map(map, name.as_bytes(), value.as_bytes(), &has)
        };
        for (now, method, fits) in [
            ("GET", "POST", true),
            ("GET", "HEAD", false),
            ("GET", "CONNECT", false),
            ("HEAD", "GET", false),
            ("CONNECT", "GET", false),
            ("HEAD", "HEAD", true),
            ("GET", "head", true),
        ] {
            assert_eq!(from(now, ":method", method).is_ok(), fits, "{now} to {method}");
        }
        for (now, status, fits) in [
            ("200", "404", true),
            ("200", "204", false),
            ("200", "304", false),
            ("204", "200", false),
            ("304", "200", false),
            ("204", "204", true),
            ("204", "304", true),
            ("304", "404", false),
        ] {
            assert_eq!(from(now, ":status", status).is_ok(), fits, "{now} to {status}");
        }
    }

    #[test]
    fn what_is_there_already_may_be_written() {
        let has = |name: &[u8], value: &[u8]| match name {
            b":path" => value == b"/a b",
            b":status" => value == b"999",
            b"x@" => value == b"\x01",
            _ => false,
        };
        let part = |map, name, value| Part::of_map(map, name, value, &has);
        assert_eq!(part(REQUEST, b":path", b"/a b"), Ok(Part::Unchanged));
        assert_eq!(part(REQUEST, b":path", b"/a c"), Err(Status::BadArgument));
        assert_eq!(part(RESPONSE, b":status", b"999"), Ok(Part::Unchanged));
        assert_eq!(part(REQUEST, b"x@", b"\x01"), Ok(Part::Field { name: b"x@", value: b"\x01" }));
        assert_eq!(part(REQUEST, b"x@", b"\x02"), Err(Status::BadArgument));
    }

    #[test]
    fn properties_are_parts() {
        let part = |path: &'static str, value: &'static [u8]| {
            let path: Vec<&[u8]> = path.split('.').map(str::as_bytes).collect();
            Part::of_property(&path, value, |_, _, _| false)
        };
        assert_eq!(part("request.path", b"/a?b"), Ok((REQUEST, Part::Path { path: b"/a", query: b"b" })));
        assert_eq!(part("request.url_path", b"/a"), Ok((REQUEST, Part::UrlPath(b"/a"))));
        assert_eq!(part("request.query", b""), Ok((REQUEST, Part::Query(b""))));
        assert_eq!(part("request.host", b"h:1"), Ok((REQUEST, Part::Authority(b"h:1"))));
        assert_eq!(part("request.method", b"PUT"), Ok((REQUEST, Part::Method(b"PUT"))));
        assert_eq!(part("request.scheme", b"http"), Ok((REQUEST, Part::Scheme(b"http"))));
        let field = Part::Field { name: b"x", value: b"y" };
        assert_eq!(part("request.headers.x", b"y"), Ok((REQUEST, field)));
        assert_eq!(part("response.headers.x", b"y"), Ok((RESPONSE, field)));
        assert_eq!(part("response.code_details", b"No\t\xc3"), Ok((RESPONSE, Part::Reason(b"No\t\xc3"))));
        for code in [&404_u64.to_le_bytes()[..], &404_u32.to_le_bytes(), b"404"] {
            let path: [&[u8]; 2] = [b"response", b"code"];
            assert_eq!(Part::of_property(&path, code, |_, _, _| false), Ok((RESPONSE, Part::Status(404))));
        }
        for (path, value) in [
            ("request.url_path", &b"/a?b"[..]),
            ("request.url_path", b"a"),
            ("request.url_path", b"/a b"),
            ("request.query", b"a\r\n"),
            ("request.query", b"a#b"),
            ("request.method", b"G T"),
            ("request.host", b"a/b"),
            ("request.headers.x y", b""),
            ("response.code_details", b"a\r\nb: c"),
            ("response.code", b"nonsense"),
            ("response.code", b"\x07\0\0\0\0\0\0\0"),
            ("response.code", b"\xc8\0\x01\0\0\0\0\0"),
        ] {
            assert_eq!(part(path, value), Err(Status::BadArgument), "{path}");
        }
        for path in ["source.address", "request.size", "response.path", "request.code", "request", "x"] {
            assert_eq!(part(path, b"1"), Err(Status::NotFound), "{path}");
        }
    }

    #[test]
    fn fields_of_the_connection_are_the_hosts() {
        for name in ["Content-Length", "transfer-encoding", "CONNECTION", "Keep-Alive", "proxy-connection"] {
            assert!(is_framing(name.as_bytes()), "{name}");
        }
        for name in ["x-content-length", "content-type", "upgrade", "te", "host", "Content_Length"] {
            assert!(!is_framing(name.as_bytes()), "{name}");
        }
    }
}
