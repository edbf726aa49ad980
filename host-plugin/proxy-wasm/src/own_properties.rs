//! Properties under names that filters have made up: what one leaves with a transaction, its later callbacks and the
//! later filters of the chain find. A host keeps them as long as the transaction.

/// Segments of a path that a host answers, or that say what the filter is: no filter can make up a name below them.
const TAKEN: [&[u8]; 10] = [
    b"request",
    b"response",
    b"source",
    b"destination",
    b"connection",
    b"upstream",
    b"node",
    b"plugin_name",
    b"plugin_root_id",
    b"plugin_vm_id",
];

/// What a property takes besides its name and value, in bytes.
const ENTRY: u64 = 64;

/// See the module. None of them costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnProperties {
    /// Paths, joined by NUL, with values.
    values: Vec<(Vec<u8>, Vec<u8>)>,
}

impl OwnProperties {
    /// Whether a filter may give a property this name.
    pub fn is_own(path: &[&[u8]]) -> bool {
        path.first().is_some_and(|first| !first.is_empty() && !TAKEN.contains(first))
    }

    /// The value of a path.
    pub fn get(&self, path: &[&[u8]]) -> Option<&[u8]> {
        let place = self.place(path)?;
        Some(&self.values[place].1)
    }

    /// Sets a path to `value`. `limit`: the bytes that all of a transaction may take. Whether they do not take more;
    /// else nothing is changed.
    #[must_use]
    pub fn set(&mut self, path: &[&[u8]], value: &[u8], limit: u64) -> bool {
        let place = self.place(path);
        let size = |name: usize, value: usize| name as u64 + value as u64 + ENTRY;
        let all: u64 = self.values.iter().map(|(name, value)| size(name.len(), value.len())).sum();
        let before = place.map_or(0, |place| size(self.values[place].0.len(), self.values[place].1.len()));
        let name = path.join(&0);
        if all - before + size(name.len(), value.len()) > limit {
            return false;
        }
        match place {
            Some(place) => self.values[place].1 = value.to_vec(),
            None => self.values.push((name, value.to_vec())),
        }
        true
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Paths, joined by NUL, with values, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.values.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    fn place(&self, path: &[&[u8]]) -> Option<usize> {
        self.values.iter().position(|(name, _)| {
            let mut rest = path.iter();
            name.split(|byte| *byte == 0).all(|segment| rest.next() == Some(&segment))
                && rest.next().is_none()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_path_and_no_part_of_it() {
        let mut own = OwnProperties::default();
        assert!(own.set(&[b"a", b"b"], b"1", 1000));
        assert!(own.set(&[b"a"], b"2", 1000));
        assert!(own.set(&[b"a", b"b"], b"3", 1000));
        assert_eq!(own.get(&[b"a", b"b"]), Some(&b"3"[..]));
        assert_eq!(own.get(&[b"a"]), Some(&b"2"[..]));
        let absent: [&[&[u8]]; 4] = [&[b"a", b"c"], &[b"b"], &[b"a", b"b", b"c"], &[]];
        for absent in absent {
            assert_eq!(own.get(absent), None);
        }
        assert_eq!(own.iter().count(), 2);
    }

    #[test]
    fn a_value_that_goes_makes_room() {
        let mut own = OwnProperties::default();
        let limit = 2 * (ENTRY + 1) + 10;
        assert!(own.set(&[b"a"], b"0123456789", limit));
        assert!(!own.set(&[b"b"], b"0", limit), "one byte too many");
        assert_eq!(own.get(&[b"b"]), None);
        assert!(own.set(&[b"a"], b"012345678", limit));
        assert!(own.set(&[b"b"], b"0", limit));
        assert!(!own.set(&[b"a"], b"0123456789", limit));
        assert_eq!(own.get(&[b"a"]), Some(&b"012345678"[..]), "what was there stays");
    }

    #[test]
    fn names_that_are_taken() {
        let taken: [&[&[u8]]; 5] = [&[b"request"], &[b"request", b"x"], &[b"plugin_name"], &[b""], &[]];
        for taken in taken {
            assert!(!OwnProperties::is_own(taken), "{taken:?}");
        }
        assert!(OwnProperties::is_own(&[b"requests"]) && OwnProperties::is_own(&[b"x", b"request"]));
    }
}
