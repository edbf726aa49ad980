//! One transaction as the filter sees it, and its way through the filter on either lane. No HTTP library's request
//! or response goes through here.

pub(crate) mod exchange;
pub(crate) mod fields;
pub(crate) mod flow;
mod properties;
pub(crate) mod state;
