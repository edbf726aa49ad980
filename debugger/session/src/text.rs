//! The text forms of rules and durations, the same in every front end. Parses, and says them again for
//! people.

use std::time::Duration;

use wasmdbg_control::rules::Rule;

/// A text that is no rule or no duration; says what is right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TextError(String);

type Result<T> = std::result::Result<T, TextError>;

macro_rules! bail {
    ($($message:tt)*) => { return Err(TextError(format!($($message)*))) };
}

/// Parses `header:NAME=VALUE`, `path:/PREFIX`, `client:ADDRESS`, `percent:N` or `next:N`.
///
/// # Errors
/// Anything else; the message gives the forms.
pub fn parse_rule(text: &str) -> Result<Rule> {
    const FORMS: &str = "header:NAME=VALUE, path:/PREFIX, client:ADDRESS, percent:N or next:N";
    let Some((kind, rest)) = text.split_once(':') else { bail!("{text:?} is no rule: give {FORMS}") };
    Ok(match kind {
        "header" => match rest.split_once('=') {
            Some((name, value)) if is_token(name) => {
                Rule::Header { name: name.to_owned(), value: value.to_owned() }
            }
            _ => bail!("{text:?} names no header: give header:NAME=VALUE"),
        },
        "path" if rest.starts_with('/') => Rule::Path { prefix: rest.to_owned() },
        "path" => bail!("{text:?}: a path begins with /, as in path:/api/"),
        "client" => {
            let Ok(address) = rest.parse() else { bail!("{text:?}: {rest:?} is no IPv4 or IPv6 address") };
            Rule::Client { address }
        }
        "percent" => match rest.trim_end_matches('%').parse() {
            Ok(percent) if percent > 0.0 && percent <= 100.0 => Rule::Percent { percent },
            _ => bail!("{text:?}: give a number above 0 and at most 100, as in percent:0.5"),
        },
        "next" => match rest.parse() {
            Ok(count) if count > 0 => Rule::Next { count },
            _ => bail!("{text:?}: give a whole number from 1, as in next:10"),
        },
        _ => bail!("{kind:?} is no kind of rule: give {FORMS}"),
    })
}

/// `token` of RFC 9110: what a header field may be named.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The rule in words.
pub fn describe(rule: &Rule) -> String {
    match rule {
        Rule::Header { name, value } => format!("header {name}: {value}"),
        Rule::Path { prefix } => format!("path begins with {prefix}"),
        Rule::Client { address } => format!("client {address}"),
        Rule::Percent { percent } => format!("{percent} % of them, by chance"),
        Rule::Next { count } => format!("only the next {count}"),
    }
}

/// Parses a number with `ms`, `s`, `m` or `h`: `500ms`, `1.5h`.
///
/// # Errors
/// No number, no unit, zero or more than a day.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => bail!("{text:?} is no duration: give a number with ms, s, m or h, as in 90s"),
    };
    let Ok(number) = number.parse::<f64>() else {
        bail!("{text:?} is no duration: {number:?} is no number");
    };
    // A day is far over every limit of the plugin, and no arithmetic overflows.
    let duration =
        Duration::try_from_secs_f64(number * seconds).ok().filter(|&d| d <= Duration::from_secs(86_400));
    match duration {
        Some(duration) if !duration.is_zero() => Ok(duration),
        Some(_) => bail!("{text:?}: a duration must be above 0"),
        None => bail!("{text:?}: a duration can be at most 24h"),
    }
}

/// The duration as one would type it: `5m`, `1m30s`, `1.5s`, `250ms`.
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => format!("{}ms", duration.as_millis()),
        (0, 0, _) => format!("{}s", duration.as_millis() as f64 / 1000.0),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, rest) => format!("{minutes}m{rest}s"),
        (hours, 0, 0) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h{minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_parsed_and_said_again() {
        let said = |text| describe(&parse_rule(text).unwrap());
        assert_eq!(said("header:X-Debug=a=b"), "header X-Debug: a=b");
        assert_eq!(said("path:/api/"), "path begins with /api/");
        assert_eq!(said("client:2001:db8::1"), "client 2001:db8::1");
        assert_eq!(said("percent:0.5%"), "0.5 % of them, by chance");
        assert_eq!(said("next:3"), "only the next 3");
    }

    #[test]
    fn wrong_rules_say_what_is_right() {
        let error = |text: &str| parse_rule(text).unwrap_err().to_string();
        assert!(error("host").contains("give header:NAME=VALUE"));
        assert!(error("host:x").contains("\"host\" is no kind of rule"));
        assert!(error("header:X-Debug").contains("names no header"));
        assert!(error("header:X Debug=1").contains("names no header"));
        assert!(error("path:api").contains("begins with /"));
        assert!(error("client:localhost").contains("no IPv4 or IPv6 address"));
        for percent in ["percent:0", "percent:100.1", "percent:NaN", "percent:x"] {
            assert!(error(percent).contains("above 0 and at most 100"), "{percent}");
        }
        assert!(error("next:0").contains("from 1"));
    }

    #[test]
    fn durations_have_a_unit() {
        let ms = |text| parse_duration(text).unwrap().as_millis();
        assert_eq!((ms("250ms"), ms("1.5s"), ms("2m"), ms("1h")), (250, 1500, 120_000, 3_600_000));
        for text in ["", "5", "5x", "-1s", "s", "1e3s", "1.2.3s", "0s", "25h", "99999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        let shown = |text| show_duration(parse_duration(text).unwrap());
        assert_eq!(
            [shown("90s"), shown("5m"), shown("1.5s"), shown("20ms"), shown("90m")],
            ["1m30s", "5m", "1.5s", "20ms", "1h30m"]
        );
    }
}
