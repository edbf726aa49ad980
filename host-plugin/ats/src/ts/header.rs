//! A request's or response's header: its start line and its fields.
//!
//! A [`Header`] is borrowed from the access to its transaction; handles are released when they drop. Slices
//! that it gives point into the server's storage and end with the next change, which takes a [`HeaderMut`].

use std::ffi::{c_char, c_int};
use std::ops::Deref;
use std::sync::OnceLock;

use super::access::Access;
use super::text::{bytes, length};
use super::url::{UrlMut, UrlRef};
use crate::sys::{self, TS_SUCCESS, TSMBuffer, TSMLoc, api};

/// Fields that the plugin looks for in every transaction: the server compares pointers for these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WellKnown {
    /// `Content-Length`
    ContentLength,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Host`
    Host,
}

impl WellKnown {
    fn name(self) -> (*const c_char, c_int) {
        static POINTERS: OnceLock<[usize; 3]> = OnceLock::new();
        let names = [c"Content-Length", c"Transfer-Encoding", c"Host"];
        let pointers = POINTERS.get_or_init(|| {
            let symbols =
                ["TS_MIME_FIELD_CONTENT_LENGTH", "TS_MIME_FIELD_TRANSFER_ENCODING", "TS_MIME_FIELD_HOST"];
            // Without the symbol the server finds the field by its text.
            std::array::from_fn(|i| {
                sys::string_constant(symbols[i]).map_or(names[i].as_ptr() as usize, |found| found as usize)
            })
        });
        let index = self as usize;
        (pointers[index] as *const c_char, names[index].count_bytes() as c_int)
    }
}

/// A header of a transaction, to read.
#[derive(Debug)]
pub struct Header<'txn> {
    access: Access<'txn>,
    buffer: TSMBuffer,
    location: TSMLoc,
}

/// A header of a transaction, which nobody else reads or changes meanwhile.
///
/// A change ends what was read before, URLs included:
///
/// ```
/// use wasmdbg_ats::ts::HeaderMut;
///
/// fn both(header: &mut HeaderMut<'_>) {
///     let empty = header.url().is_some_and(|url| url.path().is_empty());
///     if let Some(mut url) = header.url_mut() {
///         url.set_path(if empty { b"index" } else { b"other" });
///     }
///     header.set_method(b"GET");
/// }
/// ```
///
/// ```compile_fail
/// use wasmdbg_ats::ts::HeaderMut;
///
/// fn both(header: &mut HeaderMut<'_>) {
///     if let Some(mut url) = header.url_mut() {
///         header.set_method(b"GET");
///         url.set_path(b"index");
///     }
/// }
/// ```
///
/// ```compile_fail
/// use wasmdbg_ats::ts::HeaderMut;
///
/// fn read(header: &mut HeaderMut<'_>) -> usize {
///     let method = header.method();
///     header.set_method(b"GET");
///     method.len()
/// }
/// ```
#[derive(Debug)]
pub struct HeaderMut<'txn>(Header<'txn>);

impl Drop for Header<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle came from the server and is released once.
        unsafe { (api().TSHandleMLocRelease)(self.buffer, std::ptr::null_mut(), self.location) };
    }
}

impl<'txn> Header<'txn> {
    /// Takes over a handle; none when the server gave none.
    pub(super) fn new(access: Access<'txn>, buffer: TSMBuffer, location: TSMLoc) -> Option<Self> {
        // Made only if it is there: it gives its handle back when it drops.
        (!buffer.is_null() && !location.is_null()).then(|| Self { access, buffer, location })
    }

