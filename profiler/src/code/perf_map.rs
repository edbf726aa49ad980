//! Reads perf maps (`perf-PID.map`): start, size and name, one piece of code a line. Without times: all of
//! it counts from the start.

use super::timeline::{JitCode, Timeline};

/// Adds the code of the whole lines at the start of `bytes` to `timeline`, and returns how many bytes these are. A line that
/// is none is passed over; a last one without an end is still being written.
pub fn read(bytes: &[u8], timeline: &mut Timeline) -> usize {
    let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return 0 };
    for line in bytes[..end].split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        let mut words = line.splitn(3, ' ');
        let number = |word: Option<&str>| u64::from_str_radix(word?.trim_start_matches("0x"), 16).ok();
        let (Some(start), Some(size)) = (number(words.next()), number(words.next())) else { continue };
        let Some(name) = words.next().filter(|name| !name.is_empty()) else { continue };
        timeline.add(start, size, 0, None, JitCode { name: name.to_owned(), lines: Vec::new() });
    }
    end + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_spaces_and_other_lines_are_passed_over() {
        let mut timeline = Timeline::default();
        let map: &[u8] = b"7f00 10 token: is prime\n0x7f10 8 JS:~f\nnonsense\n7f20 zz x\n7f20 4\n\xff\xfe 1 x\n7f30 4 half a na";
        assert_eq!(read(map, &mut timeline), map.len() - "7f30 4 half a na".len());
        assert_eq!(timeline.codes().len(), 2);
        assert_eq!(timeline.find(0x7f0f, 0).map(|found| found.0.name.as_str()), Some("token: is prime"));
        assert_eq!(timeline.find(0x7f17, 0).map(|found| found.0.name.as_str()), Some("JS:~f"));
    }
}
