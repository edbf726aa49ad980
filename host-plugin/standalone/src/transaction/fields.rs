//! Header maps as the ABI has them: pseudo-headers first, then the fields in the order of the wire. The field `host` of a
//! request is its `:authority`, and is not listed beside it. Knows no transaction.

use http::{HeaderName, HeaderValue};
use wasmdbg_proxy_wasm::part::is_framing;
use wasmdbg_proxy_wasm::{HeaderMap, Part, Pseudo, Status};

use crate::report::{Change, Side};

/// A name and a value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// One header map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields {
    map: HeaderMap,
    pseudo: Vec<(Pseudo, Vec<u8>)>,
    /// As filters see them.
    fields: Vec<Field>,
    /// The message's own, whatever filters write.
    framing: Vec<Field>,
    /// The words behind a response's status, where they are not the usual ones.
    pub(crate) reason: Option<Vec<u8>>,
}

impl Fields {
    /// With exactly these pseudo-headers.
    pub(crate) fn new(map: HeaderMap, pseudo: Vec<(Pseudo, Vec<u8>)>, headers: &http::HeaderMap) -> Self {
        let field =
            |(name, value): (&HeaderName, &HeaderValue)| (name.as_str().into(), value.as_bytes().to_vec());
        let mut fields: Vec<Field> = headers.iter().map(field).collect();
        if pseudo.iter().any(|(known, _)| *known == Pseudo::Authority) {
            fields.retain(|(name, _)| !is_host(name));
        }
        let framing = fields.iter().filter(|(name, _)| is_framing(name)).cloned().collect();
        Self { map, pseudo, fields, framing, reason: None }
    }

    /// The fields that go out: what filters have made of them, framed as the message was.
    pub(crate) fn outgoing(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|(name, _)| !is_framing(name)).chain(&self.framing)
    }

    /// All, pseudo-headers first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let pseudo = self.pseudo.iter().map(|(pseudo, value)| (pseudo.name(), value.as_slice()));
        pseudo.chain(self.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.pseudo.len() + self.fields.len()).unwrap_or(u32::MAX)
    }

    /// The values of `name`, joined by `,`.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        if let Some(authority) = self.authority_named(name) {
            return (!authority.is_empty()).then(|| authority.to_vec());
        }
        let mut found: Option<Vec<u8>> = None;
        for (_, value) in self.all().filter(|(other, _)| other.eq_ignore_ascii_case(name)) {
            match &mut found {
                None => found = Some(value.to_vec()),
                Some(joined) => {
                    joined.push(b',');
                    joined.extend_from_slice(value);
                }
            }
        }
        found
    }

    /// As [`Fields::get`], as text.
    pub(crate) fn text(&self, name: &[u8]) -> String {
        self.get(name).map_or_else(String::new, |value| String::from_utf8_lossy(&value).into_owned())
    }

    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        match self.part(name, value)? {
            Part::Field { name, value } if self.authority_named(name).is_none() => {
                self.fields.push((name.to_vec(), value.to_vec()));
                Ok(())
            }
            part => self.set(part),
        }
    }

    pub(crate) fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        let part = self.part(name, value)?;
        self.set(part)
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Result<(), Status> {
        // A start line cannot lose a part.
        if name.first() == Some(&b':') {
            return Err(Status::BadArgument);
        }
        if self.authority_named(name).is_some() {
            self.put(Pseudo::Authority, Vec::new());
        }
        self.fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        Ok(())
    }

    /// All or nothing. An authority wins over a field `host`.
    pub(crate) fn set_all(&mut self, pairs: &[Field]) -> Result<(), Status> {
        let mut new = Self { fields: Vec::new(), ..self.clone() };
        let authority = pairs.iter().any(|(name, _)| name == Pseudo::Authority.name());
        for (name, value) in pairs {
            match self.part(name, value)? {
                Part::Field { name, .. } if authority && self.authority_named(name).is_some() => {}
                Part::Field { name, value } if self.authority_named(name).is_none() => {
                    new.fields.push((name.to_vec(), value.to_vec()))
                }
                part => new.set(part)?,
            }
        }
        *self = new;
        Ok(())
    }

    /// Sets a part to one value.
    pub(crate) fn set(&mut self, part: Part<'_>) -> Result<(), Status> {
        let (pseudo, text) = match part {
            Part::Field { name, value } => match self.authority_named(name) {
                // It may be anything that a client sent.
                Some(authority) if authority == value => return Ok(()),
                Some(_) => (Pseudo::Authority, value.to_vec()),
                None => {
                    self.set_field(name, value);
                    return Ok(());
                }
            },
            Part::Unchanged => return Ok(()),
            Part::Reason(reason) => {
                self.reason = Some(reason.to_vec());
                return Ok(());
            }
            Part::Method(method) => (Pseudo::Method, method.to_vec()),
            Part::Scheme(scheme) => (Pseudo::Scheme, scheme.to_vec()),
            Part::Authority(authority) => (Pseudo::Authority, authority.to_vec()),
            Part::Path { path, query } => (Pseudo::Path, target(path, query)),
            Part::UrlPath(path) => (Pseudo::Path, target(path, &self.path_and_query().1)),
            Part::Query(query) => (Pseudo::Path, target(&self.path_and_query().0, query)),
            Part::Status(status) => {
                self.reason = None;
                (Pseudo::Status, status.to_string().into_bytes())
            }
        };
        // What this host's HTTP library cannot hold, such as `<` in a path.
        let held = match pseudo {
            Pseudo::Path => http::Uri::try_from(text.as_slice()).is_ok(),
            Pseudo::Authority => http::uri::Authority::try_from(text.as_slice()).is_ok(),
            Pseudo::Method | Pseudo::Scheme | Pseudo::Status => true,
        };
        if held && self.put(pseudo, text) { Ok(()) } else { Err(Status::BadArgument) }
    }

    /// Sets a pseudo-header, if it has it.
    fn put(&mut self, pseudo: Pseudo, text: Vec<u8>) -> bool {
        match self.pseudo.iter_mut().find(|(known, _)| *known == pseudo) {
            Some(slot) => {
                slot.1 = text;
                true
            }
            None => false,
        }
    }

    /// The authority, if that is what the field `name` is.
    fn authority_named(&self, name: &[u8]) -> Option<&[u8]> {
        let authority = self.pseudo.iter().find(|(known, _)| *known == Pseudo::Authority && is_host(name));
        authority.map(|(_, value)| value.as_slice())
    }

    /// Whether it has this pseudo-header, or one field with this value.
    pub(crate) fn has(&self, name: &[u8], value: &[u8]) -> bool {
        self.authority_named(name) == Some(value)
            || self.all().any(|(other, is)| other.eq_ignore_ascii_case(name) && is == value)
    }

    /// The path, and the query behind it.
    pub(crate) fn path_and_query(&self) -> (Vec<u8>, Vec<u8>) {
        let target = self.get(Pseudo::Path.name()).unwrap_or_default();
        match target.iter().position(|byte| *byte == b'?') {
            Some(mark) => (target[..mark].to_vec(), target[mark + 1..].to_vec()),
            None => (target, Vec::new()),
        }
    }

    fn part<'a>(&self, name: &'a [u8], value: &'a [u8]) -> Result<Part<'a>, Status> {
        Part::of_map(self.map, name, value, &|name, value| self.has(name, value))
    }

    /// The first of this name gets the value, the others go.
    fn set_field(&mut self, name: &[u8], value: &[u8]) {
        let mut first = true;
        self.fields.retain_mut(|field| {
            if !field.0.eq_ignore_ascii_case(name) {
                return true;
            }
            field.1 = value.to_vec();
            std::mem::replace(&mut first, false)
        });
        if first {
            self.fields.push((name.to_vec(), value.to_vec()));
        }
    }
}

