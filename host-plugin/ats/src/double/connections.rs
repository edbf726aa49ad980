//! Sessions and connections of transactions, their addresses, protocols, bytes and time-outs.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

use super::FAILURE;
use super::transactions::{At, Transaction, transaction};
use crate::sys::{self, TS_SUCCESS};

/// When each transaction starts, in nanoseconds since 1970.
pub(crate) const STARTED: i64 = 1_700_000_000_000_000_000;
/// Bytes of each request's head and body.
pub(crate) const REQUEST_BYTES: (c_int, i64) = (101, 20);
/// Bytes of each response's head and body.
pub(crate) const RESPONSE_BYTES: (c_int, i64) = (203, 40);

/// The addresses at the ends of both connections.
pub(crate) struct Addresses {
    client: libc::sockaddr_in,
    local: libc::sockaddr_in,
    outgoing: libc::sockaddr_in,
    origin: libc::sockaddr_in,
}

impl Addresses {
    /// 192.0.2.1:1001 to 192.0.2.2:1002, and 192.0.2.3:1003 to 192.0.2.4:1004.
    pub(super) fn new() -> Self {
        let address =
            |last: u8| address_of(SocketAddrV4::new([192, 0, 2, last].into(), 1000 + u16::from(last)));
        Self { client: address(1), local: address(2), outgoing: address(3), origin: address(4) }
    }
}

fn address_of(address: SocketAddrV4) -> libc::sockaddr_in {
    let ip: Ipv4Addr = *address.ip();
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
        sin_zero: [0; 8],
    }
}

/// A connection, its time-outs and its TLS.
#[derive(Default)]
pub(crate) struct Connection {
    /// The server's certificate and the other end's, which may have none. Without it there is no TLS.
    pub(crate) certificates: OnceLock<(Certificate, Option<Certificate>)>,
    inactivity: AtomicI64,
    ageless: AtomicBool,
}

impl Connection {
    /// Its time-out without traffic, in seconds, if it was set; and whether it may get as old as it likes.
    pub(crate) fn held(&self) -> (i64, bool) {
        (self.inactivity.load(Relaxed) / 1_000_000_000, self.ageless.load(Relaxed))
    }

    fn pointer(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }
}

/// A certificate in DER, and how often it was given and not given back.
pub(crate) struct Certificate {
    der: Vec<u8>,
    pub(crate) given: AtomicI64,
}

impl Certificate {
    pub(crate) fn new(der: Vec<u8>) -> Self {
        Self { der, given: AtomicI64::new(0) }
    }

    fn pointer(&self) -> sys::Certificate {
        std::ptr::from_ref(self).cast_mut().cast()
    }
}

fn certificate(pointer: sys::Certificate) -> &'static Certificate {
    // SAFETY: transactions are leaked, with their connections.
    unsafe { pointer.cast::<Certificate>().as_ref() }.unwrap()
}

fn connection(pointer: sys::TSVConn) -> &'static Connection {
    // SAFETY: transactions are leaked, with their connections.
    unsafe { pointer.cast::<Connection>().as_ref() }.unwrap()
}

/// The records that can be changed for a transaction, and their values.
const SETTINGS: [(&CStr, i64); 3] = [
    (c"proxy.config.http.transaction_no_activity_timeout_in", 30),
    (c"proxy.config.http.transaction_no_activity_timeout_out", 31),
    (c"proxy.config.http.transaction_active_timeout_in", 900),
];

/// Their values of a new transaction.
pub(super) fn settings() -> [i64; 3] {
    SETTINGS.map(|(_, value)| value)
}

unsafe extern "C" fn session(txn: sys::TSHttpTxn) -> *mut c_void {
    txn.cast()
}

unsafe extern "C" fn session_id(session: sys::TSHttpSsn) -> i64 {
    1000 + transaction(session.cast()).number() as i64
}

unsafe extern "C" fn client(session: sys::TSHttpSsn) -> *mut c_void {
    let transaction: &Transaction = transaction(session.cast());
    if transaction.client_is_gone() { std::ptr::null_mut() } else { transaction.client.pointer() }
}

