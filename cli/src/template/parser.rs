//! Tokens into a tree, by recursive descent.
//!
//! Variables are checked here, as in Go: using one that was never declared is an error before anything is printed.

use super::TemplateError;
use super::ast::{Branch, Command, Node, Operand, OperandKind, Pipe};
use super::functions;
use super::lexer::{Token, TokenKind};

/// Parses the tokens of `source`.
pub(crate) fn parse(source: &str, tokens: Vec<Token>) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser {
        source,
        tokens,
        next: 0,
        variables: vec!["$".to_owned()],
        loops: 0,
        depth: 0,
    };
    let (nodes, ending) = parser.list()?;
    match ending {
        Ending::End(at) => Err(TemplateError::parse(source, at, "unexpected {{end}}")),
        Ending::Else(at) => Err(TemplateError::parse(source, at, "unexpected {{else}}")),
        Ending::Source => Ok(nodes),
    }
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Token>,
    next: usize,
    variables: Vec<String>,
    /// Ranges we are inside of.
    loops: usize,
    /// Nesting so far; a template from the command line must not overflow the stack.
    depth: usize,
}

/// What ended a list of nodes. After `Else` the parser stands behind the word `else`.
enum Ending {
    Source,
    End(usize),
    Else(usize),
}

type Result<T, E = TemplateError> = std::result::Result<T, E>;

const DEEPEST: usize = 200;