    /// The transaction that it is of.
    pub(crate) fn access(&self) -> &Access<'txn> {
        &self.access
    }

    /// Number of fields, every one of a repeated name counted.
    pub(crate) fn count(&self) -> u32 {
        // SAFETY: the handle is valid while `self` is; so in all functions below.
        let count = unsafe { (api().TSMimeHdrFieldsCount)(self.buffer, self.location) };
        u32::try_from(count).unwrap_or(0)
    }

    /// The first field, in the order of the wire.
    pub(crate) fn first(&self) -> Option<Field<'_>> {
        // SAFETY: see `count`.
        self.field(unsafe { (api().TSMimeHdrFieldGet)(self.buffer, self.location, 0) })
    }

    /// The first field named `name`, without regard to case.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Field<'_>> {
        // SAFETY: see `count`; the name is read for its length.
        self.field(unsafe {
            (api().TSMimeHdrFieldFind)(self.buffer, self.location, name.as_ptr().cast(), length(name))
        })
    }

    /// The first field of this name.
    pub(crate) fn find_known(&self, name: WellKnown) -> Option<Field<'_>> {
        let (pointer, length) = name.name();
        // SAFETY: see `count`; the name is static.
        self.field(unsafe { (api().TSMimeHdrFieldFind)(self.buffer, self.location, pointer, length) })
    }

    fn field(&self, location: TSMLoc) -> Option<Field<'_>> {
        // Made only if it is there: it gives its handle back when it drops.
        (!location.is_null()).then(|| Field { header: self, location })
    }

    /// The request's method.
    pub fn method(&self) -> &[u8] {
        let mut size = 0;
        // SAFETY: see `count`; the server's text is valid until the next change, which needs `&mut`.
        unsafe { bytes((api().TSHttpHdrMethodGet)(self.buffer, self.location, &raw mut size), size) }
            .unwrap_or(b"")
    }

    /// The host that the request names, in its URL or in `Host`, without a port.
    pub(crate) fn host(&self) -> &[u8] {
        let mut size = 0;
        // SAFETY: as `method`.
        unsafe { bytes((api().TSHttpHdrHostGet)(self.buffer, self.location, &raw mut size), size) }
            .unwrap_or(b"")
    }

    /// The request's URL.
    pub fn url(&self) -> Option<UrlRef<'_>> {
        let mut url = std::ptr::null_mut();
        // SAFETY: see `count`; the handle is passed on to the URL, which releases it.
        let result = unsafe { (api().TSHttpHdrUrlGet)(self.buffer, self.location, &raw mut url) };
        if result == TS_SUCCESS { UrlRef::new(self.buffer, self.location, url) } else { None }
    }

    /// Major and minor number of the HTTP version.
    pub(crate) fn version(&self) -> (u16, u16) {
        // SAFETY: see `count`.
        let version = unsafe { (api().TSHttpHdrVersionGet)(self.buffer, self.location) };
        (((version >> 16) & 0xffff) as u16, (version & 0xffff) as u16)
    }

    /// The response's status.
    pub(crate) fn status(&self) -> u16 {
        // SAFETY: see `count`.
        u16::try_from(unsafe { (api().TSHttpHdrStatusGet)(self.buffer, self.location) }).unwrap_or(0)
    }

    /// The words behind the response's status.
    pub(crate) fn reason(&self) -> &[u8] {
        let mut size = 0;
        // SAFETY: as `method`.
        unsafe { bytes((api().TSHttpHdrReasonGet)(self.buffer, self.location, &raw mut size), size) }
            .unwrap_or(b"")
    }
}

impl<'txn> Deref for HeaderMut<'txn> {
    type Target = Header<'txn>;

    fn deref(&self) -> &Header<'txn> {
        &self.0
    }
}

impl<'txn> HeaderMut<'txn> {
    /// `header` was made from an exclusive access.
    pub(super) fn new(header: Header<'txn>) -> Self {
        Self(header)
    }

    /// Adds a field behind the others.
    pub(crate) fn append(&mut self, name: &[u8], value: &[u8]) -> bool {
        let (buffer, header) = (self.buffer, self.location);
        let mut field = std::ptr::null_mut();
        // SAFETY: see `count`; name and value are read for their length and copied. The new field's
        // handle is released once, and the field destroyed when it was not attached.
        unsafe {
            let created = (api().TSMimeHdrFieldCreateNamed)(
                buffer,
                header,
                name.as_ptr().cast(),
                length(name),
                &raw mut field,
            );
            if created != TS_SUCCESS || field.is_null() {
                return false;
            }
            let (text, size) = (value.as_ptr().cast(), length(value));
            let set = (api().TSMimeHdrFieldValueStringSet)(buffer, header, field, -1, text, size);
            let done = set == TS_SUCCESS && (api().TSMimeHdrFieldAppend)(buffer, header, field) == TS_SUCCESS;
            if !done {
                (api().TSMimeHdrFieldDestroy)(buffer, header, field);
            }
            (api().TSHandleMLocRelease)(buffer, header, field);
            done
        }
    }

    /// Sets the first field named `name` and removes its repetitions; adds it when it is absent.
    pub(crate) fn replace(&mut self, name: &[u8], value: &[u8]) -> bool {
        let Some(first) = self.find(name) else { return self.append(name, value) };
        while let Some(repeated) = first.next_same_name() {
            if !repeated.destroy() {
                return false;
            }
        }
        first.set_value(value)
    }

    /// Removes every field named `name`.
    pub(crate) fn remove(&mut self, name: &[u8]) {
        while let Some(field) = self.find(name) {
            if !field.destroy() {
                return;
            }
        }
    }

