//! What people and programs look at. Each output is a pure function of a profile.

mod collapsed;
mod json;
mod svg;
mod table;

pub use collapsed::write as collapsed;
pub use json::write as json;
pub use svg::write as svg;
pub use table::{By, Row, UnknownBy, rows, write as table};
