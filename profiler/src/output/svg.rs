//! The flame graph: inferno's SVG, coloured by what the code is, with a legend and the recorder's figures.

use std::fmt::Write as _;
use std::io::{self, Write};

use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{self, Options};

use crate::profile::{LabelKind, Profile};

/// The legend: what, and its colour.
const LEGEND: [(&str, Color); 7] = [
    ("filter, callback", rgb(0x2f, 0x9e, 0x8f)),
    ("Wasm", rgb(0x6c, 0xc0, 0x6c)),
    ("inlined", rgb(0xa8, 0xd9, 0x8a)),
    ("source line", rgb(0xf2, 0xd4, 0x6b)),
    ("host", rgb(0xe8, 0x9a, 0x8c)),
    ("kernel", rgb(0x8f, 0xa8, 0xdc)),
    ("other", rgb(0xc8, 0xc8, 0xc8)),
];

const fn rgb(r: u8, g: u8, b: u8) -> Color {
    Color { r, g, b }
}

fn color(kind: LabelKind) -> Color {
    let index = match kind {
        LabelKind::Filter | LabelKind::Callback => 0,
        LabelKind::Wasm => 1,
        LabelKind::Inlined => 2,
        LabelKind::Line => 3,
        LabelKind::Host => 4,
        LabelKind::Kernel => 5,
        LabelKind::Thread | LabelKind::Note | LabelKind::Trampoline => 6,
    };
    LEGEND[index].1
}

/// What inferno takes off a name before it shows it. The host, the kernel and a module may well have functions
/// of one name, and inferno knows colours by name.
fn mark(kind: LabelKind) -> &'static str {
    match kind {
        LabelKind::Host | LabelKind::Line => "",
        LabelKind::Wasm => "_[w]",
        LabelKind::Inlined => "_[i]",
        LabelKind::Kernel => "_[k]",
        // A name that ends with a number would be taken for two.
        _ => "_[j]",
    }
}

/// Frames of a smaller part of the whole are not drawn, in percent.
const NARROWEST: f64 = 0.05;

/// Baselines of what is written above the frames, in pixels: the title, the legend, what is pointed at.
const ROWS: [u32; 3] = [18, 36, 54];

/// Of what inferno puts into one row above and one below the frames, in the rows above.
const PLACES: [(&str, u32); 5] = [
    ("title", ROWS[0]),
    ("unzoom", ROWS[0]),
    ("search", ROWS[0]),
    ("details", ROWS[2]),
    ("matched", ROWS[2]),
];

/// Behind inferno's own. The figures give way in a narrow window.
const STYLE: &str = "#legend text { font-size:11px } #figures { text-anchor:end } #search { opacity:0.7 } \
                     @media (max-width:1000px) { #figures { display:none } }";
const SCRIPT: &str = include_str!("flame_graph.js");

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
    // The root, which has no name.
    colors.insert("", color(LabelKind::Thread));
    let mut names = Vec::new();
    for label in profile.labels.iter() {
        let name = format!("{}{}", label.text, mark(label.kind));
        colors.insert(&name, color(label.kind));
        names.push(name);
    }
    let mut options = Options::default();
    options.title = profile.title.clone();
    // Room for the legend's row and that of what is pointed at.
    options.subtitle = Some(String::new());
    options.count_name = if profile.unit == "ns" { "ms".into() } else { profile.unit.clone() };
    options.factor = if profile.unit == "ns" { 1e-6 } else { 1.0 };
    options.palette_map = Some(&mut colors);
    options.bgcolors = Some(BackgroundColor::Flat(rgb(0xff, 0xff, 0xff)));
    options.min_width = NARROWEST;
    options.no_sort = true;
    let lines = Drawn::lines(profile, &names);
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)?;
    let mut svg = String::from_utf8(svg).map_err(io::Error::other)?;
    for (id, y) in PLACES {
        place(&mut svg, id, y);
    }
    let (graph, end) = svg.split_at(svg.rfind("</svg>").unwrap_or(svg.len()));
    out.write_all(graph.as_bytes())?;
    writeln!(out, "<style>{STYLE}</style>{}", legend(&figures(profile)))?;
    write!(out, "<script type=\"text/ecmascript\"><![CDATA[\n{SCRIPT}]]></script>{end}")?;
    out.flush()
}

/// Folded stacks of the frames that are wide enough to be drawn; the others' weight is their caller's own.
struct Drawn<'a> {
    names: &'a [String],
    narrowest: f64,
    lines: Vec<String>,
}

impl<'a> Drawn<'a> {
    /// Sorted as inferno needs them.
    fn lines(profile: &Profile, names: &'a [String]) -> Vec<String> {
        let narrowest = profile.total as f64 * NARROWEST / 100.0;
        let mut drawn = Self { names, narrowest, lines: Vec::new() };
        drawn.add(&profile.stacks, 0, &mut String::new());
        drawn.lines.sort_unstable();
        drawn.lines
    }

    /// Adds stacks that are the same up to `depth`, whose folded form is `path`. They are sorted: those that go on
    /// with the same frame stand together.
    fn add(&mut self, stacks: &[(Vec<u32>, u64)], depth: usize, path: &mut String) {
        let mut own = 0;
        for group in stacks.chunk_by(|a, b| a.0.get(depth) == b.0.get(depth)) {
            let weight: u64 = group.iter().map(|stack| stack.1).sum();
            match group[0].0.get(depth) {
                // The graph is as wide as all threads together.
                Some(label) if weight as f64 >= self.narrowest || depth == 0 => {
                    let length = path.len();
                    if depth > 0 {
                        path.push(';');
                    }
                    path.push_str(&self.names[*label as usize]);
                    self.add(group, depth + 1, path);
                    path.truncate(length);
                }
                _ => own += weight,
            }
        }
        if own > 0 {
            self.lines.push(format!("{path} {own}"));
        }
    }
}

