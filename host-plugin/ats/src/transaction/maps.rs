//! Header maps: pseudo-headers first, then the fields in the order of the wire. Framing fields that a
//! filter has written come last. The field `Host` of a request is its `:authority`: it is not listed beside that,
//! and stays when a map is written that has neither.

use std::collections::{HashMap, VecDeque};

use wasmdbg_proxy_wasm::part::is_framing;
use wasmdbg_proxy_wasm::{HeaderMap, Part, Pseudo, Status};

use super::pseudo::done;
use super::{framing, pseudo};
use crate::ts::{Access, Edit, Header, HeaderMut, WellKnown};

/// A map of more fields than this, before and after, is edited in place when it is written as a whole.
const IN_ORDER: u32 = 64;

/// One header map of a transaction, for the length of one call.
pub(super) struct Map<'txn> {
    map: HeaderMap,
    pub(super) header: HeaderMut<'txn>,
}

impl<'txn> Map<'txn> {
    /// None when the map is not there in this phase.
    #[inline(always)]
    pub(super) fn new(access: &'txn mut Access<'_>, map: HeaderMap) -> Option<Self> {
        let header = match map {
            HeaderMap::RequestHeaders => access.client_request_mut(),
            HeaderMap::ResponseHeaders => access.client_response_mut(),
            // The server has no interface for trailers.
            HeaderMap::RequestTrailers | HeaderMap::ResponseTrailers => None,
        };
        Some(Self { map, header: header? })
    }

    /// Appends the values of `name`, joined by `,`.
    pub(super) fn get(&self, name: &[u8], value: &mut Vec<u8>) -> Result<(), Status> {
        if let Some(pseudo) = Pseudo::named(self.map, name)? {
            return pseudo::get(pseudo, &self.header, value);
        }
        if is_framing(name)
            && let Some(written) = framing::written(self.map, &self.header)
        {
            let named = written.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
            return join(named.map(|(_, value)| value.as_slice()), value);
        }
        let mut field = self.header.find(name).ok_or(Status::NotFound)?;
        value.extend_from_slice(field.value());
        while let Some(next) = field.next_same_name() {
            value.push(b',');
            value.extend_from_slice(next.value());
            field = next;
        }
        Ok(())
    }

    /// Calls `each` for every pair.
    pub(super) fn pairs(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        let mut value = Vec::new();
        for pseudo in Pseudo::of(self.map) {
            value.clear();
            // One that is not there (the path of CONNECT) is listed empty: the count must hold.
            let _ = pseudo::get(*pseudo, &self.header, &mut value);
            each(pseudo.name(), &value);
        }
        let written = framing::written(self.map, &self.header);
        let mut next = self.header.first();
        while let Some(field) = next {
            if (written.is_none() || !is_framing(field.name())) && !self.is_host(field.name()) {
                each(field.name(), field.value());
            }
            next = field.next();
        }
        for (name, value) in written.iter().flatten() {
            each(name, value);
        }
    }

    /// Number of pairs.
    pub(super) fn count(&self) -> u32 {
        let fields = match framing::written(self.map, &self.header) {
            None => self.header.count(),
            Some(written) => {
                let own = framing::own(&self.header).len();
                (self.header.count() as usize + written.len()).saturating_sub(own) as u32
            }
        };
        fields + Pseudo::of(self.map).len() as u32 - self.hosts()
    }

    /// Whether a field is listed as `:authority`.
    fn is_host(&self, name: &[u8]) -> bool {
        self.map == HeaderMap::RequestHeaders && name.eq_ignore_ascii_case(b"host")
    }

