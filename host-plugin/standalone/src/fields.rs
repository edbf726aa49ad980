//! Header maps as the ABI has them: pseudo-headers first, then the fields in the order of the wire.
//! Knows no transaction.

use http::{HeaderName, HeaderValue};
use wasmdbg_proxy_wasm::Status;

use crate::report::{Change, Side};

/// A name and a value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// One header map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields {
    pseudo: Vec<(&'static [u8], Vec<u8>)>,
    fields: Vec<Field>,
}

impl Fields {
    /// With exactly these pseudo-headers.
    pub(crate) fn new(pseudo: Vec<(&'static [u8], Vec<u8>)>, headers: &http::HeaderMap) -> Self {
        let field =
            |(name, value): (&HeaderName, &HeaderValue)| (name.as_str().into(), value.as_bytes().to_vec());
        Self { pseudo, fields: headers.iter().map(field).collect() }
    }

    /// The fields that are no pseudo-headers, in order.
    pub(crate) fn plain(&self) -> &[Field] {
        &self.fields
    }

    /// All, pseudo-headers first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let pseudo = self.pseudo.iter().map(|(name, value)| (*name, value.as_slice()));
        pseudo.chain(self.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.pseudo.len() + self.fields.len()).unwrap_or(u32::MAX)
    }

    /// The values of `name`, joined by `,`.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
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
        if name.first() == Some(&b':') {
            return self.set_pseudo(name, value);
        }
        check(name, value)?;
        self.fields.push((name.to_vec(), value.to_vec()));
        Ok(())
    }

    pub(crate) fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        if name.first() == Some(&b':') {
            return self.set_pseudo(name, value);
        }
        check(name, value)?;
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
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Result<(), Status> {
        // A start line cannot lose a part.
        if name.first() == Some(&b':') {
            return Err(Status::BadArgument);
        }
        self.fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        Ok(())
    }

    /// All or nothing.
    pub(crate) fn set_all(&mut self, pairs: &[Field]) -> Result<(), Status> {
        let mut new = Self { pseudo: self.pseudo.clone(), fields: Vec::new() };
        for (name, value) in pairs {
            new.add(name, value)?;
        }
        *self = new;
        Ok(())
    }

    fn set_pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        let slot = self.pseudo.iter_mut().find(|(known, _)| *known == name).ok_or(Status::BadArgument)?;
        let text = std::str::from_utf8(value).map_err(|_| Status::BadArgument)?;
        let fits = match name {
            b":status" => text.parse::<http::StatusCode>().is_ok(),
            b":method" => text.parse::<http::Method>().is_ok(),
            b":path" => text == "*" || text.starts_with('/') && text.parse::<http::Uri>().is_ok(),
            b":authority" => text.parse::<http::uri::Authority>().is_ok(),
            _ => text.parse::<http::uri::Scheme>().is_ok(),
        };
        if !fits {
            return Err(Status::BadArgument);
        }
        slot.1 = value.to_vec();
        Ok(())
    }
}

/// A field that would change what the other side reads as the next one is refused.
fn check(name: &[u8], value: &[u8]) -> Result<(), Status> {
    let fits = HeaderName::from_bytes(name).is_ok() && HeaderValue::from_bytes(value).is_ok();
    if fits { Ok(()) } else { Err(Status::BadArgument) }
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
        Fields::new(vec![(b":path", b"/x".to_vec())], &headers)
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
        assert_eq!(fields.remove(b":path"), Err(Status::BadArgument));
        let pairs = [(b"c".to_vec(), b"1".to_vec()), (b"bad name".to_vec(), b"1".to_vec())];
        assert_eq!(fields.set_all(&pairs), Err(Status::BadArgument));
        assert_eq!(fields.text(b"b"), "3", "all or nothing");
    }

    #[test]
    fn changes_are_told_by_name() {
        let (before, mut after) = (fields(), fields());
        after.remove(b"b").unwrap();
        after.replace(b":path", b"/y").unwrap();
        after.add(b"c", b"4").unwrap();
        let told: Vec<_> = changes(Side::Request, &before, &after)
            .into_iter()
            .map(|change| (change.name, change.before, change.after))
            .collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                (":path".into(), text("/x"), text("/y")),
                ("b".into(), text("3"), None),
                ("c".into(), None, text("4"))
            ]
        );
    }
}