/// Moves the text of this id to another height.
fn place(svg: &mut String, id: &str, y: u32) {
    let find = |text: &str, from: usize| svg[from..].find(text).map(|at| from + at + text.len());
    let start = find(&format!("<text id=\"{id}\""), 0).and_then(|at| find(" y=\"", at));
    if let Some((start, end)) = start.and_then(|start| Some((start, start + svg[start..].find('"')?))) {
        svg.replace_range(start..end, &y.to_string());
    }
}

fn figures(profile: &Profile) -> String {
    let mut text = format!("{}, {} samples", profile.amount(profile.total), profile.samples);
    if let Some(summary) = &profile.summary {
        let cost = summary.own_cpu * 100.0 / summary.seconds.max(0.001);
        let _ = write!(text, ", {} lost, {} unresolved", summary.lost, summary.unresolved);
        let _ = write!(text, "; recorder: {cost:.1} % of a CPU");
    }
    text
}

/// Boxes and words, and at the other end of their row the recorder's figures.
fn legend(figures: &str) -> String {
    let y = ROWS[1];
    let mut legend = String::from("<g id=\"legend\">");
    let mut x = 10;
    for (name, Color { r, g, b }) in LEGEND {
        let _ = write!(
            legend,
            "<rect x=\"{x}\" y=\"{}\" width=\"11\" height=\"11\" fill=\"rgb({r},{g},{b})\"/>\
             <text x=\"{}\" y=\"{y}\">{name}</text>",
            y - 10,
            x + 15
        );
        // A character of the legend is seven pixels wide at most.
        x += 15 + 7 * name.len() + 8;
    }
    let _ = write!(legend, "<text id=\"figures\" x=\"100%\" dx=\"-10\" y=\"{y}\">{figures}</text></g>");
    legend
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Labels;

    /// A profile of stacks of kinds and names.
    fn profile(stacks: &[(&[(LabelKind, &str)], u64)]) -> Profile {
        let mut labels = Labels::default();
        let mut numbered: Vec<(Vec<u32>, u64)> = Vec::new();
        for (stack, weight) in stacks {
            let number = |(kind, text): &(LabelKind, &str)| labels.number(*kind, text);
            numbered.push((stack.iter().map(number).collect(), *weight));
        }
        numbered.sort();
        let total = stacks.iter().map(|stack| stack.1).sum();
        Profile { labels, stacks: numbered, total, unit: "samples".into(), ..Profile::default() }
    }

    fn svg(profile: &Profile) -> String {
        let mut out = Vec::new();
        write(profile, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The colour of the frame whose title starts so.
    fn color_of<'a>(svg: &'a str, title: &str) -> &'a str {
        let (_, rest) = svg.split_once(&format!("<title>{title}")).unwrap_or_else(|| panic!("no {title}"));
        rest.split_once("fill=\"").unwrap().1.split('"').next().unwrap()
    }

    const THREAD: (LabelKind, &str) = (LabelKind::Thread, "main");

    #[test]
    fn one_name_in_the_host_and_in_a_module_has_two_colours() {
        let svg = svg(&profile(&[
            (&[THREAD, (LabelKind::Host, "main"), (LabelKind::Wasm, "malloc")], 60),
            (&[THREAD, (LabelKind::Host, "main"), (LabelKind::Host, "malloc")], 40),
        ]));
        assert_eq!(color_of(&svg, "malloc (60"), "rgb(108,192,108)");
        assert_eq!(color_of(&svg, "malloc (40"), "rgb(232,154,140)");
        let (thread, function) = svg.split_at(svg.rfind("<title>main").unwrap());
        assert_eq!(color_of(function, "main"), "rgb(232,154,140)");
        assert_eq!(color_of(thread, "main"), "rgb(200,200,200)");
        assert!(!svg.contains("_["), "marks are not shown");
    }

    #[test]
    fn names_are_text_whatever_they_hold() {
        let name = "<a::B<&C> as d>::e 12";
        let svg = svg(&profile(&[(&[THREAD, (LabelKind::Wasm, name)], 5)]));
        assert!(svg.contains("<title>&lt;a::B&lt;&amp;C&gt; as d&gt;::e 12 (5 samples, 100.00%)</title>"));
    }

    #[test]
    fn what_is_too_narrow_is_its_callers_own_and_the_whole_stays_whole() {
        let profile = profile(&[
            (&[THREAD, (LabelKind::Host, "wide")], 9_996),
            (&[THREAD, (LabelKind::Host, "wide"), (LabelKind::Host, "narrow")], 2),
            (&[(LabelKind::Thread, "idle"), (LabelKind::Host, "poll")], 2),
        ]);
        let names: Vec<String> = profile.labels.iter().map(|label| label.text.to_string()).collect();
        assert_eq!(Drawn::lines(&profile, &names), ["idle 2", "main;wide 9998"]);
        let svg = svg(&profile);
        assert!(svg.contains("all (10,000 samples, 100%)") && !svg.contains("narrow ("));
    }
}
