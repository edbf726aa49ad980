//! Tokens of an expression into a tree, by precedence climbing. Owns the grammar; reads no value.
//!
//! ```text
//! binary  := unary (OPERATOR unary)*          by the table in `precedence`
//! unary   := ("*" | "&" | "-" | "!" | "~") unary | postfix
//! postfix := primary ("." FIELD | "->" FIELD | "[" binary "]")*
//! primary := NAME | SPECIAL | literal | "(" binary ")"
//! ```

use super::lexer::{Kind, Token, tokens};
use crate::error::EvalError;

/// A node and where its own token stands in the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expression {
    pub(crate) node: Node,
    pub(crate) position: usize,
}

/// The forms of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// A variable, perhaps with a path: `requests`, `a::LIMIT`.
    Name(String),
    /// `$name`: not of the program but of the transaction.
    Special(String),
    Integer(u64),
    Float(f64),
    Text(String),
    Char(char),
    Bool(bool),
    /// `base.name`; goes through pointers too, as gdb does.
    Field {
        base: Box<Expression>,
        name: String,
    },
    Index {
        base: Box<Expression>,
        index: Box<Expression>,
    },
    Unary {
        operator: Unary,
        operand: Box<Expression>,
    },
    Binary {
        operator: Binary,
        left: Box<Expression>,
        right: Box<Expression>,
    },
}

/// Operators in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unary {
    Dereference,
    AddressOf,
    Negate,
    Not,
    Complement,
}

/// Operators between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    BitOr,
    BitXor,
    BitAnd,
    ShiftLeft,
    ShiftRight,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// How tightly an operator binds. Bit operators bind tighter than comparisons, as in Rust: what C does
/// with `a & b == c` is what nobody means.
fn precedence(operator: &str) -> Option<(u8, Binary)> {
    Some(match operator {
        "||" => (1, Binary::Or),
        "&&" => (2, Binary::And),
        "==" => (3, Binary::Equal),
        "!=" => (3, Binary::NotEqual),
        "<" => (3, Binary::Less),
        "<=" => (3, Binary::LessEqual),
        ">" => (3, Binary::Greater),
        ">=" => (3, Binary::GreaterEqual),
        "|" => (4, Binary::BitOr),
        "^" => (5, Binary::BitXor),
        "&" => (6, Binary::BitAnd),
        "<<" => (7, Binary::ShiftLeft),
        ">>" => (7, Binary::ShiftRight),
        "+" => (8, Binary::Add),
        "-" => (8, Binary::Subtract),
        "*" => (9, Binary::Multiply),
        "/" => (9, Binary::Divide),
        "%" => (9, Binary::Remainder),
        _ => return None,
    })
}

/// The longest text in bytes.
const MAX_TEXT: usize = 8192;

/// The most nodes of a tree. It can be as deep as it has nodes (`a+a+a`), and evaluating and dropping it
/// descends as deep; each name in it is a search in the debug info, at every hit of a condition.
pub(crate) const MAX_NODES: u32 = 500;

/// Brackets and operators in front, one in the other; keeps the parser's own stack small.
const MAX_DEPTH: u32 = 100;

/// The tree of `text`.
pub(crate) fn parse(text: &str) -> Result<Expression, EvalError> {
    parse_within(text, &mut { MAX_NODES })
}

/// The tree of `text`, with at most `left` nodes; takes those that it has away from it.
pub(crate) fn parse_within(text: &str, left: &mut u32) -> Result<Expression, EvalError> {
    check_length(text)?;
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0, left };
    let expression = parser.binary(0)?;
    match parser.peek() {
        Kind::End => Ok(expression),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

/// Refuses a text that no person writes.
pub(crate) fn check_length(text: &str) -> Result<(), EvalError> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    let message = format!("the text is too long: {} bytes, {MAX_TEXT} are the most", text.len());
    Err(EvalError { position: MAX_TEXT, message })
}

struct Parser<'a> {
    tokens: Vec<Token>,
    next: usize,
    depth: u32,
    /// How many nodes there may still be.
    left: &'a mut u32,
}

