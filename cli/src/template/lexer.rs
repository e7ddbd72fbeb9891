//! Text and actions into tokens.
//!
//! Spaces inside actions are tokens: `.A.B` is one chain, `.A .B` are two operands.
//! `{{- ` and ` -}}` take the white space of the text beside them.

use super::TemplateError;

/// A token and where it begins in the source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) at: usize,
    pub(crate) kind: TokenKind,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    Text(String),
    Open,
    Close,
    Space,
    /// `.` alone.
    Dot,
    /// `.Name`
    Field(String),
    /// `$` or `$name`
    Variable(String),
    Word(String),
    Int(i64, String),
    Float(f64, String),
    /// The value and how it was written.
    Quoted(String, String),
    Declare,
    Assign,
    Pipe,
    Comma,
    LeftParen,
    RightParen,
    End,
}

/// Splits a template into tokens; the last is `End`.
pub(crate) fn tokens(source: &str) -> Result<Vec<Token>, TemplateError> {
    let mut lexer = Lexer {
        source,
        at: 0,
        trim_next: false,
        tokens: Vec::new(),
    };
    while lexer.at < source.len() {
        lexer.text()?;
    }
    lexer.push(source.len(), TokenKind::End);
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    trim_next: bool,
    tokens: Vec<Token>,
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn push(&mut self, at: usize, kind: TokenKind) {
        self.tokens.push(Token { at, kind });
    }

    fn fail<T>(&self, message: impl std::fmt::Display) -> Result<T, TemplateError> {
        Err(TemplateError::parse(self.source, self.at, message))
    }

    /// Text up to the next action, then that action.
    fn text(&mut self) -> Result<(), TemplateError> {
        let rest = self.rest();
        let open = rest.find("{{");
        let mut text = &rest[..open.unwrap_or(rest.len())];
        if self.trim_next {
            text = text.trim_start_matches(SPACES);
        }
        let trims = open.is_some_and(|open| trims_before(&rest[open + 2..]));
        if trims {
            text = text.trim_end_matches(SPACES);
        }
        if !text.is_empty() {
            self.push(self.at, TokenKind::Text(text.to_owned()));
        }
        let Some(open) = open else {
            self.at = self.source.len();
            return Ok(());
        };
        let begin = self.at + open;
        self.at = begin + 2 + if trims { 2 } else { 0 };
        if self.rest().starts_with("/*") {
            return self.comment();
        }
        self.push(begin, TokenKind::Open);
        self.action()
    }

    fn comment(&mut self) -> Result<(), TemplateError> {
        let Some(end) = self.rest().find("*/") else {
            return self.fail("unclosed comment");
        };
        self.at += end + 2;
        if let Some(rest) = self.closing() {
            self.at = rest;
            return Ok(());
        }
        self.fail("comment ends before closing delimiter")
    }

    /// Where the text goes on, if an action ends here; remembers whether it is trimmed.
    fn closing(&mut self) -> Option<usize> {
        let rest = self.rest();
        let trims = rest.starts_with(SPACES) && rest[1..].starts_with("-}}");
        if trims || rest.starts_with("}}") {
            self.trim_next = trims;
            return Some(self.at + if trims { 4 } else { 2 });
        }
        None
    }

    fn action(&mut self) -> Result<(), TemplateError> {
        let mut depth = 0_usize;
        loop {
            if let Some(rest) = self.closing() {
                if depth > 0 {
                    return self.fail("unclosed left paren");
                }
                self.push(self.at, TokenKind::Close);
                self.at = rest;
                return Ok(());
            }
            let Some(first) = self.rest().chars().next() else {
                return self.fail("unclosed action");
            };
            match first {
                '(' => depth += 1,
                ')' if depth == 0 => return self.fail("unexpected right paren"),
                ')' => depth -= 1,
                _ => {}
            }
            self.token(first)?;
        }
    }

    fn token(&mut self, first: char) -> Result<(), TemplateError> {
        let begin = self.at;
        let second = self.rest()[first.len_utf8()..].chars().next();
        let (kind, length) = match first {
            c if SPACES.contains(&c) => (TokenKind::Space, self.spaces()),
            '(' => (TokenKind::LeftParen, 1),
            ')' => (TokenKind::RightParen, 1),
            '|' => (TokenKind::Pipe, 1),
            ',' => (TokenKind::Comma, 1),
            '=' => (TokenKind::Assign, 1),
            ':' if second == Some('=') => (TokenKind::Declare, 2),
            ':' => return self.fail("expected :="),
            '"' => self.quoted()?,
            '`' => self.raw()?,
            '\'' => self.character()?,
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => self.number()?,
            '.' => match self.word_at(1) {
                "" => (TokenKind::Dot, 1),
                name => (TokenKind::Field(name.to_owned()), 1 + name.len()),
            },
            '$' => {
                let name = self.word_at(1);
                (TokenKind::Variable(format!("${name}")), 1 + name.len())
            }
            c if c.is_ascii_digit() => self.number()?,
            '+' | '-' if second.is_some_and(|c| c.is_ascii_digit() || c == '.') => self.number()?,
            c if is_word(c) => {
                let word = self.word_at(0);
                (TokenKind::Word(word.to_owned()), word.len())
            }
            c => {
                return self.fail(format!(
                    "unrecognized character in action: U+{:04X} '{c}'",
                    c as u32
                ));
            }
        };
        self.push(begin, kind);
        self.at = begin + length;
        Ok(())
    }

    /// Length of the white space here, leaving the one before a trimming close.
    fn spaces(&self) -> usize {
        let rest = self.rest();
        let length = rest.len() - rest.trim_start_matches(SPACES).len();
        if length > 1 && rest[length..].starts_with("-}}") {
            length - 1
        } else {
            length
        }
    }

    fn word_at(&self, offset: usize) -> &'s str {
        let rest = &self.rest()[offset..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        &rest[..end]
    }

    fn quoted(&self) -> Result<(TokenKind, usize), TemplateError> {
        let rest = self.rest();
        let mut escaped = false;
        for (index, c) in rest.char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let written = &rest[..=index];
                    let Some(value) = unquote(&written[1..index]) else {
                        return self.fail(format!("invalid syntax in string {written}"));
                    };
                    return Ok((TokenKind::Quoted(value, written.to_owned()), written.len()));
                }
                _ => {}
            }
        }
        self.fail("unterminated quoted string")
    }

    fn raw(&self) -> Result<(TokenKind, usize), TemplateError> {
        let rest = self.rest();
        let Some(end) = rest[1..].find('`') else {
            return self.fail("unterminated raw quoted string");
        };
        let written = &rest[..end + 2];
        Ok((
            TokenKind::Quoted(rest[1..=end].to_owned(), written.to_owned()),
            written.len(),
        ))
    }

    fn character(&self) -> Result<(TokenKind, usize), TemplateError> {
        let rest = self.rest();
        let inner_end = rest[1..].find('\'').map(|end| end + 1).filter(|end| *end > 1);
        // The quote of '\'' is not the end of it.
        let inner_end = if rest.starts_with("'\\''") {
            Some(3)
        } else {
            inner_end
        };
        let value = inner_end
            .and_then(|end| unquote(&rest[1..end]))
            .filter(|value| value.chars().count() == 1);
        match (inner_end, value.and_then(|value| value.chars().next())) {
            (Some(end), Some(c)) => Ok((
                TokenKind::Int(i64::from(u32::from(c)), rest[..=end].to_owned()),
                end + 1,
            )),
            _ => self.fail("unterminated character constant"),
        }
    }

    fn number(&self) -> Result<(TokenKind, usize), TemplateError> {
        let rest = self.rest();
        let signed = usize::from(rest.starts_with(['+', '-']));
        let hexadecimal = rest[signed..].to_ascii_lowercase().starts_with("0x");
        let mut length = signed;
        for (index, c) in rest.char_indices().skip(signed) {
            let exponent_sign = matches!(c, '+' | '-')
                && !hexadecimal
                && rest[..index].ends_with(['e', 'E'])
                && index > signed;
            if !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || exponent_sign) {
                break;
            }
            length = index + 1;
        }
        let written = &rest[..length];
        match parse_number(written) {
            Some(Number::Int(value)) => Ok((TokenKind::Int(value, written.to_owned()), length)),
            Some(Number::Float(value)) => Ok((TokenKind::Float(value, written.to_owned()), length)),
            None => self.fail(format!("bad number syntax: {written:?}")),
        }
    }
}

