//! When a breakpoint stops, beside where: a condition, a number of hits, a message instead of a stop.
//!
//! Texts are parsed when the breakpoint is set, so that a mistake is told at once. What is decided here
//! needs nothing but the stop and the number of hits so far: it can move to where the stop is.

use crate::error::{Error, EvalError};
use crate::expression::{self, Expression, MAX_NODES};
use crate::stop::Stop;
use crate::value::Format;

/// The conditions of one breakpoint, parsed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Condition {
    when: Option<Expression>,
    hits: Option<Hits>,
    log: Option<Vec<Part>>,
}

/// What a hit of a breakpoint comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Stop; perhaps there is something to say about the condition.
    Stop(Option<String>),
    /// Go on, having said this.
    Log(String),
    /// Go on; it was a hit.
    Skip,
    /// Go on; the condition is false: no hit.
    Pass,
}

/// Which hits stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hits {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    LessEqual(u64),
    Greater(u64),
    GreaterEqual(u64),
    Every(u64),
}

/// A piece of a log message.
#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Value(Expression),
}

impl Condition {
    /// Parses the three texts; empty ones are none.
    pub(crate) fn parse(when: Option<&str>, hits: Option<&str>, log: Option<&str>) -> Result<Self, Error> {
        let given =
            |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let invalid = |what: &'static str| move |source: EvalError| Error::Expression { what, source };
        let when =
            given(when).map(|text| expression::parse(&text)).transpose().map_err(invalid("the condition"))?;
        let hits = given(hits).map(|text| {
            expression::check_length(&text).map_err(invalid("the hit condition"))?;
            Hits::parse(&text)
        });
        let hits = hits.transpose()?;
        let log = given(log).map(|text| message(&text)).transpose().map_err(invalid("the log message"))?;
        Ok(Self { when, hits, log })
    }

    /// Decides a hit that comes after `hits` earlier ones.
    pub(crate) fn judge(&self, stop: &Stop, hits: u64) -> Verdict {
        let held = match &self.when {
            None => Ok(true),
            Some(when) => stop.evaluate_tree(0, when).and_then(|value| {
                expression::truth(&value).map_err(|message| EvalError { position: 0, message })
            }),
        };
        match held {
            // Whoever set it must see that it does not work; passing for ever would look like no hit.
            Err(why) => return Verdict::Stop(Some(format!("the condition cannot be evaluated: {why}"))),
            Ok(false) => return Verdict::Pass,
            Ok(true) => {}
        }
        if self.hits.is_some_and(|wanted| !wanted.holds(hits + 1)) {
            return Verdict::Skip;
        }
        match &self.log {
            Some(parts) => Verdict::Log(fill(parts, stop)),
            None => Verdict::Stop(None),
        }
    }
}

impl Hits {
    /// `5`, `== 5`, `>= 5`, `% 5`, …
    fn parse(text: &str) -> Result<Self, Error> {
        let split = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
        let (operator, number) = text.split_at(split);
        let number = number.trim().parse::<u64>().ok().filter(|number| *number <= u64::from(u32::MAX));
        let wrong = || {
            Error::Invalid(format!(
                "{text:?} is no hit condition: give a number, or one of == != < <= > >= % and a number, as in >= 3"
            ))
        };
        let number = number.ok_or_else(wrong)?;
        Ok(match operator.trim() {
            "" | "=" | "==" => Self::Equal(number),
            "!=" => Self::NotEqual(number),
            "<" => Self::Less(number),
            "<=" => Self::LessEqual(number),
            ">" => Self::Greater(number),
            ">=" => Self::GreaterEqual(number),
            "%" if number > 0 => Self::Every(number),
            _ => return Err(wrong()),
        })
    }

    fn holds(self, hit: u64) -> bool {
        match self {
            Self::Equal(number) => hit == number,
            Self::NotEqual(number) => hit != number,
            Self::Less(number) => hit < number,
            Self::LessEqual(number) => hit <= number,
            Self::Greater(number) => hit > number,
            Self::GreaterEqual(number) => hit >= number,
            Self::Every(number) => hit.is_multiple_of(number),
        }
    }
}

