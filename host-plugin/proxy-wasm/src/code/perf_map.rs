//! `perf-PID.map`: a line of text for each piece of code.

use std::fmt::Write as _;

use super::piece::Piece;

pub(super) fn bytes(pieces: &[Piece<'_>]) -> Vec<u8> {
    let mut text = String::new();
    for piece in pieces {
        // A name ends with its line. Writing to a String does not fail.
        let name = piece.name.replace(['\n', '\r'], " ");
        let _ = writeln!(text, "{:x} {:x} {name}", piece.address, piece.code.len());
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_piece() {
        let piece =
            Piece { address: 0x7f00, code: &[0; 18], name: "token: is\nprime".into(), lines: Vec::new() };
        assert_eq!(bytes(&[piece]), b"7f00 12 token: is prime\n");
    }
}