impl Parser<'_> {
    fn peek(&self) -> &Kind {
        &self.tokens[self.next].kind
    }

    fn position(&self) -> usize {
        self.tokens[self.next].position
    }

    /// Takes the present token; the end is never passed.
    fn take(&mut self) -> Token {
        let token = self.tokens[self.next].clone();
        if token.kind != Kind::End {
            self.next += 1;
        }
        token
    }

    fn takes(&mut self, operator: &str) -> bool {
        let there = matches!(self.peek(), Kind::Operator(found) if *found == operator);
        if there {
            self.take();
        }
        there
    }

    fn binary(&mut self, least: u8) -> Result<Expression, EvalError> {
        let mut left = self.unary()?;
        while let Kind::Operator(text) = self.peek() {
            let Some((level, operator)) = precedence(text).filter(|(level, _)| *level > least) else { break };
            let position = self.take().position;
            let right = Box::new(self.binary(level)?);
            left = self.node(Node::Binary { operator, left: Box::new(left), right }, position)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, EvalError> {
        let operator = match self.peek() {
            Kind::Operator("*") => Unary::Dereference,
            Kind::Operator("&") => Unary::AddressOf,
            Kind::Operator("-") => Unary::Negate,
            Kind::Operator("!") => Unary::Not,
            Kind::Operator("~") => Unary::Complement,
            _ => return self.postfix(),
        };
        let position = self.take().position;
        self.descend(position)?;
        let operand = Box::new(self.unary()?);
        self.depth -= 1;
        self.node(Node::Unary { operator, operand }, position)
    }

    fn postfix(&mut self) -> Result<Expression, EvalError> {
        let mut base = self.primary()?;
        loop {
            let position = self.position();
            let node = if self.takes(".") || self.takes("->") {
                Node::Field { base: Box::new(base), name: self.field_name()? }
            } else if self.takes("[") {
                self.descend(position)?;
                let index = Box::new(self.binary(0)?);
                self.depth -= 1;
                if !self.takes("]") {
                    return Err(self.unexpected("`]`"));
                }
                Node::Index { base: Box::new(base), index }
            } else {
                return Ok(base);
            };
            base = self.node(node, position)?;
        }
    }

    fn field_name(&mut self) -> Result<String, EvalError> {
        match self.peek().clone() {
            Kind::Name(name) => {
                self.take();
                Ok(name)
            }
            Kind::Integer(number) => {
                self.take();
                Ok(number.to_string())
            }
            _ => Err(self.unexpected("the name of a field")),
        }
    }

    fn primary(&mut self) -> Result<Expression, EvalError> {
        let position = self.position();
        let node = match self.peek().clone() {
            Kind::Name(name) if name == "true" || name == "false" => Node::Bool(name == "true"),
            Kind::Name(name) => Node::Name(name),
            Kind::Special(name) => Node::Special(name),
            Kind::Integer(number) => Node::Integer(number),
            Kind::Float(number) => Node::Float(number),
            Kind::Text(text) => Node::Text(text),
            Kind::Char(c) => Node::Char(c),
            Kind::Operator("(") => {
                self.take();
                self.descend(position)?;
                let inner = self.binary(0)?;
                self.depth -= 1;
                if !self.takes(")") {
                    return Err(self.unexpected("`)`"));
                }
                return Ok(inner);
            }
            _ => return Err(self.unexpected("a name or a value")),
        };
        self.take();
        self.node(node, position)
    }

    fn node(&mut self, node: Node, position: usize) -> Result<Expression, EvalError> {
        *self.left = self.left.checked_sub(1).ok_or_else(|| EvalError {
            position,
            message: format!("more than {MAX_NODES} names, values and operators: make it shorter"),
        })?;
        Ok(Expression { node, position })
    }

    fn descend(&mut self, position: usize) -> Result<(), EvalError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(EvalError { position, message: "the expression is nested too deeply".into() });
        }
        Ok(())
    }

    fn unexpected(&self, wanted: &str) -> EvalError {
        let found = match self.peek() {
            Kind::End => "the expression ends".to_owned(),
            Kind::Name(name) => format!("`{name}` stands"),
            Kind::Special(name) => format!("`${name}` stands"),
            Kind::Operator(operator) => format!("`{operator}` stands"),
            Kind::Integer(number) => format!("`{number}` stands"),
            Kind::Float(_) | Kind::Text(_) | Kind::Char(_) => "a literal stands".to_owned(),
        };
        EvalError { position: self.position(), message: format!("{found} where {wanted} is expected") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as one line, fully parenthesised.
    fn show(expression: &Expression) -> String {
        match &expression.node {
            Node::Name(name) => name.clone(),
            Node::Special(name) => format!("${name}"),
            Node::Integer(number) => number.to_string(),
            Node::Float(number) => format!("{number:?}"),
            Node::Text(text) => format!("{text:?}"),
            Node::Char(c) => format!("{c:?}"),
            Node::Bool(value) => value.to_string(),
            Node::Field { base, name } => format!("{}.{name}", show(base)),
            Node::Index { base, index } => format!("{}[{}]", show(base), show(index)),
            Node::Unary { operator, operand } => format!("{operator:?}({})", show(operand)),
            Node::Binary { operator, left, right } => {
                format!("({} {operator:?} {})", show(left), show(right))
            }
        }
    }

    #[test]
    fn trees() {
        for (text, tree) in [
            ("a.b[1]->c", "a.b[1].c"),
            ("*p.q", "Dereference(p.q)"),
            ("(*p).q", "Dereference(p).q"),
            ("pair.0.1", "pair.0.1"),
            ("0.5 + 1", "(0.5 Add 1)"),
            ("a::b::LIMIT & 0xff == 3", "((a::b::LIMIT BitAnd 255) Equal 3)"),
            ("a - b - c * -d", "((a Subtract b) Subtract (c Multiply Negate(d)))"),
            ("x == \"a\\\"b\" && !done || y<=2", "(((x Equal \"a\\\"b\") And Not(done)) Or (y LessEqual 2))"),
            ("$req[\"token\"]", "$req[\"token\"]"),
            ("r#type.x", "type.x"),
            ("&v[i+1]", "AddressOf(v[(i Add 1)])"),
        ] {
            assert_eq!(show(&parse(text).expect(text)), tree, "{text}");
        }
    }

    #[test]
    fn errors_carry_the_position() {
        for (text, position, part) in [
            ("", 0, "the expression ends"),
            ("a.", 2, "the name of a field"),
            ("a[1", 3, "`]`"),
            ("a b", 2, "`b` stands"),
            ("a + ", 4, "a name or a value"),
            ("a # b", 2, "unexpected `#`"),
            ("\"open", 0, "closing"),
            ("12x", 0, "not a number"),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.position, position, "{text}: {error}");
            assert!(error.message.contains(part), "{text}: {error}");
        }
        assert!(parse(&"(".repeat(5000)).expect_err("deep").message.contains("deeply"));
        assert!(parse(&"*".repeat(5000)).expect_err("deep").message.contains("deeply"));
    }

    /// What is too much is refused before the tree is there: not only evaluating it, dropping it descends.
    #[test]
    fn a_tree_has_no_more_nodes_than_its_depth_may_be() {
        let (first, more) = ("a".to_owned(), MAX_NODES as usize / 2);
        let forms = ["+a", "&&a", ".a.a", "[0]"];
        for form in forms {
            let longest = first.clone() + &form.repeat(more - 1);
            parse(&longest).expect(form);
            let error = parse(&(longest + form + form)).expect_err(form);
            assert!(error.message.contains("more than 500 names"), "{form}: {error}");
        }
        let error = parse(&"a+".repeat(100_000)).expect_err("a long text");
        assert!(error.message.contains("200000 bytes, 8192 are the most"), "{error}");
        let mut left = 5;
        parse_within("a+b", &mut left).expect("three nodes");
        assert_eq!(left, 2);
        assert!(parse_within("a+b", &mut left).is_err());
    }
}
