//! The certificates of a connection, as the server's TLS library has them: it is linked with the server and not with
//! the plugin.

use super::vconn::VConn;
use crate::sys::{self, api};

/// Whose certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The one that the server showed.
    Own,
    /// The one that the other end showed.
    Peer,
}

/// The library does not say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotKnown;

impl VConn<'_> {
    /// A certificate of this connection in DER; none when that side has shown none, or there is no TLS.
    ///
    /// # Errors
    /// The server or its TLS library is one that does not tell.
    pub(crate) fn certificate(self, whose: Whose) -> Result<Option<Vec<u8>>, NotKnown> {
        let api = api();
        let connection = api.TSVConnSslConnectionGet.ok_or(NotKnown)?;
        // SAFETY: borrowed from its transaction, whose mutex is held.
        let connection = unsafe { connection(self.as_ptr()) };
        if connection.is_null() {
            return Ok(None);
        }
        let encode = api.i2d_X509.ok_or(NotKnown)?;
        match whose {
            Whose::Own => {
                let get = api.SSL_get_certificate.ok_or(NotKnown)?;
                // SAFETY: not null, and as long as the connection is. The certificate is the connection's.
                Ok(unsafe { der(get(connection), encode) })
            }
            Whose::Peer => {
                let get = api.SSL_get1_peer_certificate.or(api.SSL_get_peer_certificate).ok_or(NotKnown)?;
                let free = api.X509_free.ok_or(NotKnown)?;
                // SAFETY: as above; a certificate of the peer is counted for whoever asks, and given back here. After the
                // handshake no other one takes its place: servers have renegotiation switched off.
                unsafe {
                    let certificate = get(connection);
                    let bytes = der(certificate, encode);
                    free(certificate);
                    Ok(bytes)
                }
            }
        }
    }
}

/// # Safety
/// `certificate` is null or one of the library's, alive during the call.
unsafe fn der(
    certificate: sys::Certificate,
    encode: unsafe extern "C" fn(sys::Certificate, *mut *mut u8) -> std::ffi::c_int,
) -> Option<Vec<u8>> {
    if certificate.is_null() {
        return None;
    }
    // SAFETY: by the caller; without a place to write to it only counts.
    let size = unsafe { encode(certificate, std::ptr::null_mut()) };
    let mut bytes = vec![0; usize::try_from(size).ok().filter(|size| *size > 0)?];
    let mut at = bytes.as_mut_ptr();
    // SAFETY: by the caller; there is room for as much as it said.
    let written = unsafe { encode(certificate, &raw mut at) };
    (written == size).then_some(bytes)
}
