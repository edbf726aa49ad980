//! Socket addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and a port in host byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

impl Endpoint {
    /// Reads `pointer`; none for null and for families other than IPv4 and IPv6.
    ///
    /// # Safety
    /// `pointer` is null or points at a whole address of its family.
    pub(super) unsafe fn read(pointer: *const libc::sockaddr) -> Option<Self> {
        // SAFETY: by the caller.
        let family = unsafe { pointer.as_ref() }?.sa_family;
        match libc::c_int::from(family) {
            libc::AF_INET => {
                // SAFETY: an AF_INET address is a sockaddr_in; read without assuming its alignment.
                let v4 = unsafe { pointer.cast::<libc::sockaddr_in>().read_unaligned() };
                let address = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(Self { address: address.into(), port: u16::from_be(v4.sin_port) })
            }
            libc::AF_INET6 => {
                // SAFETY: an AF_INET6 address is a sockaddr_in6; read without assuming its alignment.
                let v6 = unsafe { pointer.cast::<libc::sockaddr_in6>().read_unaligned() };
                let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                Some(Self { address: address.into(), port: u16::from_be(v6.sin6_port) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_in_host_order() {
        let v4 = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: 8080_u16.to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
            sin_zero: [0; 8],
        };
        // SAFETY: a whole sockaddr_in.
        let endpoint = unsafe { Endpoint::read((&raw const v4).cast()) };
        assert_eq!(endpoint, Some(Endpoint { address: Ipv4Addr::LOCALHOST.into(), port: 8080 }));
    }

    #[test]
    fn no_address_is_none() {
        // SAFETY: null.
        assert_eq!(unsafe { Endpoint::read(std::ptr::null()) }, None);
    }
}