impl Parser<'_> {
    fn peek(&self) -> &Token {
        // The last token is `End` and is never passed.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek().kind == TokenKind::Space {
            self.next += 1;
        }
    }

    fn fail<T>(&self, at: usize, message: impl std::fmt::Display) -> Result<T> {
        Err(TemplateError::parse(self.source, at, message))
    }

    fn unexpected<T>(&self, token: &Token, place: &str) -> Result<T> {
        let what = match &token.kind {
            TokenKind::End => "EOF".to_owned(),
            TokenKind::Close => "\"}}\"".to_owned(),
            TokenKind::Word(word) if KEYWORDS.contains(&word.as_str()) => format!("<{word}>"),
            _ => {
                let end = self.tokens.iter().map(|t| t.at).find(|at| *at > token.at);
                format!("{:?}", &self.source[token.at..end.unwrap_or(self.source.len())])
            }
        };
        self.fail(token.at, format!("unexpected {what} in {place}"))
    }

    /// Nodes up to `end`, `else` or the end of the source.
    fn list(&mut self) -> Result<(Vec<Node>, Ending)> {
        let mut nodes = Vec::new();
        loop {
            let token = self.take();
            match token.kind {
                TokenKind::End => return Ok((nodes, Ending::Source)),
                TokenKind::Text(text) => nodes.push(Node::Text(text)),
                _ => {
                    self.skip_space();
                    let first = self.peek().clone();
                    match self.action(&first)? {
                        Action::Node(node) => nodes.push(node),
                        Action::Ending(ending) => return Ok((nodes, ending)),
                    }
                }
            }
        }
    }

    fn action(&mut self, first: &Token) -> Result<Action> {
        let word = match &first.kind {
            TokenKind::Word(word) if KEYWORDS.contains(&word.as_str()) => word.as_str(),
            _ => {
                let pipe = self.pipe("command", &TokenKind::Close)?;
                return Ok(Action::Node(Node::Action(pipe)));
            }
        };
        self.next += 1;
        match word {
            "if" => Ok(Action::Node(Node::If(self.branch("if")?))),
            "with" => Ok(Action::Node(Node::With(self.branch("with")?))),
            "range" => Ok(Action::Node(Node::Range(self.branch("range")?))),
            "end" => {
                self.close("end")?;
                Ok(Action::Ending(Ending::End(first.at)))
            }
            "else" => Ok(Action::Ending(Ending::Else(first.at))),
            "break" | "continue" => {
                if self.loops == 0 {
                    return self.fail(first.at, format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                self.close(word)?;
                Ok(Action::Node(if word == "break" {
                    Node::Break
                } else {
                    Node::Continue
                }))
            }
            _ => self.fail(first.at, format!("{{{{{word}}}}} is not supported in a format")),
        }
    }

    fn close(&mut self, place: &str) -> Result<()> {
        self.skip_space();
        let token = self.take();
        if token.kind == TokenKind::Close {
            Ok(())
        } else {
            self.unexpected(&token, &format!("{{{{{place}}}}}"))
        }
    }

    fn deeper(&mut self, at: usize) -> Result<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.fail(at, "nested too deeply");
        }
        Ok(())
    }

    fn branch(&mut self, keyword: &str) -> Result<Branch> {
        let scope = self.variables.len();
        let at = self.peek().at;
        self.deeper(at)?;
        let pipe = self.pipe(keyword, &TokenKind::Close)?;
        self.loops += usize::from(keyword == "range");
        let (then, ending) = self.list()?;
        self.loops -= usize::from(keyword == "range");
        let otherwise = match ending {
            Ending::Source => return self.fail(self.source.len(), "unexpected EOF"),
            Ending::End(_) => Vec::new(),
            Ending::Else(at) => self.otherwise(keyword, at)?,
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(Branch {
            pipe,
            then,
            otherwise,
        })
    }

    /// What follows `else`: a whole branch after `else if` or `else with`, else a list.
    fn otherwise(&mut self, keyword: &str, at: usize) -> Result<Vec<Node>> {
        self.skip_space();
        if let TokenKind::Word(word) = &self.peek().kind
            && word == keyword
            && keyword != "range"
        {
            self.next += 1;
            let branch = self.branch(keyword)?;
            return Ok(vec![if keyword == "if" {
                Node::If(branch)
            } else {
                Node::With(branch)
            }]);
        }
        self.close("else")?;
        let (nodes, ending) = self.list()?;
        match ending {
            Ending::End(_) => Ok(nodes),
            Ending::Else(_) => self.fail(at, "expected end; found {{else}}"),
            Ending::Source => self.fail(self.source.len(), "unexpected EOF"),
        }
    }

    fn pipe(&mut self, place: &str, end: &TokenKind) -> Result<Pipe> {
        let begin = self.peek().at;
        self.deeper(begin)?;
        let (variables, assigns) = self.declaration(place)?;
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            let token = self.peek().clone();
            if token.kind == *end {
                self.next += 1;
                break;
            }
            if token.kind == TokenKind::Pipe || !commands.is_empty() {
                if commands.is_empty() || token.kind != TokenKind::Pipe {
                    return self.unexpected(&token, place);
                }
                self.next += 1;
                self.skip_space();
                if matches!(&self.peek().kind, kind if *kind == *end) {
                    return self.fail(token.at, format!("missing value for {place}"));
                }
            }
            commands.push(self.command(place)?);
        }
        if commands.is_empty() {
            return self.fail(begin, format!("missing value for {place}"));
        }
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        self.depth -= 1;
        Ok(Pipe {
            variables,
            assigns,
            commands,
        })
    }

    /// `$x :=`, `$x =`, and for a range `$k, $v :=`; nothing is consumed if it is none of these.
    fn declaration(&mut self, place: &str) -> Result<(Vec<String>, bool)> {
        let start = self.next;
        let mut names = Vec::new();
        loop {
            self.skip_space();
            let TokenKind::Variable(name) = self.peek().kind.clone() else {
                break;
            };
            names.push(name);
            self.next += 1;
            self.skip_space();
            let token = self.take();
            match token.kind {
                TokenKind::Declare => return Ok((names, false)),
                TokenKind::Assign => {
                    for name in &names {
                        self.known(name, token.at)?;
                    }
                    return Ok((names, true));
                }
                TokenKind::Comma if place == "range" && names.len() < 2 => {}
                TokenKind::Comma => return self.fail(token.at, format!("too many declarations in {place}")),
                _ => break,
            }
        }
        self.next = start;
        Ok((Vec::new(), false))
    }

    fn known(&self, name: &str, at: usize) -> Result<()> {
        if self.variables.iter().any(|known| known == name) {
            return Ok(());
        }
        self.fail(at, format!("undefined variable {name:?}"))
    }

    fn command(&mut self, place: &str) -> Result<Command> {
        let mut operands: Vec<Operand> = Vec::new();
        loop {
            self.skip_space();
            let token = self.peek().clone();
            match token.kind {
                TokenKind::Close | TokenKind::RightParen | TokenKind::Pipe => break,
                _ => operands.push(self.operand(place)?),
            }
            // Operands are apart; `"a"b` is none.
            let after = self.peek().clone();
            match after.kind {
                TokenKind::Space | TokenKind::Close | TokenKind::RightParen | TokenKind::Pipe => {}
                _ => return self.unexpected(&after, "operand"),
            }
        }
        if let Some(first) = operands.first()
            && matches!(first.kind, OperandKind::Nil)
        {
            return self.fail(first.at, "nil is not a command");
        }
        Ok(Command { operands })
    }

    fn operand(&mut self, place: &str) -> Result<Operand> {
        let token = self.take();
        let at = token.at;
        let kind = match token.kind {
            TokenKind::Dot => OperandKind::Dot,
            TokenKind::Field(name) => {
                let mut names = vec![name];
                names.extend(self.fields());
                OperandKind::Field(names)
            }
            TokenKind::Variable(name) => {
                self.known(&name, at)?;
                OperandKind::Variable(name, self.fields())
            }
            TokenKind::Int(value, written) => OperandKind::Int(value, written),
            TokenKind::Float(value, written) => OperandKind::Float(value, written),
            TokenKind::Quoted(value, written) => OperandKind::Text(value, written),
            TokenKind::LeftParen => {
                let pipe = Box::new(self.pipe("parenthesized pipeline", &TokenKind::RightParen)?);
                match self.fields() {
                    fields if fields.is_empty() => OperandKind::Group(pipe),
                    fields => OperandKind::Chain(pipe, fields),
                }
            }
            TokenKind::Word(ref word) => match word.as_str() {
                "true" => OperandKind::Bool(true),
                "false" => OperandKind::Bool(false),
                "nil" => OperandKind::Nil,
                _ if KEYWORDS.contains(&word.as_str()) => return self.unexpected(&token, place),
                _ if functions::exists(word) => OperandKind::Function(word.clone()),
                _ => return self.fail(at, format!("function {word:?} not defined")),
            },
            _ => return self.unexpected(&token, place),
        };
        Ok(Operand { at, kind })
    }

    fn fields(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        while let TokenKind::Field(name) = &self.peek().kind {
            fields.push(name.clone());
            self.next += 1;
        }
        fields
    }
}

enum Action {
    Node(Node),
    Ending(Ending),
}

const KEYWORDS: [&str; 10] = [
    "if", "else", "end", "range", "with", "break", "continue", "define", "template", "block",
];