fn is_host(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"host")
}

fn target(path: &[u8], query: &[u8]) -> Vec<u8> {
    let mark: &[u8] = if query.is_empty() { b"" } else { b"?" };
    [path, mark, query].concat()
}

/// What has changed from `before` to `after`, by name.
pub(crate) fn changes(side: Side, before: &Fields, after: &Fields) -> Vec<Change> {
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let mut changes = Vec::new();
    for (name, _) in before.all().chain(after.all()) {
        let lower = name.to_ascii_lowercase();
        if seen.contains(&lower) {
            continue;
        }
        seen.push(lower);
        let (old, new) = (before.get(name), after.get(name));
        if old != new {
            let text = |value: Option<Vec<u8>>| value.map(|v| String::from_utf8_lossy(&v).into_owned());
            let name = String::from_utf8_lossy(name).into_owned();
            changes.push(Change { side, name, before: text(old), after: text(new) });
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        let mut headers = http::HeaderMap::new();
        headers.append("a", HeaderValue::from_static("1"));
        headers.append("a", HeaderValue::from_static("2"));
        headers.append("b", HeaderValue::from_static("3"));
        Fields::new(HeaderMap::RequestHeaders, vec![(Pseudo::Path, b"/x".to_vec())], &headers)
    }

    #[test]
    fn a_repeated_field_is_one_value() {
        let mut fields = fields();
        assert_eq!(fields.text(b"A"), "1,2");
        assert_eq!(fields.count(), 4);
        fields.replace(b"a", b"9").unwrap();
        assert_eq!(fields.text(b"a"), "9");
        assert_eq!(fields.count(), 3);
    }

    #[test]
    fn a_field_cannot_smuggle_another() {
        let mut fields = fields();
        assert_eq!(fields.add(b"c", b"7\r\nd: 8"), Err(Status::BadArgument));
        assert_eq!(fields.replace(b":path", b"no path"), Err(Status::BadArgument));
        assert_eq!(fields.add(b":other", b"x"), Err(Status::BadArgument));
        assert_eq!(fields.replace(b":path", b"/a<b"), Err(Status::BadArgument), "not held by the library");
        assert_eq!(fields.remove(b":path"), Err(Status::BadArgument));
        let pairs = [(b"c".to_vec(), b"1".to_vec()), (b"bad name".to_vec(), b"1".to_vec())];
        assert_eq!(fields.set_all(&pairs), Err(Status::BadArgument));
        assert_eq!(fields.text(b"b"), "3", "all or nothing");
    }

    #[test]
    fn no_function_takes_what_could_end_a_line() {
        let pseudo = [
            (Pseudo::Method, "GET"),
            (Pseudo::Scheme, "http"),
            (Pseudo::Authority, "h"),
            (Pseudo::Path, "/"),
        ];
        let pseudo = pseudo.map(|(pseudo, value)| (pseudo, value.as_bytes().to_vec())).to_vec();
        let mut headers = http::HeaderMap::new();
        headers.append("x", HeaderValue::from_static("1"));
        let before = Fields::new(HeaderMap::RequestHeaders, pseudo, &headers);
        let mut fields = before.clone();
        for front in
            [":method=GE", ":scheme=http", ":authority=h", ":path=/a", ":path=/a?b", "host=h", "x=1", "y"]
        {
            for byte in *b"\r\n\0\x01\x1f\x7f" {
                let text = [front.as_bytes(), &[byte], b"T"].concat();
                let mut halves = text.splitn(2, |byte| *byte == b'=');
                let (name, value) = (halves.next().unwrap(), halves.next().unwrap_or(b"1"));
                let pairs = [(b"z".to_vec(), b"1".to_vec()), (name.to_vec(), value.to_vec())];
                let refused = Err(Status::BadArgument);
                assert_eq!(fields.add(name, value), refused, "{front} {byte}");
                assert_eq!(fields.replace(name, value), refused, "{front} {byte}");
                assert_eq!(fields.set_all(&pairs), refused, "{front} {byte}");
                assert_eq!(fields, before);
            }
        }
    }

    #[test]
    fn all_values_of_a_field_are_removed() {
        let mut fields = fields();
        fields.remove(b"A").unwrap();
        assert_eq!((fields.get(b"a"), fields.count()), (None, 2));
    }

    #[test]
    fn framing_reads_back_as_written_and_goes_out_as_it_was() {
        let mut headers = http::HeaderMap::new();
        headers.append("content-length", HeaderValue::from_static("10"));
        headers.append("x", HeaderValue::from_static("1"));
        let outgoing = |fields: &Fields| {
            let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
            fields
                .outgoing()
                .map(|(name, value)| text(name) + ":" + &text(value))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let new =
            || Fields::new(HeaderMap::ResponseHeaders, vec![(Pseudo::Status, b"200".to_vec())], &headers);
        assert_eq!(outgoing(&new()), "x:1 content-length:10");

        let mut removed = new();
        removed.remove(b"Content-Length").unwrap();
        assert_eq!((removed.get(b"content-length"), removed.count()), (None, 2));
        assert_eq!(outgoing(&removed), "x:1 content-length:10");

        let mut written = new();
        written.replace(b"content-length", b"3").unwrap();
        written.add(b"transfer-encoding", b"chunked").unwrap();
        written.add(b"connection", b"close").unwrap();
        assert_eq!(written.text(b"content-length"), "3");
        assert_eq!(written.text(b"transfer-encoding"), "chunked");
        assert_eq!(written.count(), 5);
        assert_eq!(outgoing(&written), "x:1 content-length:10");

        let mut all = new();
        all.set_all(&[(b"y".to_vec(), b"2".to_vec())]).unwrap();
        assert_eq!((all.get(b"content-length"), all.count()), (None, 2));
        assert_eq!(outgoing(&all), "y:2 content-length:10");
    }

    #[test]
    fn changes_are_told_by_name() {
        let (before, mut after) = (fields(), fields());
        after.remove(b"b").unwrap();
        after.replace(b":path", b"/y").unwrap();
        after.add(b"c", b"4").unwrap();
        after.add(b"A", b"5").unwrap();
        let told: Vec<_> = changes(Side::Request, &before, &after)
            .into_iter()
            .map(|change| (change.name, change.before, change.after))
            .collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                (":path".into(), text("/x"), text("/y")),
                ("a".into(), text("1,2"), text("1,2,5")),
                ("b".into(), text("3"), None),
                ("c".into(), None, text("4"))
            ]
        );
    }
}