/// `token is {token}, {{` into pieces; a brace doubled is a brace. All its expressions together are as long
/// as one may be: they are evaluated at every hit.
fn message(text: &str) -> Result<Vec<Part>, EvalError> {
    expression::check_length(text)?;
    let mut left = MAX_NODES;
    let mut parts = vec![];
    let mut plain = String::new();
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        let doubled = rest.peek().is_some_and(|(_, next)| *next == c);
        match c {
            '{' | '}' if doubled => {
                rest.next();
                plain.push(c);
            }
            '{' => {
                let length = text[at + 1..].find('}').ok_or_else(|| EvalError {
                    position: at,
                    message: "the closing } is missing; {{ is a brace".into(),
                })?;
                let inner = &text[at + 1..at + 1 + length];
                let tree = expression::parse_within(inner, &mut left)
                    .map_err(|error| EvalError { position: at + 1 + error.position, ..error })?;
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Value(tree));
                while rest.next_if(|(next, _)| *next <= at + 1 + length).is_some() {}
            }
            c => plain.push(c),
        }
    }
    parts.push(Part::Text(plain));
    Ok(parts)
}

fn fill(parts: &[Part], stop: &Stop) -> String {
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Value(tree) => match stop.evaluate_tree(0, tree) {
                Ok(value) => value.display(Format::Natural),
                Err(error) => format!("<{error}>"),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(text: &str) -> Vec<u64> {
        let parsed = Hits::parse(text).expect(text);
        (1..=6).filter(|hit| parsed.holds(*hit)).collect()
    }

    #[test]
    fn hit_conditions() {
        assert_eq!(hits("3"), [3]);
        assert_eq!(hits("== 3"), [3]);
        assert_eq!(hits(">=5"), [5, 6]);
        assert_eq!(hits("< 2"), [1]);
        assert_eq!(hits("% 2"), [2, 4, 6]);
        for wrong in ["x", "", "3x", "~3", "% 0", ">= -1", "99999999999"] {
            let error = Hits::parse(wrong).expect_err(wrong).to_string();
            assert!(error.contains("is no hit condition"), "{wrong}: {error}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let error = Condition::parse(Some("a ="), None, None).expect_err("no operator").to_string();
        assert!(error.starts_with("the condition: ") && error.contains("column 3"), "{error}");
        let error = Condition::parse(None, None, Some("token {tok en}")).expect_err("two names").to_string();
        assert!(error.starts_with("the log message: ") && error.contains("column 12"), "{error}");
        let error = Condition::parse(None, None, Some("{token")).expect_err("open").to_string();
        assert!(error.contains("closing }"), "{error}");
        assert!(Condition::parse(Some(" "), Some(""), None).expect("nothing").when.is_none());
    }

    #[test]
    fn texts_that_nobody_writes_are_refused_each_with_its_name() {
        let (sum, digits) = ("a+".repeat(100_000) + "a", "1".repeat(100_000));
        let logged = "{a}".repeat(MAX_NODES as usize + 1);
        for (when, hits, log, said) in [
            (Some(sum.as_str()), None, None, "the condition: the text is too long"),
            (None, Some(digits.as_str()), None, "the hit condition: the text is too long"),
            (None, None, Some(sum.as_str()), "the log message: the text is too long"),
            (None, None, Some(logged.as_str()), "the log message: more than 500 names"),
        ] {
            let error = Condition::parse(when, hits, log).expect_err(said).to_string();
            assert!(error.starts_with(said) && error.len() < 200, "{error}");
        }
        assert!(Condition::parse(None, None, Some(&"{a}".repeat(MAX_NODES as usize))).is_ok());
    }

    #[test]
    fn braces_of_a_message() {
        let shown = |text| {
            let show = |part: &Part| match part {
                Part::Text(text) => text.clone(),
                Part::Value(_) => "<value>".to_owned(),
            };
            message(text).expect(text).iter().map(show).collect::<String>()
        };
        assert_eq!(shown("a {b} c {d.e[1]}"), "a <value> c <value>");
        assert_eq!(shown("{{not}} {it}"), "{not} <value>");
        assert_eq!(shown("plain"), "plain");
    }
}
