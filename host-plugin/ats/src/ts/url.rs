//! The URL of a request.

use std::ffi::{c_char, c_int};
use std::marker::PhantomData;
use std::ops::Deref;

use super::text::{bytes, length};
use crate::sys::{TS_SUCCESS, TSMBuffer, TSMLoc, api};

type Get = unsafe extern "C" fn(TSMBuffer, TSMLoc, *mut c_int) -> *const c_char;
type Set = unsafe extern "C" fn(TSMBuffer, TSMLoc, *const c_char, c_int) -> c_int;

/// A URL, borrowed from its header.
#[derive(Debug)]
pub struct UrlRef<'header> {
    buffer: TSMBuffer,
    parent: TSMLoc,
    location: TSMLoc,
    _header: PhantomData<&'header ()>,
}

impl Drop for UrlRef<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle came from the server and is released once, before its header's.
        unsafe { (api().TSHandleMLocRelease)(self.buffer, self.parent, self.location) };
    }
}

impl UrlRef<'_> {
    pub(super) fn new(buffer: TSMBuffer, parent: TSMLoc, location: TSMLoc) -> Option<Self> {
        (!location.is_null()).then(|| Self { buffer, parent, location, _header: PhantomData })
    }

    fn get(&self, function: Get) -> Option<&[u8]> {
        let mut size = 0;
        // SAFETY: the handle is valid while `self` is; the text until the next change.
        unsafe { bytes(function(self.buffer, self.location, &raw mut size), size) }
    }

    /// `http`, `https`; empty when the request line has none and the server has not filled it in.
    pub(crate) fn scheme(&self) -> &[u8] {
        self.get(api().TSUrlSchemeGet).unwrap_or(b"")
    }

    /// Empty when the request line has none.
    pub(crate) fn host(&self) -> &[u8] {
        self.get(api().TSUrlHostGet).unwrap_or(b"")
    }

    /// The port, the scheme's usual one when the URL names none.
    pub(crate) fn port(&self) -> u16 {
        // SAFETY: the handle is valid while `self` is.
        u16::try_from(unsafe { (api().TSUrlPortGet)(self.buffer, self.location) }).unwrap_or(0)
    }

    /// Without the leading slash, and in version 9.2 without `;parameters`.
    pub fn path(&self) -> &[u8] {
        self.get(api().TSUrlPathGet).unwrap_or(b"")
    }

    /// What follows the first `;` in version 9.2; in 10 it is part of the path.
    pub(crate) fn parameters(&self) -> Option<&[u8]> {
        self.get(api().TSUrlHttpParamsGet?)
    }

    /// What follows `?`.
    pub(crate) fn query(&self) -> &[u8] {
        self.get(api().TSUrlHttpQueryGet).unwrap_or(b"")
    }
}

/// A URL that nobody else reads or changes meanwhile.
#[derive(Debug)]
pub struct UrlMut<'header>(UrlRef<'header>);

impl<'header> Deref for UrlMut<'header> {
    type Target = UrlRef<'header>;

    fn deref(&self) -> &UrlRef<'header> {
        &self.0
    }
}

impl<'header> UrlMut<'header> {
    /// `url` was made from an exclusive header.
    pub(super) fn new(url: UrlRef<'header>) -> Self {
        Self(url)
    }

    fn set(&mut self, function: Set, text: &[u8]) -> bool {
        // SAFETY: the handle is valid while `self` is; the text is copied.
        unsafe { function(self.buffer, self.location, text.as_ptr().cast(), length(text)) == TS_SUCCESS }
    }

    pub(crate) fn set_scheme(&mut self, scheme: &[u8]) -> bool {
        self.set(api().TSUrlSchemeSet, scheme)
    }

    pub(crate) fn set_host(&mut self, host: &[u8]) -> bool {
        self.set(api().TSUrlHostSet, host)
    }

    /// 0: the scheme's usual one.
    pub(crate) fn set_port(&mut self, port: u16) -> bool {
        // SAFETY: the handle is valid while `self` is.
        unsafe { (api().TSUrlPortSet)(self.buffer, self.location, c_int::from(port)) == TS_SUCCESS }
    }

    /// Sets path and parameters; `path` has no leading slash.
    pub fn set_path(&mut self, path: &[u8]) -> bool {
        if let Some(set) = api().TSUrlHttpParamsSet
            && self.parameters().is_some_and(|parameters| !parameters.is_empty())
        {
            self.set(set, b"");
        }
        self.set(api().TSUrlPathSet, path)
    }

    pub(crate) fn set_query(&mut self, query: &[u8]) -> bool {
        self.set(api().TSUrlHttpQuerySet, query)
    }
}
