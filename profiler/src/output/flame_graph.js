"use strict";
// Takes the place of three functions of inferno's script, which stands before this one: how names are cut, what
// is said of the frame that is pointed at, and what a search term means.

/** The end of what the bracket at `start` opens; -1 when nothing closes it. */
function closing(name, start) {
    var depth = 0;
    for (var i = start; i < name.length; i++) {
        if (name[i] === "<") depth++;
        // An arrow is no bracket: <fn() -> u32>.
        else if (name[i] === ">" && name[i - 1] !== "-" && --depth === 0) return i;
    }
    return -1;
}

/** `<a::B<C> as d::E>::f::<G>` without what is in angle brackets: `a::B::f`. */
function without_arguments(name) {
    if (/operator\s*[<>-]/.test(name)) return name;
    for (var start; (start = name.indexOf("<")) >= 0;) {
        var end = closing(name, start);
        if (end < 0) return name;
        var inside = start === 0 ? name.slice(1, end).split(" as ")[0] : "";
        name = name.slice(0, start).replace(/::$/, "") + inside + name.slice(end + 1);
    }
    return name;
}

/** A name and its shorter forms, the longest first. */
function forms(name) {
    var line = /^(~?)(?:.*\/)?([^\/]*)(:\d+)$/.exec(name);
    if (line) return [name, line[1] + line[2] + line[3], line[3]];
    var all = [name];
    var words = without_arguments(name).split("::");
    for (; words.length > 0; words.shift()) all.push(words.join("::"));
    return all;
}

/** The name in so many characters; its start when no form of it fits. */
function shortened(name, room) {
    var found = forms(name).filter(function(form) { return form.length <= room; })[0];
    if (found !== undefined) return found;
    return room < 4 ? "" : forms(name).pop().slice(0, room - 1) + "\u2026";
}

function name_of(frame) {
    return find_child(frame, "title").textContent.replace(/ \([^(]*\)$/, "");
}

// All is read before anything is written: the browser lays the page out once.
update_text_for_elements = function(elements) {
    var width = frames.attributes.width.value, character = known_font_width || fontsize * fontwidth;
    var texts = Array.prototype.map.call(elements, function(frame) {
        var rect = find_child(frame, "rect").attributes;
        var room = Math.floor((parseFloat(rect.width.value) * width / 100 - 4) / character);
        return [(parseFloat(rect.x.value) + 300 / width).toFixed(4) + "%", shortened(name_of(frame), room)];
    });
    texts.forEach(function(text, index) {
        var element = find_child(elements[index], "text");
        element.attributes.x.value = text[0];
        element.textContent = text[1];
    });
};

// The share stands at the end: it must not be what is cut.
window.addEventListener("mouseover", function(event) {
    var frame = find_group(event.target);
    if (!frame) return;
    var name = name_of(frame), share = find_child(frame, "title").textContent.slice(name.length);
    var room = svg.width.baseVal.value / (known_font_width || fontsize * fontwidth) - share.length - 20;
    details.nodeValue = (name.length < room ? name : name.slice(0, room) + "\u2026") + share;
});

// A regular expression, or a name as it stands: [libc.so.6] and {closure#0} are names.
var search_for = search;
search = function(term) {
    var is_name = Array.prototype.some.call(frames.children, function(frame) {
        return g_to_text(frame).includes(term);
    });
    try {
        search_for(is_name ? term.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") : term);
    } catch (error) {
        details.nodeValue = error.message;
    }
};
