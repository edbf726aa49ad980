//! `bt`, `frame`, `up`, `down`: the stack of the selected stop.

use std::fmt::Write as _;

use super::command::{Command, Flow, Words, repetitions};
use crate::debugger::{Debugger, Selection};
use crate::failure::{Failure, fail};
use crate::show::frames::frame_line;
use crate::terminal::console::{Console, harmless};

pub(crate) const BACKTRACE: Command = Command {
    name: "bt",
    aliases: &["backtrace", "where"],
    usage: "[COUNT|-COUNT]",
    summary: "show the frames, innermost first, and the request they work for",
    details: "Inlined calls are frames and marked. COUNT shows only the innermost, -COUNT only the outermost.",
    words: Words::None,
    repeats: false,
    run: |debugger, arguments| backtrace(&debugger.selection, &mut debugger.console, arguments),
};

pub(crate) const FRAME: Command = Command {
    name: "frame",
    aliases: &["f"],
    usage: "[NUMBER]",
    summary: "select a frame by its number in bt, or show the selected one",
    details: "",
    words: Words::None,
    repeats: false,
    run: |debugger, arguments| {
        let mut frame = debugger.selection.get()?.frame;
        if !arguments.is_empty() {
            frame = match arguments.parse() {
                Ok(frame) => frame,
                Err(_) => fail!("{arguments:?} is no frame's number: `bt` lists them"),
            };
        }
        select(debugger, frame)
    },
};

pub(crate) const UP: Command = Command {
    name: "up",
    aliases: &[],
    usage: "[COUNT]",
    summary: "select the caller of the selected frame",
    details: "",
    words: Words::None,
    repeats: true,
    run: |debugger, arguments| {
        let selected = debugger.selection.get()?;
        let (frame, count) = (selected.frame, selected.stop.frame_count()?);
        if frame + 1 >= count {
            fail!("frame {frame} is the outermost: the host called it");
        }
        select(debugger, frame.saturating_add(repetitions(arguments)?).min(count - 1))
    },
};

pub(crate) const DOWN: Command = Command {
    name: "down",
    aliases: &[],
    usage: "[COUNT]",
    summary: "select the frame that the selected one called",
    details: "",
    words: Words::None,
    repeats: true,
    run: |debugger, arguments| {
        let frame = debugger.selection.get()?.frame;
        if frame == 0 {
            fail!("frame 0 is the innermost: it calls nothing yet");
        }
        select(debugger, frame.saturating_sub(repetitions(arguments)?))
    },
};

fn backtrace(selection: &Selection, console: &mut Console, arguments: &str) -> Result<Flow, Failure> {
    let stop = &selection.get()?.stop;
    let (first, count) = match (arguments, arguments.parse::<i32>()) {
        ("", _) => (0, u32::MAX),
        (_, Ok(count)) if count > 0 => (0, count.unsigned_abs()),
        (_, Ok(count)) if count < 0 => {
            (stop.frame_count()?.saturating_sub(count.unsigned_abs()), count.unsigned_abs())
        }
        _ => fail!("{arguments:?} is no number of frames"),
    };
    let mut text = String::new();
    for frame in stop.frames(first, count)? {
        let _ = writeln!(text, "{}", frame_line(stop, &frame, console));
    }
    // The last line names the request, as a debugger's thread would be named.
    text.push_str(&harmless(&stop.summary().thread));
    console.say(&text);
    Ok(Flow::Next)
}

fn select(debugger: &mut Debugger, frame: u32) -> Result<Flow, Failure> {
    debugger.selection.look_at_frame(frame)?;
    debugger.show_place(true);
    Ok(Flow::Next)
}
