//! What a transaction lends to the host functions of its filter, and what the filter has written into it.

use crate::config::Limits;
use crate::embedder::Headers;

/// A header map, for the length of a host function.
pub(crate) struct Lent<'a> {
    pub(crate) headers: &'a mut dyn Headers,
    pub(crate) written: &'a mut Written,
    /// The number of its fields when the running callback began, if that is known.
    pub(crate) counted: Option<u32>,
}

/// What a filter has written into one header map of a transaction, or into its properties. Never above 4 GiB,
/// whatever the limits say: every transaction carries these numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    bytes: u32,
    /// By so many the map grew.
    fields: u32,
}

/// What a filter is about to write.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Write {
    pub(crate) bytes: usize,
    /// By so many the map grows.
    pub(crate) fields: usize,
    /// Bytes of the map that it replaces as a whole: they do not count against the filter.
    pub(crate) replaced: usize,
}

impl Written {
    /// Whether `write` may be done: with it the filter has added so many fields. It counts from now on: the proxy
    /// keeps what was replaced until the transaction ends. What came with the message does not count: a client
    /// must not be able to use up what a filter may add.
    pub(crate) fn admit(&mut self, write: Write, limits: &Limits) -> Option<u32> {
        let sum =
            |before: u32, more: usize| u32::try_from(u64::from(before).saturating_add(more as u64)).ok();
        let most = limits.map_bytes.saturating_add(write.replaced as u64);
        let bytes = sum(self.bytes, write.bytes).filter(|bytes| u64::from(*bytes) <= most)?;
        let fields = sum(self.fields, write.fields).filter(|fields| *fields <= limits.map_fields)?;
        *self = Self { bytes, fields };
        Some(fields)
    }
}