    /// How many such fields there are: more than one only if a client has sent them.
    fn hosts(&self) -> u32 {
        if self.map != HeaderMap::RequestHeaders {
            return 0;
        }
        let first = self.header.find_known(WellKnown::Host);
        std::iter::successors(first, |field| field.next_same_name()).count() as u32
    }

    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        match self.part(name, value)? {
            Part::Field { name, value } if is_framing(name) => {
                framing::write(self.map, &self.header, |fields| {
                    fields.push((name.into(), value.into()));
                })
            }
            Part::Field { name, value } => done(self.append(name, value)),
            part => pseudo::set(part, &mut self.header),
        }
    }

    pub(super) fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        let part = self.part(name, value)?;
        self.set(part)
    }

    /// Sets a part to one value.
    pub(super) fn set(&mut self, part: Part<'_>) -> Result<(), Status> {
        match part {
            Part::Field { name, value } if is_framing(name) => {
                framing::write(self.map, &self.header, |fields| {
                    fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                    fields.push((name.into(), value.into()));
                })
            }
            Part::Field { name, value } if self.is_host(name) => done(self.append(name, value)),
            Part::Field { name, value } => done(self.header.replace(name, value)),
            part => pseudo::set(part, &mut self.header),
        }
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Result<(), Status> {
        // A start line cannot lose a part.
        if name.first() == Some(&b':') {
            return Err(Status::BadArgument);
        }
        if !is_framing(name) {
            self.header.remove(name);
        } else if self.get(name, &mut Vec::new()).is_ok() {
            framing::write(self.map, &self.header, |fields| {
                fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
            })?;
        }
        Ok(())
    }

    /// Replaces all fields, and sets the pseudo-headers that `pairs` has. Nothing is changed when one of
    /// them is refused. In the order of `pairs`, unless there are more than [`IN_ORDER`] fields before and after: then only fields
    /// of one name keep their order, which is what it means (RFC 9110, 5.3).
    pub(super) fn set_all(&mut self, pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Status> {
        let parts = pairs.iter().map(|(name, value)| self.part(name, value));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let (mut plain, mut written, mut host) = (Vec::new(), Vec::new(), None);
        for part in &parts {
            match *part {
                Part::Field { name, value } if is_framing(name) => written.push((name.into(), value.into())),
                Part::Field { name, value } if self.is_host(name) => host = Some(value),
                Part::Field { name, value } => plain.push((name, value)),
                _ => {}
            }
        }
        let small = self.header.count().min(plain.len() as u32) <= IN_ORDER;
        done(if small { self.rewrite(&plain) } else { self.edit(&plain) })?;
        framing::replace_all(self.map, &self.header, written);
        done(host.is_none_or(|host| self.append(b"Host", host)))?;
        // Last: the authority wins over a field `Host`.
        for part in parts.into_iter().filter(|part| !matches!(part, Part::Field { .. })) {
            pseudo::set(part, &mut self.header)?;
        }
        Ok(())
    }

    /// Replaces the fields that are not the server's, but a request's host.
    fn rewrite(&mut self, fields: &[(&[u8], &[u8])]) -> bool {
        let own = framing::own(&self.header);
        let host = self.header.find_known(WellKnown::Host).filter(|_| self.map == HeaderMap::RequestHeaders);
        let host = host.map(|host| host.value().to_vec());
        self.header.clear();
        // First: whatever fails below, the message must keep what says where it ends.
        own.iter().all(|(name, value)| self.header.append(name, value))
            && host.is_none_or(|host| self.header.append(b"Host", &host))
            && fields.iter().all(|(name, value)| self.append(name, value))
    }

    /// As [`Map::rewrite`], but fields that are there already stay in their places: the server looks at all pairs
    /// of fields for each that comes or goes, and a client decides how many there are.
    fn edit(&mut self, fields: &[(&[u8], &[u8])]) -> bool {
        let mut named: HashMap<Vec<u8>, VecDeque<usize>> = HashMap::new();
        for (index, (name, _)) in fields.iter().enumerate() {
            named.entry(name.to_ascii_lowercase()).or_default().push_back(index);
        }
        let mut new = vec![true; fields.len()];
        let of_request = self.map == HeaderMap::RequestHeaders;
        let done = self.header.edit(|name, value| {
            if is_framing(name) || of_request && name.eq_ignore_ascii_case(b"host") {
                return Edit::Keep;
            }
            let next = named.get_mut(&name.to_ascii_lowercase()).and_then(VecDeque::pop_front);
            let Some(index) = next else { return Edit::Remove };
            new[index] = false;
            if fields[index].1 == value { Edit::Keep } else { Edit::Set(fields[index].1) }
        });
        let mut rest = fields.iter().zip(&new).filter(|(_, new)| **new);
        done && rest.all(|((name, value), _)| self.append(name, value))
    }

    /// Adds a field. A request has one `Host` (RFC 9112, 3.2), its authority: the last one counts.
    fn append(&mut self, name: &[u8], value: &[u8]) -> bool {
        if self.is_host(name) {
            pseudo::set(Part::Authority(value), &mut self.header).is_ok()
        } else {
            self.header.append(name, value)
        }
    }

    fn part<'a>(&self, name: &'a [u8], value: &'a [u8]) -> Result<Part<'a>, Status> {
        Part::of_map(self.map, name, value, &|name, value| has(self.map, &self.header, name, value))
    }
}

/// The header of a map; none when it is not there in this phase.
pub(super) fn header_of<'txn>(access: &'txn Access<'_>, map: HeaderMap) -> Option<Header<'txn>> {
    match map {
        HeaderMap::RequestHeaders => access.client_request(),
        HeaderMap::ResponseHeaders => access.client_response(),
        HeaderMap::RequestTrailers | HeaderMap::ResponseTrailers => None,
    }
}

/// Whether the message has this pseudo-header, or one field with this value.
pub(super) fn has(map: HeaderMap, header: &Header<'_>, name: &[u8], value: &[u8]) -> bool {
    if let Ok(Some(pseudo)) = Pseudo::named(map, name) {
        let mut now = Vec::new();
        let _ = pseudo::get(pseudo, header, &mut now);
        return now == value;
    }
    let first = header.find(name);
    std::iter::successors(first, |field| field.next_same_name()).any(|field| field.value() == value)
}

fn join<'a>(mut values: impl Iterator<Item = &'a [u8]>, into: &mut Vec<u8>) -> Result<(), Status> {
    into.extend_from_slice(values.next().ok_or(Status::NotFound)?);
    for value in values {
        into.push(b',');
        into.extend_from_slice(value);
    }
    Ok(())
}

/// Whether no body follows the request's headers.
pub(crate) fn request_ends_here(request: &Header<'_>) -> bool {
    if request.find_known(WellKnown::TransferEncoding).is_some() {
        return false;
    }
    request.find_known(WellKnown::ContentLength).is_none_or(|length| length.value() == b"0")
}

/// Whether no body follows the response's headers.
pub(crate) fn response_ends_here(response: &Header<'_>) -> bool {
    if !wasmdbg_proxy_wasm::part::has_body(response.status()) {
        return true;
    }
    if response.find_known(WellKnown::ContentLength).is_some_and(|length| length.value() == b"0") {
        return true;
    }
    response.access().client_request().is_some_and(|request| request.method() == b"HEAD")
}
