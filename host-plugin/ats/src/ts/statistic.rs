//! Statistics of the server, as far as filters have metrics in them.

use std::ffi::{CString, c_int};

use crate::sys::{TS_SUCCESS, api, statistic};

/// A statistic of ours. Statistics live as long as the process.
#[derive(Debug)]
pub(crate) struct Statistic(c_int);

impl Statistic {
    /// Makes one, with a value that is a number (`TSStatCreate`). On one thread alone, which is one of the server's or
    /// of [`super::spawn`].
    ///
    /// # Errors
    /// There is one of that name, or the server has no room for another one.
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        let text = CString::new(name).map_err(|_| "its name has a zero byte".to_owned())?;
        let api = api();
        let (Some(find), Some(create)) = (api.TSStatFindName, api.TSStatCreate) else {
            return Err("the server has no statistics of plugins".to_owned());
        };
        let mut id: c_int = -1;
        // SAFETY: the name ends with a zero byte; `id` is written when there is one.
        if unsafe { find(text.as_ptr(), &raw mut id) } == TS_SUCCESS {
            return Err(format!("there is a statistic {name}"));
        }
        // SAFETY: the name ends with a zero byte, and no statistic has it: the server ends when one has.
        let id = unsafe {
            create(text.as_ptr(), statistic::INTEGER, statistic::NOT_PERSISTENT, statistic::SYNC_SUM)
        };
        if id < 0 { Err("the server has no room for more statistics".to_owned()) } else { Ok(Self(id)) }
    }

    /// Sets its value (`TSStatIntSet`): on the thread that made it.
    pub(crate) fn set(&self, value: i64) {
        if let Some(set) = api().TSStatIntSet {
            // SAFETY: the id is one that the server gave.
            unsafe { set(self.0, value) };
        }
    }
}
