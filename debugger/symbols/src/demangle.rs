//! Owns demangling and the parts of names. Never looks anything up.

use cpp_demangle::{DemangleOptions, ParseOptions, Symbol};

/// A symbol as its author wrote it, without hashes and C++ parameter lists; unchanged when it is not
/// mangled.
#[must_use]
pub fn demangle(symbol: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(symbol) {
        return format!("{rust:#}");
    }
    if symbol.starts_with("_Z") || symbol.starts_with("__Z") {
        // The grammar nests; the limit keeps broken symbols from taking the stack.
        let parse = ParseOptions::default().recursion_limit(96);
        let show = DemangleOptions::new().no_params().no_return_type();
        let mut text = Bounded::default();
        if let Ok(parsed) = Symbol::new_with_options(symbol, &parse)
            && parsed.structured_demangle(&mut text, &show).is_ok()
        {
            return without_abi_tags(&text.0);
        }
    }
    // wasm-ld writes C++ names into the name section as people read them, parameters included.
    if symbol.ends_with(')') || symbol.ends_with(") const") {
        return without_abi_tags(without_parameters(symbol));
    }
    symbol.to_owned()
}

/// The longest name in bytes.
const MAX_NAME: usize = 64 << 10;

/// A text that grows no longer than a name may be: each substitution of a mangled name can hold the one
/// before it twice, so that a hundred bytes could mean gigabytes.
#[derive(Default)]
struct Bounded(String);

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > MAX_NAME {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// A demangled C++ name without the parameter list at its end.
fn without_parameters(name: &str) -> &str {
    let list = name.trim_end_matches(" const");
    let mut depth = 0;
    for (at, c) in list.char_indices().rev() {
        match c {
            ')' => depth += 1,
            '(' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            // `(anonymous namespace)` is no list, and neither is the name of `operator()`.
            let before = &list[..at];
            let is_list = !before.is_empty() && !before.ends_with("::") && !before.ends_with("operator");
            return if is_list { before } else { name };
        }
    }
    name
}

/// libc++ tags its functions with its version (`push_back[abi:nn190107]`), which nobody asks for.
fn without_abi_tags(name: &str) -> String {
    let mut parts = name.split("[abi:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| name + part.split_once(']').map_or("", |(_, rest)| rest))
}

/// The name without generic arguments: `Vec<u8>::push` is `Vec::push`. The angle brackets of
/// `<A as B>::c` and of operators stay.
#[must_use]
pub fn without_generics(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(open) = rest.find('<') {
        let inside = &rest[open + 1..];
        let Some(close) = closing(inside) else { break };
        out.push_str(&rest[..open]);
        // `operator<`, `<A as B>::c`, `<impl A for B>::c` and `<[T]>::len` are no generic arguments.
        let path = out.is_empty() || out.ends_with("::");
        let keep = out.ends_with("operator")
            || path && (out.is_empty() || inside[..close].contains(" as ") || inside.starts_with("impl "));
        if keep {
            out.push_str(&rest[open..open + close + 2]);
        } else if path {
            out.truncate(out.len() - 2);
        }
        rest = &inside[close + 1..];
        if out.is_empty() {
            rest = rest.trim_start_matches("::");
        }
    }
    out.push_str(rest);
    out
}

/// The separate parts of a path: by `::`, or by `.`, `/` and `#` in languages without it. Separators
/// inside brackets do not count.
#[must_use]
pub fn path_parts(name: &str) -> Vec<&str> {
    let colons = name.contains("::");
    let bytes = name.as_bytes();
    let (mut parts, mut start, mut depth, mut at) = (Vec::new(), 0, 0_i32, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'<' | b'(' | b'{' | b'[' => depth += 1,
            b'>' if at > 0 && bytes[at - 1] == b'-' => {}
            b'>' | b')' | b'}' | b']' => depth -= 1,
            b':' if depth <= 0 && bytes[at..].starts_with(b"::") => {
                parts.push(&name[start..at]);
                at += 1;
                start = at + 1;
            }
            b'.' | b'/' | b'#' if depth <= 0 && !colons => {
                parts.push(&name[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(&name[start..]);
    parts.retain(|p| !p.is_empty());
    parts
}

/// Whether `name` can be called `query`: equal, or `query` is an end of its path. A Rust trait method
/// `<A as B>::c` can also be called `A::c` and `B::c`. Generic arguments count only if `query` has some.
#[must_use]
pub fn can_be_called(name: &str, query: &str) -> bool {
    if name == query {
        return true;
    }
    if !query.contains('<') {
        let plain = without_generics(name);
        return forms(&plain).iter().any(|form| ends_in_path(form, query));
    }
    forms(name).iter().any(|form| ends_in_path(form, query))
}

/// The paths under which a function can be named.
fn forms(name: &str) -> Vec<String> {
    let mut all = vec![name.to_owned()];
    // Go's methods on pointers: `main.(*Filter).check` is `Filter.check` too.
    if let Some((package, rest)) = name.split_once(".(*")
        && let Some((receiver, method)) = rest.split_once(')')
    {
        all.push(format!("{package}.{receiver}{method}"));
    }
    if let Some(rest) = name.strip_prefix('<')
        && let Some(close) = closing(rest)
    {
        let (inside, tail) = (&rest[..close], &rest[close + 1..]);
        match inside.split_once(" as ") {
            Some((ty, implemented)) => {
                all.extend([format!("{ty}{tail}"), format!("{implemented}{tail}")]);
            }
            None => all.push(format!("{inside}{tail}")),
        }
        all.extend(all[1..].iter().map(|form| without_generics(form)).collect::<Vec<_>>());
    }
    all
}

/// The `>` that closes a bracket already open.
fn closing(rest: &str) -> Option<usize> {
    let mut depth = 0;
    let mut previous = ' ';
    for (at, c) in rest.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if previous == '-' => {}
            '>' if depth == 0 => return Some(at),
            '>' => depth -= 1,
            _ => {}
        }
        previous = c;
    }
    None
}

fn ends_in_path(name: &str, query: &str) -> bool {
    let (mut name, query) = (path_parts(name), path_parts(query));
    // `std::__2::vector` is `std::vector`: an inline namespace of libc++ by version.
    let inline = |part: &&str| {
        part.strip_prefix("__")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    if !query.iter().any(inline) {
        name.retain(|part| !inline(part));
    }
    !query.is_empty() && name.len() >= query.len() && name[name.len() - query.len()..] == query[..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_three_manglings() {
        for (symbol, name) in [
            ("_ZN10rust_token8is_prime17h0123456789abcdefE", "rust_token::is_prime"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            ("_ZN5proxy6Filter6handleERKNSt3__16vectorIiEE", "proxy::Filter::handle"),
            ("plain_c", "plain_c"),
            ("_ZNSt3__16vectorIiE9push_backB8nn190107Ev", "std::__1::vector<int>::push_back"),
            ("_Znot_mangled", "_Znot_mangled"),
            (
                "(anonymous namespace)::measure((anonymous namespace)::Request&)",
                "(anonymous namespace)::measure",
            ),
            (
                "std::__2::basic_string<char>::size[abi:nn190107]() const",
                "std::__2::basic_string<char>::size",
            ),
            ("Less::operator()(int (*)(int), long)", "Less::operator()"),
            ("main.(*T).get", "main.(*T).get"),
        ] {
            assert_eq!(demangle(symbol), name);
        }
    }

    /// A function whose last template argument is a pair of pairs of pairs …, each the one before twice.
    fn doubled(times: u8) -> String {
        let arguments = (1..=times).map(|last| {
            let last = char::from_digit(u32::from(last), 36).expect("a digit").to_ascii_uppercase();
            format!("S0_IS{last}_S{last}_E")
        });
        format!("_Z1fI1pIiiE{}Evv", arguments.collect::<String>())
    }

    #[test]
    fn a_name_that_doubles_itself_stays_mangled() {
        assert_eq!(demangle(&doubled(1)), "f<p<int, int>, p<p<int, int>, p<int, int> > >");
        assert_eq!(demangle(&doubled(20)), doubled(20));
    }

    #[test]
    fn generic_arguments_are_dropped() {
        for (name, plain) in [
            ("alloc::vec::Vec<u8, Global>::push", "alloc::vec::Vec::push"),
            ("Vec::<u8>::push", "Vec::push"),
            ("<A as B<C>>::d", "<A as B<C>>::d"),
            ("max<int>", "max"),
            ("S::operator<", "S::operator<"),
            ("call<fn(u8) -> u8>", "call"),
        ] {
            assert_eq!(without_generics(name), plain);
        }
    }

    #[test]
    fn names_match_by_the_end_of_their_path() {
        let yes = [
            ("rust_token::is_prime", "is_prime"),
            ("rust_token::is_prime", "rust_token::is_prime"),
            ("<rust_token::Http as proxy_wasm::traits::HttpContext>::on_done", "Http::on_done"),
            ("<rust_token::Http as proxy_wasm::traits::HttpContext>::on_done", "HttpContext::on_done"),
            ("<rust_token::Http as proxy_wasm::traits::HttpContext>::on_done", "on_done"),
            ("alloc::vec::Vec<T,A>::push", "Vec::push"),
            ("max<int>", "max<int>"),
            ("main.isPrime", "isPrime"),
            ("assembly/index/isPrime", "index/isPrime"),
            ("<alloc::vec::Vec<T> as Drop>::drop", "Vec::drop"),
            ("std::__2::vector<int, std::__2::allocator<int> >::push_back", "std::vector::push_back"),
            ("std::__2::vector<int>::push_back", "std::__2::vector::push_back"),
        ];
        for (name, query) in yes {
            assert!(can_be_called(name, query), "{name} can be called {query}");
        }
        let no = [
            ("rust_token::is_prime", "prime"),
            ("rust_token::is_prime", "other::is_prime"),
            ("max<int>", "max<long>"),
            ("rust_token::is_prime::{{closure}}", "is_prime"),
            ("anything", ""),
        ];
        for (name, query) in no {
            assert!(!can_be_called(name, query), "{name} cannot be called {query}");
        }
    }
}
