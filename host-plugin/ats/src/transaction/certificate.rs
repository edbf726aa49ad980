//! What properties say of a certificate (RFC 5280): its subject as text, names of its subject, its digest. Reads no
//! more of it, and checks nothing: the TLS library has.

use std::fmt::Write as _;

/// Object identifiers of names in a subject, and their short names (RFC 4514, 3, and what OpenSSL adds).
const NAMES: [(&[u8], &str); 15] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 42], "GN"),
    (&[0x55, 4, 46], "dnQualifier"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// `id-ce-subjectAltName`
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];

const INTEGER: u8 = 0x02;
const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]` and `[3]` of `TBSCertificate`.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// A kind of name of the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `[2]` of `GeneralName`
    Dns,
    /// `[6]` of `GeneralName`
    Uri,
}

/// A certificate in DER.
pub(super) struct Certificate<'a> {
    subject: &'a [u8],
    /// The contents of the extensions.
    extensions: &'a [u8],
}

/// What is left of DER.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and contents.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let size = match first {
            0..=0x7f => usize::from(*first),
            0x81..=0x84 => {
                let (number, behind) = rest.split_at_checked(usize::from(first & 0x7f))?;
                rest = behind;
                number.iter().fold(0, |size, byte| size << 8 | usize::from(*byte))
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(size)?;
        self.0 = rest;
        Some((*tag, contents))
    }

    /// The contents of the next element, which has this tag.
    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, contents)| contents)
    }

    /// The same; nothing is taken when the next one has another tag.
    fn take_if(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let contents = ahead.take(wanted)?;
        *self = ahead;
        Some(contents)
    }

    /// The contents of all elements of this tag that follow.
    fn all(mut self, tag: u8) -> impl Iterator<Item = &'a [u8]> {
        std::iter::from_fn(move || self.take(tag))
    }
}

impl<'a> Certificate<'a> {
    /// None when `bytes` are no certificate.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Der(Der(Der(bytes).take(SEQUENCE)?).take(SEQUENCE)?);
        fields.take_if(VERSION);
        fields.take(INTEGER)?;
        // The signature's algorithm, the issuer, and from when to when it is valid.
        for _ in 0..3 {
            fields.take(SEQUENCE)?;
        }
        let subject = fields.take(SEQUENCE)?;
        fields.take(SEQUENCE)?;
        let extensions = std::iter::from_fn(|| fields.next()).find(|(tag, _)| *tag == EXTENSIONS);
        let extensions = extensions.and_then(|(_, contents)| Der(contents).take(SEQUENCE));
        Some(Self { subject, extensions: extensions.unwrap_or_default() })
    }

    /// `CN=…,O=…,C=…`: the last name first, as RFC 2253 has it and OpenSSL writes it.
    pub(super) fn subject(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        for names in Der(self.subject).all(SET) {
            let names = Der(names).all(SEQUENCE).filter_map(|name| {
                let mut name = Der(name);
                Some(named(name.take(0x06)?, name.0))
            });
            parts.push(names.collect::<Vec<_>>().join("+"));
        }
        parts.reverse();
        parts.join(",")
    }

    /// The first other name of the subject that is of this kind.
    pub(super) fn other_name(&self, kind: Kind) -> Option<&'a [u8]> {
        let value = Der(self.extensions).all(SEQUENCE).find_map(|extension| {
            let mut extension = Der(extension);
            let is_it = extension.take(0x06)? == SUBJECT_ALT_NAME;
            extension.take_if(BOOLEAN);
            extension.take(OCTETS).filter(|_| is_it)
        })?;
        let mut names = Der(Der(value).take(SEQUENCE)?);
        let wanted = match kind {
            Kind::Dns => 0x82,
            Kind::Uri => 0x86,
        };
        std::iter::from_fn(|| names.next()).find(|(tag, _)| *tag == wanted).map(|(_, name)| name)
    }
}

/// `NAME=value`.
fn named(identifier: &[u8], value: &[u8]) -> String {
    let known = NAMES.iter().find(|(known, _)| *known == identifier);
    let text = match (known, Der(value).next()) {
        (Some(_), Some((tag, contents))) => text_of(tag, contents).map(|text| escaped(&text)),
        _ => None,
    };
    // Of an unknown kind: as it is.
    let text = text
        .unwrap_or_else(|| value.iter().fold(String::from("#"), |text, byte| text + &format!("{byte:02X}")));
    match known {
        Some((_, name)) => format!("{name}={text}"),
        None => format!("{}={text}", dotted(identifier)),
    }
}

/// A string of ASN.1.
fn text_of(tag: u8, contents: &[u8]) -> Option<String> {
    match tag {
        // UTF8String, NumericString, PrintableString, IA5String, VisibleString
        0x0c | 0x12 | 0x13 | 0x16 | 0x1a => Some(String::from_utf8_lossy(contents).into_owned()),
        // TeletexString is taken for Latin 1, as everywhere.
        0x14 => Some(contents.iter().map(|byte| char::from(*byte)).collect()),
        // BMPString
        0x1e => {
            let units = contents.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            Some(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        _ => None,
    }
}

/// As RFC 2253, 2.4 has it, with what is not ASCII as bytes of UTF-8.
fn escaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for (place, byte) in text.bytes().enumerate() {
        let edge = match byte {
            b' ' => place == 0 || place + 1 == text.len(),
            b'#' => place == 0,
            _ => false,
        };
        if edge || b",+\"\\<>;".contains(&byte) {
            result.push('\\');
        }
        if (0x20..0x7f).contains(&byte) {
            result.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(result, "\\{byte:02X}");
        }
    }
    result
}

/// `1.2.840.113549`
fn dotted(identifier: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc = 0_u64;
    for byte in identifier {
        arc = arc.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.push(first);
                arc -= 40 * first;
            }
            arcs.push(std::mem::take(&mut arc));
        }
    }
    arcs.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[u8] = include_bytes!("../../../../tests/fixtures/certificates/names.der");
    const PLAIN: &[u8] = include_bytes!("../../../../tests/fixtures/certificates/plain.der");

    /// As `openssl x509 -subject -nameopt RFC2253` writes it.
    #[test]
    fn a_subject_is_written_as_openssl_does() {
        let names = Certificate::parse(NAMES).unwrap();
        assert_eq!(
            names.subject(),
            r#"CN=client.example.com,2.3.4=#0C036F6464,emailAddress=a@example.com,UID=u 1,OU=\#two,OU=One,O=\C3\9Cber \"uns\",ST=Baden\, W,C=DE"#
        );
        assert_eq!(Certificate::parse(PLAIN).unwrap().subject(), "CN=plain");
    }

    #[test]
    fn the_first_name_of_a_kind_counts() {
        let names = Certificate::parse(NAMES).unwrap();
        assert_eq!(names.other_name(Kind::Dns), Some(&b"first.example.com"[..]));
        assert_eq!(names.other_name(Kind::Uri), Some(&b"spiffe://example.com/a"[..]));
        let plain = Certificate::parse(PLAIN).unwrap();
        assert_eq!((plain.other_name(Kind::Dns), plain.other_name(Kind::Uri)), (None, None));
    }

    #[test]
    fn what_is_cut_or_changed_is_read_without_a_fault() {
        for end in 0..NAMES.len() {
            assert!(Certificate::parse(&NAMES[..end]).is_none(), "{end} bytes");
        }
        for place in 0..NAMES.len() {
            for byte in [0, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut bytes = NAMES.to_vec();
                bytes[place] = byte;
                if let Some(certificate) = Certificate::parse(&bytes) {
                    let (_, _) = (certificate.subject(), certificate.other_name(Kind::Dns));
                }
            }
        }
    }

    #[test]
    fn texts_of_other_kinds_and_edges() {
        assert_eq!(escaped(" a "), r"\ a\ ");
        assert_eq!(escaped(" "), r"\ ");
        assert_eq!(escaped("a\0b"), r"a\00b");
        assert_eq!(text_of(0x1e, &[0x20, 0xac]).as_deref(), Some("€"));
        assert_eq!(text_of(0x14, &[0xdc]).as_deref(), Some("Ü"));
        assert_eq!(dotted(&[0x88, 0x37, 0x82, 0x37]), "2.999.311");
    }
}
