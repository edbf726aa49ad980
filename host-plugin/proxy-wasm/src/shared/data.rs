//! Shared data: keys and values, each with a number that says which value it is (`proxy_set_shared_data`,
//! `proxy_get_shared_data`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::OVERHEAD;
use crate::embedder::Status;

/// The data of each `vm_id` that a filter has.
#[derive(Debug, Default)]
pub(super) struct Spaces(Mutex<HashMap<String, Arc<SharedData>>>);

impl Spaces {
    pub(super) fn of(&self, vm_id: &str) -> Arc<SharedData> {
        let mut spaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(spaces.entry(vm_id.to_owned()).or_default())
    }
}

/// A value, and which one of all that were set: never 0, which a filter writes for "whatever it is now".
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) cas: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct SharedData(Mutex<Space>);

#[derive(Debug, Default)]
struct Space {
    values: HashMap<Box<[u8]>, Value>,
    /// Of keys and values, with what each entry takes beside.
    bytes: u64,
    last_cas: u32,
}

impl SharedData {
    fn lock(&self) -> MutexGuard<'_, Space> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Value> {
        self.lock().values.get(key).cloned()
    }

    /// Sets `key`. `cas`: only if that is the value's number; 0, and every number where there is no value yet: in any
    /// case, as in the reference host.
    ///
    /// # Errors
    /// CAS_MISMATCH; BAD_ARGUMENT when there would be more than `limit` bytes in all.
    pub(crate) fn set(&self, key: &[u8], bytes: Arc<[u8]>, cas: u32, limit: u64) -> Result<(), Status> {
        // What it replaces is dropped after the lock.
        let _old = self.lock().set(key, bytes, cas, limit)?;
        Ok(())
    }
}

impl Space {
    fn set(&mut self, key: &[u8], bytes: Arc<[u8]>, cas: u32, limit: u64) -> Result<Option<Value>, Status> {
        let size = |value: usize| (key.len() + value) as u64 + OVERHEAD;
        let old = self.values.get(key);
        if old.is_some_and(|old| cas != 0 && cas != old.cas) {
            return Err(Status::CasMismatch);
        }
        let before = self.bytes - old.map_or(0, |old| size(old.bytes.len()));
        let after = before.saturating_add(size(bytes.len()));
        if after > limit {
            return Err(Status::BadArgument);
        }
        self.bytes = after;
        self.last_cas = self.last_cas.checked_add(1).unwrap_or(1);
        let value = Value { bytes, cas: self.last_cas };
        Ok(match self.values.get_mut(key) {
            Some(old) => Some(std::mem::replace(old, value)),
            None => self.values.insert(key.into(), value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1000;

    fn bytes(data: &SharedData, key: &str) -> Option<(Vec<u8>, u32)> {
        data.get(key.as_bytes()).map(|value| (value.bytes.to_vec(), value.cas))
    }

    fn set(data: &SharedData, key: &str, value: &str, cas: u32) -> Result<(), Status> {
        data.set(key.as_bytes(), value.as_bytes().into(), cas, LIMIT)
    }

    #[test]
    fn a_number_lets_only_one_of_two_win() {
        let data = SharedData::default();
        assert_eq!(bytes(&data, "key"), None);
        assert_eq!(set(&data, "key", "one", 0), Ok(()));
        let (_, cas) = bytes(&data, "key").unwrap();
        assert_ne!(cas, 0);
        assert_eq!(set(&data, "key", "two", cas), Ok(()));
        assert_eq!(set(&data, "key", "late", cas), Err(Status::CasMismatch));
        assert_eq!(bytes(&data, "key").unwrap().0, b"two");
        assert_eq!(set(&data, "key", "", 0), Ok(()));
        assert_eq!(bytes(&data, "key").unwrap().0, b"");
        assert_eq!(set(&data, "other", "new", 77), Ok(()), "there was none");
    }

    #[test]
    fn numbers_never_become_zero() {
        let data = SharedData::default();
        data.lock().last_cas = u32::MAX;
        set(&data, "key", "value", 0).unwrap();
        assert_eq!(bytes(&data, "key").unwrap().1, 1);
    }

    #[test]
    fn its_size_has_a_limit_that_a_replaced_value_does_not_count_against() {
        let data = SharedData::default();
        let large = "x".repeat(900);
        assert_eq!(set(&data, "key", &large, 0), Ok(()));
        assert_eq!(set(&data, "other", &large, 0), Err(Status::BadArgument));
        assert_eq!(bytes(&data, "other"), None);
        for _ in 0..3 {
            assert_eq!(set(&data, "key", &large, 0), Ok(()));
        }
        assert_eq!(set(&data, "key", "", 0), Ok(()));
        let fitting = (0..100).take_while(|key| set(&data, &key.to_string(), "", 0).is_ok()).count();
        assert_eq!(fitting, 14, "small ones take more than their bytes");
    }
}