    /// Asks `edit` about each field, by name and value, in the order of the wire.
    pub(crate) fn edit<'value>(&mut self, mut edit: impl FnMut(&[u8], &[u8]) -> Edit<'value>) -> bool {
        let mut done = true;
        let mut next = self.first();
        while let Some(field) = next {
            next = field.next();
            done &= match edit(field.name(), field.value()) {
                Edit::Keep => true,
                Edit::Set(value) => field.set_value(value),
                Edit::Remove => field.destroy(),
            };
        }
        done
    }

    /// Removes all fields.
    pub(crate) fn clear(&mut self) {
        // SAFETY: see `count`.
        unsafe { (api().TSMimeHdrFieldsClear)(self.buffer, self.location) };
    }

    /// Sets the request's method.
    pub fn set_method(&mut self, method: &[u8]) -> bool {
        // SAFETY: see `append`.
        unsafe {
            (api().TSHttpHdrMethodSet)(self.buffer, self.location, method.as_ptr().cast(), length(method))
                == TS_SUCCESS
        }
    }

    /// Sets the response's status and the usual reason for it.
    pub(crate) fn set_status(&mut self, status: u16) -> bool {
        // SAFETY: see `count`; the reason is a static string that ends with a zero byte.
        unsafe {
            if (api().TSHttpHdrStatusSet)(self.buffer, self.location, c_int::from(status)) != TS_SUCCESS {
                return false;
            }
            // None for a status that the server does not know; the old one's must not stay.
            let known = (api().TSHttpHdrReasonLookup)(c_int::from(status));
            let reason = if known.is_null() { c"" } else { std::ffi::CStr::from_ptr(known) };
            (api().TSHttpHdrReasonSet)(
                self.buffer,
                self.location,
                reason.as_ptr(),
                reason.count_bytes() as c_int,
            );
        }
        true
    }

    /// Sets the words behind the response's status.
    pub(crate) fn set_reason(&mut self, reason: &[u8]) -> bool {
        // SAFETY: see `append`.
        unsafe {
            (api().TSHttpHdrReasonSet)(self.buffer, self.location, reason.as_ptr().cast(), length(reason))
                == TS_SUCCESS
        }
    }

    /// The request's URL, to change it.
    pub fn url_mut(&mut self) -> Option<UrlMut<'_>> {
        self.0.url().map(UrlMut::new)
    }
}

/// What becomes of a field.
pub(crate) enum Edit<'value> {
    Keep,
    Set(&'value [u8]),
    Remove,
}

/// One field of a header.
#[derive(Debug)]
pub(crate) struct Field<'header> {
    header: &'header Header<'header>,
    location: TSMLoc,
}

impl Drop for Field<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle came from the server and is released once, before its header's.
        unsafe { (api().TSHandleMLocRelease)(self.header.buffer, self.header.location, self.location) };
    }
}

impl<'header> Field<'header> {
    /// The name as it was sent.
    pub(crate) fn name(&self) -> &'header [u8] {
        let mut size = 0;
        // SAFETY: the handle is valid while `self` is; the text while the header is unchanged.
        let text = unsafe {
            bytes(
                (api().TSMimeHdrFieldNameGet)(
                    self.header.buffer,
                    self.header.location,
                    self.location,
                    &raw mut size,
                ),
                size,
            )
        };
        text.unwrap_or(b"")
    }

    /// The whole value.
    pub(crate) fn value(&self) -> &'header [u8] {
        let mut size = 0;
        let Header { buffer, location, .. } = *self.header;
        // SAFETY: as `name`; index -1 means all values of this field.
        let text = unsafe {
            bytes(
                (api().TSMimeHdrFieldValueStringGet)(buffer, location, self.location, -1, &raw mut size),
                size,
            )
        };
        text.unwrap_or(b"")
    }

    /// The next field of the header.
    pub(crate) fn next(&self) -> Option<Self> {
        // SAFETY: as `name`.
        self.header.field(unsafe {
            (api().TSMimeHdrFieldNext)(self.header.buffer, self.header.location, self.location)
        })
    }

    /// The next field of the same name.
    pub(crate) fn next_same_name(&self) -> Option<Self> {
        let Header { buffer, location, .. } = *self.header;
        // SAFETY: as `name`.
        self.header.field(unsafe { (api().TSMimeHdrFieldNextDup)(buffer, location, self.location) })
    }

    /// Only for [`HeaderMut`]'s own functions: the header is theirs alone.
    fn set_value(&self, value: &[u8]) -> bool {
        let Header { buffer, location, .. } = *self.header;
        // SAFETY: as `name`; the value is copied.
        unsafe {
            let (text, size) = (value.as_ptr().cast(), length(value));
            (api().TSMimeHdrFieldValueStringSet)(buffer, location, self.location, -1, text, size)
                == TS_SUCCESS
        }
    }

    /// As `set_value`.
    fn destroy(self) -> bool {
        // SAFETY: as `name`; the handle itself is released when `self` drops.
        unsafe {
            (api().TSMimeHdrFieldDestroy)(self.header.buffer, self.header.location, self.location)
                == TS_SUCCESS
        }
    }
}
