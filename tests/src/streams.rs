//! Many equal requests at once as streams of one HTTP/2 connection without TLS: as much of the protocol as
//! that needs. For what a browser or curl does there is [`crate::http2`].

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};

use crate::http::Request;
use crate::scratch::PATIENCE;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A connection whose streams wait for their responses.
#[derive(Debug)]
pub struct Streams {
    socket: TcpStream,
    waiting: BTreeMap<u32, Vec<u8>>,
}

impl Streams {
    /// Connects and sends `count` times `request`, a GET.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn send(address: SocketAddr, request: &Request, count: u32) -> Result<Self> {
        let mut socket = TcpStream::connect_timeout(&address, PATIENCE)
            .with_context(|| format!("nobody accepts at {address}"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(&mut bytes, SETTINGS, 0, 0, &[]);
        let head = head(request, &address.to_string())?;
        let ids: Vec<u32> = (0..count).map(|number| 2 * number + 1).collect();
        for id in &ids {
            frame(&mut bytes, HEADERS, END_STREAM | END_HEADERS, *id, &head);
        }
        socket.write_all(&bytes)?;
        Ok(Self { socket, waiting: ids.into_iter().map(|id| (id, Vec::new())).collect() })
    }

    /// Waits until all are answered, and returns their bodies.
    ///
    /// # Errors
    /// When the connection ends or a stream is reset before that.
    pub fn bodies(mut self) -> Result<Vec<Vec<u8>>> {
        let mut bodies = Vec::new();
        while !self.waiting.is_empty() {
            let (kind, flags, id, payload) = self.frame().with_context(|| {
                format!("{} streams are answered, {} wait", bodies.len(), self.waiting.len())
            })?;
            let mut reply = Vec::new();
            match kind {
                DATA if let Some(body) = self.waiting.get_mut(&id) => body.extend_from_slice(&payload),
                SETTINGS if flags & ACK == 0 => frame(&mut reply, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => frame(&mut reply, PING, ACK, 0, &payload),
                RST_STREAM | GOAWAY => bail!("frame {kind} for stream {id}: {payload:?}"),
                _ => {}
            }
            self.socket.write_all(&reply)?;
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                bodies.extend(self.waiting.remove(&id));
            }
        }
        Ok(bodies)
    }

    fn frame(&mut self) -> Result<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head)?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.socket.read_exact(&mut payload)?;
        Ok((kind, flags, u32::from_be_bytes(id) & 0x7fff_ffff, payload))
    }
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// HPACK without Huffman codes and without its table: `:method GET`, `:scheme http`, and literals.
fn head(request: &Request, authority: &str) -> Result<Vec<u8>> {
    let mut head = vec![0x82, 0x86];
    let text = |head: &mut Vec<u8>, text: &str| -> Result<()> {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
        head.push(length.with_context(|| format!("too long for this client: {text}"))?);
        head.extend_from_slice(text.as_bytes());
        Ok(())
    };
    head.push(0x04);
    text(&mut head, &request.path)?;
    head.push(0x01);
    text(&mut head, authority)?;
    for (name, value) in &request.headers {
        head.push(0x00);
        text(&mut head, name)?;
        text(&mut head, value)?;
    }
    Ok(head)
}
