//! The flame graph: inferno's SVG, coloured by what the code is, with a legend and the recorder's figures.

use std::io::{self, Write};

use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{self, Options};

use super::collapsed::lines;
use crate::profile::{LabelKind, Profile};

/// The legend: what, and its colour.
const LEGEND: [(&str, Color); 6] = [
    ("filter, callback", rgb(0x2f, 0x9e, 0x8f)),
    ("Wasm", rgb(0x6c, 0xc0, 0x6c)),
    ("inlined", rgb(0xa8, 0xd9, 0x8a)),
    ("source line", rgb(0xf2, 0xd4, 0x6b)),
    ("host", rgb(0xe8, 0x9a, 0x8c)),
    ("kernel", rgb(0x8f, 0xa8, 0xdc)),
];
const GREY: Color = rgb(0xc8, 0xc8, 0xc8);

const fn rgb(r: u8, g: u8, b: u8) -> Color {
    Color { r, g, b }
}

fn color(kind: LabelKind) -> Color {
    match kind {
        LabelKind::Filter | LabelKind::Callback => LEGEND[0].1,
        LabelKind::Wasm => LEGEND[1].1,
        LabelKind::Inlined => LEGEND[2].1,
        LabelKind::Line => LEGEND[3].1,
        LabelKind::Host => LEGEND[4].1,
        LabelKind::Kernel => LEGEND[5].1,
        LabelKind::Thread | LabelKind::Note | LabelKind::Trampoline => GREY,
    }
}

/// Writes the graph.
///
/// # Errors
/// `out` cannot be written, or there is nothing to draw.
pub fn write(profile: &Profile, mut out: impl Write) -> io::Result<()> {
    if profile.total == 0 {
        let text = "no samples: there is nothing to draw; was the process idle?";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut colors = PaletteMap::default();
    for label in profile.labels.iter() {
        colors.insert(&label.text, color(label.kind));
    }
    let mut options = Options::default();
    options.title = profile.title.clone();
    // Room for the legend's line.
    options.subtitle = Some(String::new());
    options.count_name = if profile.unit == "ns" { "ms".into() } else { profile.unit.clone() };
    options.factor = if profile.unit == "ns" { 1e-6 } else { 1.0 };
    options.palette_map = Some(&mut colors);
    options.bgcolors = Some(BackgroundColor::Flat(rgb(0xff, 0xff, 0xff)));
    options.min_width = 0.05;
    options.no_sort = true;
    let lines = lines(profile);
    let mut svg = Vec::with_capacity(1 << 20);
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)?;
    out.write_all(&with_legend(svg, &figures(profile)))?;
    out.flush()
}

fn figures(profile: &Profile) -> String {
    let mut text = format!("{} samples, {}", profile.samples, profile.amount(profile.total));
    if let Some(summary) = &profile.summary {
        text.push_str(&format!(", {} lost, {} unresolved", summary.lost, summary.unresolved));
    }
    text
}

/// Boxes and words under the title, in a line with the recorder's figures.
fn with_legend(mut svg: Vec<u8>, figures: &str) -> Vec<u8> {
    let mut legend = String::from("<g id=\"legend\" style=\"font-family:monospace;font-size:11px\">");
    let mut x = 10;
    for (name, color) in LEGEND {
        legend.push_str(&format!(
            "<rect x=\"{x}\" y=\"38\" width=\"11\" height=\"11\" fill=\"rgb({},{},{})\"/><text x=\"{}\" y=\"48\" style=\"font-size:11px\">{name}</text>",
            color.r, color.g, color.b, x + 15
        ));
        x += 15 + 8 * name.len() + 8;
    }
    legend.push_str(&format!("<text x=\"{x}\" y=\"48\" style=\"font-size:11px\">{figures}</text></g>"));
    let end = b"</svg>";
    if let Some(at) = svg.windows(end.len()).rposition(|window| window == end) {
        svg.splice(at..at, legend.into_bytes());
    }
    svg
}
