//! Messages in bytes: a header with `Content-Length`, an empty line, JSON. Owns the border between the two;
//! understands no JSON.

use std::io::{self, BufRead, Write};

/// The longest message that is read; a longer one is no debugger's.
const MAX_BODY: usize = 64 << 20;

/// The body of the next message; `None` at the end of the stream.
///
/// # Errors
/// The stream fails, ends in the middle of a message, or holds no header.
pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut length = None;
    let mut first = true;
    loop {
        let mut line = Vec::new();
        // A header line is short; a stream without line ends must not fill the memory.
        let count = io::Read::take(&mut *from, 8192).read_until(b'\n', &mut line)?;
        if count == 0 {
            return if first { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        first = false;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() {
            match length {
                Some(_) => break,
                // Empty lines between messages do no harm.
                None => {
                    first = true;
                    continue;
                }
            }
        }
        let (name, value) =
            line.split_once(':').ok_or_else(|| invalid(format!("{line:?} is no header of a message")))?;
        if name.eq_ignore_ascii_case("content-length") {
            let parsed = value.trim().parse::<usize>().ok().filter(|length| *length <= MAX_BODY);
            length = Some(parsed.ok_or_else(|| invalid(format!("{value:?} is no length of a message")))?);
        }
    }
    let mut body = vec![0; length.unwrap_or(0)];
    io::Read::read_exact(from, &mut body)?;
    Ok(Some(body))
}

/// Writes one message.
///
/// # Errors
/// The stream fails.
pub(crate) fn write(to: &mut impl Write, body: &[u8]) -> io::Result<()> {
    let mut message = format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    message.extend_from_slice(body);
    to.write_all(&message)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(mut bytes: &[u8]) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        loop {
            match read(&mut bytes) {
                Ok(Some(body)) => found.push(String::from_utf8_lossy(&body).into_owned()),
                Ok(None) => return Ok(found),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    #[test]
    fn messages_are_told_apart_and_other_headers_ignored() {
        let text = b"Content-Length: 2\r\n\r\n{}content-length:3\nContent-Type: x\n\nabc\r\n";
        assert_eq!(bodies(text), Ok(vec!["{}".into(), "abc".into()]));
        let mut written = Vec::new();
        write(&mut written, "é".as_bytes()).expect("a vector takes all");
        assert_eq!(bodies(&written), Ok(vec!["é".into()]));
    }

    #[test]
    fn broken_streams_are_errors() {
        assert!(bodies(b"Content-Length: 5\r\n\r\nab").is_err());
        assert!(bodies(b"Content-Length: 5\r\n").is_err());
        assert!(bodies(b"hello\r\n\r\n").is_err_and(|error| error.contains("no header")));
        assert!(bodies(b"Content-Length: -1\r\n\r\n").is_err_and(|error| error.contains("no length")));
        assert!(bodies(b"Content-Length: 99999999999\r\n\r\n").is_err());
    }
}
