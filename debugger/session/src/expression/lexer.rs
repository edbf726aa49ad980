//! Text of an expression into tokens. Owns the characters; knows no grammar and no value.

use crate::error::EvalError;

/// A token and where it begins in the text, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) position: usize,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A name, `::` included when it is between two parts: `a::b`.
    Name(String),
    /// `$req`, without the dollar.
    Special(String),
    Integer(u64),
    Float(f64),
    Text(String),
    Char(char),
    /// One of [`OPERATORS`].
    Operator(&'static str),
    End,
}

/// Longest first, so that the first that fits is the right one.
const OPERATORS: [&str; 26] = [
    "<<", ">>", "->", "==", "!=", "<=", ">=", "&&", "||", ".", "(", ")", "[", "]", "*", "&", "-", "+", "!",
    "~", "/", "%", "<", ">", "|", "^",
];

/// The tokens of `text`, [`Kind::End`] last.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, EvalError> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    while lexer.step()? {}
    lexer.tokens.push(Token { kind: Kind::End, position: text.len() });
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    /// Takes one token; false at the end.
    fn step(&mut self) -> Result<bool, EvalError> {
        self.at += self.rest().len() - self.rest().trim_start().len();
        let position = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok(false) };
        let kind = match first {
            '0'..='9' => self.number()?,
            '"' => self.quoted('"').map(Kind::Text)?,
            '\'' => self.char()?,
            '$' => {
                self.at += 1;
                Kind::Special(self.word())
            }
            first if is_word(first) => Kind::Name(self.path()),
            first => self.operator(first)?,
        };
        self.tokens.push(Token { kind, position });
        Ok(true)
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn operator(&mut self, first: char) -> Result<Kind, EvalError> {
        let found = OPERATORS.iter().find(|operator| self.rest().starts_with(**operator));
        let operator = found.ok_or_else(|| self.error(self.at, format!("unexpected `{first}`")))?;
        self.at += operator.len();
        Ok(Kind::Operator(operator))
    }

    fn word(&mut self) -> String {
        let end = self.rest().find(|c| !is_word(c)).unwrap_or(self.rest().len());
        let word = self.rest()[..end].to_owned();
        self.at += end;
        word
    }

    /// A name with its path; a raw identifier (`r#type`) is its name.
    fn path(&mut self) -> String {
        let mut path = self.word();
        if path == "r" && self.rest().starts_with('#') {
            self.at += 1;
            path = self.word();
        }
        while let Some(next) = self.rest().strip_prefix("::").and_then(|rest| rest.chars().next()) {
            if !is_word(next) {
                break;
            }
            self.at += 2;
            path.push_str("::");
            path.push_str(&self.word());
        }
        path
    }

    /// After a dot only digits: `pair.0.1` are two fields.
    fn number(&mut self) -> Result<Kind, EvalError> {
        let position = self.at;
        let is_field = matches!(self.tokens.last(), Some(Token { kind: Kind::Operator("." | "->"), .. }));
        let digits = self.rest().find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest().len());
        let behind = &self.rest()[digits..];
        if !is_field && behind.starts_with('.') && behind[1..].starts_with(|c: char| c.is_ascii_digit()) {
            let fraction = behind[1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len() - 1);
            let text = self.rest()[..digits + 1 + fraction].to_owned();
            self.at += text.len();
            return text.parse().map(Kind::Float).map_err(|_| self.error(position, "not a number"));
        }
        let word = self.word().replace('_', "");
        let parsed = match word.get(..2) {
            Some("0x" | "0X") => u64::from_str_radix(&word[2..], 16),
            Some("0b") => u64::from_str_radix(&word[2..], 2),
            Some("0o") => u64::from_str_radix(&word[2..], 8),
            _ => word.parse(),
        };
        parsed
            .map(Kind::Integer)
            .map_err(|_| self.error(position, format!("`{word}` is not a number of 64 bits")))
    }

    fn char(&mut self) -> Result<Kind, EvalError> {
        let position = self.at;
        let text = self.quoted('\'')?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) => Ok(Kind::Char(only)),
            _ => Err(self.error(position, "a character literal holds one character")),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, EvalError> {
        let position = self.at;
        let mut out = String::new();
        let mut chars = self.text[self.at + 1..].char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at += 1 + offset + 1;
                    return Ok(out);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some('0') => out.push('\0'),
                    Some(other) => out.push(other),
                    None => break,
                },
                c => out.push(c),
            }
        }
        Err(self.error(position, format!("the closing {quote} is missing")))
    }

    fn error(&self, position: usize, message: impl Into<String>) -> EvalError {
        EvalError { position, message: message.into() }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