/// `- ` right after the opening braces.
fn trims_before(rest: &str) -> bool {
    rest.starts_with('-') && rest[1..].starts_with(SPACES)
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

enum Number {
    Int(i64),
    Float(f64),
}

fn parse_number(written: &str) -> Option<Number> {
    let digits: String = written.chars().filter(|c| *c != '_').collect();
    let (sign, unsigned) = match digits.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let lower = unsigned.to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = lower.strip_prefix(prefix) {
            return i64::from_str_radix(rest, radix)
                .ok()
                .map(|value| Number::Int(sign * value));
        }
    }
    // A leading zero means octal, as in Go.
    if lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|b| b.is_ascii_digit()) {
        return i64::from_str_radix(&lower[1..], 8)
            .ok()
            .map(|value| Number::Int(sign * value));
    }
    if let Ok(value) = digits.strip_prefix('+').unwrap_or(&digits).parse::<i64>() {
        return Some(Number::Int(value));
    }
    let decimal = lower
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'));
    if !decimal {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "the sign is one or minus one")]
    lower
        .parse::<f64>()
        .ok()
        .map(|value| Number::Float(sign as f64 * value))
}

/// Resolves the escapes of a Go string or character constant.
pub(crate) fn unquote(inner: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = chars.next()?;
        let simple = match escape {
            'a' => Some(7),
            'b' => Some(8),
            'f' => Some(12),
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'v' => Some(11),
            '\\' => Some(b'\\'),
            '"' => Some(b'"'),
            '\'' => Some(b'\''),
            _ => None,
        };
        if let Some(byte) = simple {
            bytes.push(byte);
            continue;
        }
        let (radix, count, first) = match escape {
            'x' => (16, 2, None),
            'u' => (16, 4, None),
            'U' => (16, 8, None),
            '0'..='7' => (8, 2, Some(escape)),
            _ => return None,
        };
        let mut number = String::from_iter(first);
        for _ in 0..count {
            number.push(chars.next()?);
        }
        let value = u32::from_str_radix(&number, radix).ok()?;
        if matches!(escape, 'u' | 'U') {
            bytes.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            bytes.push(u8::try_from(value).ok()?);
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