/// There is one once the request has gone to the origin.
unsafe extern "C" fn server(txn: sys::TSHttpTxn) -> *mut c_void {
    let transaction = transaction(txn);
    let there = matches!(transaction.at(), At::Origin | At::Response) && transaction.sent();
    if there { transaction.origin.pointer() } else { std::ptr::null_mut() }
}

unsafe extern "C" fn set_inactivity(connected: sys::TSVConn, nanoseconds: i64) {
    connection(connected).inactivity.store(nanoseconds, Relaxed);
}

unsafe extern "C" fn cancel_activity(connected: sys::TSVConn) {
    connection(connected).ageless.store(true, Relaxed);
}

unsafe extern "C" fn client_socket(txn: sys::TSHttpTxn, socket: *mut c_int) -> c_int {
    match transaction(txn).exchange.socket {
        Some(number) => {
            // SAFETY: by the caller.
            unsafe { socket.write(number) };
            TS_SUCCESS
        }
        None => FAILURE,
    }
}

unsafe extern "C" fn server_name(_connected: sys::TSVConn, length: *mut c_int) -> *const c_char {
    let name = c"example.com";
    // SAFETY: by the caller.
    unsafe { length.write(name.count_bytes() as c_int) };
    name.as_ptr()
}

unsafe extern "C" fn tls_version(_connected: sys::TSVConn) -> *const c_char {
    c"TLSv1.3".as_ptr()
}

unsafe extern "C" fn tls(connected: sys::TSVConn) -> sys::TSSslConnection {
    let secure = connection(connected).certificates.get().is_some();
    if secure { connected.cast() } else { std::ptr::null_mut() }
}

unsafe extern "C" fn own_certificate(secure: sys::TSSslConnection) -> sys::Certificate {
    connection(secure.cast()).certificates.get().unwrap().0.pointer()
}

unsafe extern "C" fn peer_certificate(secure: sys::TSSslConnection) -> sys::Certificate {
    let certificate = connection(secure.cast()).certificates.get().unwrap().1.as_ref();
    certificate.map_or(std::ptr::null_mut(), |certificate| {
        certificate.given.fetch_add(1, Relaxed);
        certificate.pointer()
    })
}

unsafe extern "C" fn encode_certificate(pointer: sys::Certificate, to: *mut *mut u8) -> c_int {
    let der = &certificate(pointer).der;
    if !to.is_null() {
        // SAFETY: by the caller.
        unsafe {
            std::ptr::copy_nonoverlapping(der.as_ptr(), to.read(), der.len());
            to.write(to.read().add(der.len()));
        }
    }
    der.len() as c_int
}

unsafe extern "C" fn free_certificate(pointer: sys::Certificate) {
    if !pointer.is_null() {
        certificate(pointer).given.fetch_sub(1, Relaxed);
    }
}

/// Of a transaction or of its session, which are the same here.
unsafe extern "C" fn client_protocols(
    txn: sys::TSHttpTxn,
    _most: c_int,
    names: *mut *const c_char,
    count: *mut c_int,
) -> c_int {
    let protocols = &transaction(txn).exchange.protocols;
    // SAFETY: by the caller; there are never more than a handful.
    unsafe {
        for (place, name) in protocols.iter().enumerate() {
            names.add(place).write(name.as_ptr());
        }
        count.write(protocols.len() as c_int);
    }
    TS_SUCCESS
}

unsafe extern "C" fn server_protocols(
    _txn: sys::TSHttpTxn,
    _most: c_int,
    names: *mut *const c_char,
    count: *mut c_int,
) -> c_int {
    let protocols = [c"http/1.1", c"tls/1.2", c"tcp", c"ipv4"];
    // SAFETY: by the caller.
    unsafe {
        for (place, name) in protocols.iter().enumerate() {
            names.add(place).write(name.as_ptr());
        }
        count.write(protocols.len() as c_int);
    }
    TS_SUCCESS
}

macro_rules! addresses {
    ($($address:ident $get:ident;)*) => { $(
        unsafe extern "C" fn $get(txn: sys::TSHttpTxn) -> *const libc::sockaddr {
            std::ptr::from_ref(&transaction(txn).addresses.$address).cast()
        }
    )* };
}

addresses! {
    client client_address;
    local local_address;
    outgoing outgoing_address;
    origin origin_address;
}

