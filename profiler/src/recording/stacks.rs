//! The distinct stacks of a recording, packed as they are in a file: there may be very many, and each is long.

use super::bytes::{Cursor, put};
use crate::unwind::End;

/// Frames, innermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Indexes into [`super::Recording::frames`].
    pub frames: Vec<u32>,
    /// Where it ends.
    pub end: End,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Stacks {
    bytes: Vec<u8>,
    /// Where each begins.
    starts: Vec<u64>,
}

impl Stacks {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Adds one, and returns its index.
    pub fn push(&mut self, frames: &[u32], end: End) -> u32 {
        let index = self.starts.len() as u32;
        self.starts.push(self.bytes.len() as u64);
        write(&mut self.bytes, frames, end);
        index
    }

    /// Adds those of a record of the file, whose frames must be below `known`.
    pub(super) fn read(&mut self, payload: &[u8], known: usize) -> Option<()> {
        let mut starts = Vec::new();
        let mut cursor = Cursor(payload);
        while !cursor.is_empty() {
            starts.push((self.bytes.len() + payload.len() - cursor.0.len()) as u64);
            let (_, count) = head(&mut cursor)?;
            for _ in 0..count {
                cursor.small().filter(|frame| (*frame as usize) < known)?;
            }
        }
        self.starts.append(&mut starts);
        self.bytes.extend_from_slice(payload);
        Some(())
    }

    /// Reads a stack's frames into `frames`, and returns where it ends.
    ///
    /// # Panics
    /// There are not so many.
    pub fn get(&self, index: u32, frames: &mut Vec<u32>) -> End {
        const CHECKED: &str = "invariant: what is packed can be read";
        let mut cursor = Cursor(&self.bytes[self.starts[index as usize] as usize..]);
        let (end, count) = head(&mut cursor).expect(CHECKED);
        frames.clear();
        frames.extend((0..count).map(|_| cursor.small().expect(CHECKED)));
        end
    }
}

/// Where a stack ends, and how many frames follow.
fn head(cursor: &mut Cursor<'_>) -> Option<(End, usize)> {
    let end = match cursor.number()? {
        0 => End::Root,
        1 => End::StackCopy,
        2 => End::NoTables,
        3 => End::NoCode,
        4 => End::Elsewhere,
        _ => return None,
    };
    Some((end, cursor.count()?))
}

/// Appends a stack.
pub(super) fn write(out: &mut Vec<u8>, frames: &[u32], end: End) {
    let end = match end {
        End::Root => 0,
        End::StackCopy => 1,
        End::NoTables => 2,
        End::NoCode => 3,
        End::Elsewhere => 4,
    };
    put(out, end);
    put(out, frames.len() as u64);
    frames.iter().for_each(|frame| put(out, (*frame).into()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_come_back() {
        let mut stacks = Stacks::default();
        assert_eq!(stacks.push(&[7, 300, 0], End::Root), 0);
        assert_eq!(stacks.push(&[], End::NoCode), 1);
        let mut record = Vec::new();
        write(&mut record, &[1, 2], End::StackCopy);
        write(&mut record, &[9], End::NoTables);
        assert!(stacks.read(&record, 9).is_none(), "there is no frame 9");
        assert_eq!(stacks.read(&record, 10), Some(()));
        let mut frames = Vec::new();
        let mut read = |index| (stacks.get(index, &mut frames), frames.clone());
        assert_eq!(read(0), (End::Root, vec![7, 300, 0]));
        assert_eq!(read(1), (End::NoCode, vec![]));
        assert_eq!(read(2), (End::StackCopy, vec![1, 2]));
        assert_eq!(read(3), (End::NoTables, vec![9]));
    }
}