unsafe extern "C" fn milestone(_txn: sys::TSHttpTxn, which: c_int, time: *mut i64) -> c_int {
    // SAFETY: by the caller.
    unsafe { time.write(if which == sys::milestone::SM_START { STARTED } else { STARTED + 1 }) };
    TS_SUCCESS
}

unsafe extern "C" fn request_head(_txn: sys::TSHttpTxn) -> c_int {
    REQUEST_BYTES.0
}

unsafe extern "C" fn request_body(_txn: sys::TSHttpTxn) -> i64 {
    REQUEST_BYTES.1
}

unsafe extern "C" fn response_head(_txn: sys::TSHttpTxn) -> c_int {
    RESPONSE_BYTES.0
}

unsafe extern "C" fn response_body(_txn: sys::TSHttpTxn) -> i64 {
    RESPONSE_BYTES.1
}

unsafe extern "C" fn find_setting(
    name: *const c_char,
    _length: c_int,
    key: *mut c_int,
    kind: *mut c_int,
) -> c_int {
    // SAFETY: by the caller.
    let name = unsafe { CStr::from_ptr(name) };
    match SETTINGS.iter().position(|(known, _)| *known == name) {
        Some(place) => {
            // SAFETY: by the caller.
            unsafe {
                key.write(place as c_int);
                kind.write(0);
            }
            TS_SUCCESS
        }
        None => FAILURE,
    }
}

unsafe extern "C" fn setting(txn: sys::TSHttpTxn, key: c_int, value: *mut i64) -> c_int {
    // SAFETY: by the caller.
    unsafe { value.write(transaction(txn).settings.lock().unwrap()[key as usize]) };
    TS_SUCCESS
}

unsafe extern "C" fn set_setting(txn: sys::TSHttpTxn, key: c_int, value: i64) -> c_int {
    transaction(txn).settings.lock().unwrap()[key as usize] = value;
    TS_SUCCESS
}

pub(super) fn find(name: &str) -> Option<*mut c_void> {
    Some(match name {
        "TSHttpTxnSsnGet" => session as *mut c_void,
        "TSHttpSsnIdGet" => session_id as *mut c_void,
        "TSHttpSsnClientVConnGet" => client as *mut c_void,
        "TSHttpTxnServerVConnGet" => server as *mut c_void,
        "TSVConnInactivityTimeoutSet" => set_inactivity as *mut c_void,
        "TSVConnActiveTimeoutCancel" => cancel_activity as *mut c_void,
        "TSHttpTxnClientFdGet" => client_socket as *mut c_void,
        "TSVConnSslSniGet" => server_name as *mut c_void,
        "TSVConnSslProtocolGet" => tls_version as *mut c_void,
        "TSVConnSslConnectionGet" => tls as *mut c_void,
        "SSL_get_certificate" => own_certificate as *mut c_void,
        "SSL_get1_peer_certificate" => peer_certificate as *mut c_void,
        "i2d_X509" => encode_certificate as *mut c_void,
        "X509_free" => free_certificate as *mut c_void,
        "TSHttpTxnClientProtocolStackGet" | "TSHttpSsnClientProtocolStackGet" => {
            client_protocols as *mut c_void
        }
        "TSHttpTxnServerProtocolStackGet" => server_protocols as *mut c_void,
        "TSHttpTxnClientAddrGet" => client_address as *mut c_void,
        "TSHttpTxnIncomingAddrGet" => local_address as *mut c_void,
        "TSHttpTxnOutgoingAddrGet" => outgoing_address as *mut c_void,
        "TSHttpTxnServerAddrGet" => origin_address as *mut c_void,
        "TSHttpTxnMilestoneGet" => milestone as *mut c_void,
        "TSHttpTxnClientReqHdrBytesGet" => request_head as *mut c_void,
        "TSHttpTxnClientReqBodyBytesGet" => request_body as *mut c_void,
        "TSHttpTxnClientRespHdrBytesGet" => response_head as *mut c_void,
        "TSHttpTxnClientRespBodyBytesGet" => response_body as *mut c_void,
        "TSHttpTxnConfigFind" => find_setting as *mut c_void,
        "TSHttpTxnConfigIntGet" => setting as *mut c_void,
        "TSHttpTxnConfigIntSet" => set_setting as *mut c_void,
        _ => return None,
    })
}
