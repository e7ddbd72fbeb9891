//! The parse tree. Every node knows where it stood, because errors quote it.

use std::fmt;

/// What a template is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// Text outside of actions.
    Text(String),
    /// `{{pipeline}}`; prints unless it declares.
    Action(Pipe),
    /// `{{if}} … {{else}} … {{end}}`.
    If(Branch),
    /// `{{with}} … {{else}} … {{end}}`.
    With(Branch),
    /// `{{range}} … {{else}} … {{end}}`.
    Range(Branch),
    /// `{{break}}`.
    Break,
    /// `{{continue}}`.
    Continue,
}

/// A pipeline with what happens when it is true (or has elements) and when not.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Branch {
    pub(crate) pipe: Pipe,
    pub(crate) then: Vec<Node>,
    pub(crate) otherwise: Vec<Node>,
}

/// `$x := a | b c`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pipe {
    pub(crate) variables: Vec<String>,
    /// `=` and not `:=`.
    pub(crate) assigns: bool,
    pub(crate) commands: Vec<Command>,
}

/// Operands side by side: a function or method with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Command {
    pub(crate) operands: Vec<Operand>,
}

/// An operand and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    pub(crate) at: usize,
    pub(crate) kind: OperandKind,
}

/// The kinds of operand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Int(i64, String),
    Float(f64, String),
    /// The value and how it was written.
    Text(String, String),
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A.B`
    Variable(String, Vec<String>),
    /// A function's name.
    Function(String),
    /// `(pipeline)`
    Group(Box<Pipe>),
    /// `(pipeline).A.B`
    Chain(Box<Pipe>, Vec<String>),
}

/// Whether any field chain of these nodes contains `field`.
pub(crate) fn mentions(nodes: &[Node], field: &str) -> bool {
    nodes.iter().any(|node| match node {
        Node::Text(_) | Node::Break | Node::Continue => false,
        Node::Action(pipe) => pipe.mentions(field),
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
            branch.pipe.mentions(field) || mentions(&branch.then, field) || mentions(&branch.otherwise, field)
        }
    })
}

impl Pipe {
    fn mentions(&self, field: &str) -> bool {
        self.commands
            .iter()
            .flat_map(|command| &command.operands)
            .any(|operand| match &operand.kind {
                OperandKind::Field(names) | OperandKind::Variable(_, names) => {
                    names.iter().any(|name| name == field)
                }
                OperandKind::Group(pipe) => pipe.mentions(field),
                OperandKind::Chain(pipe, names) => {
                    pipe.mentions(field) || names.iter().any(|name| name == field)
                }
                _ => false,
            })
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            let separator = if index == 0 { "" } else { " | " };
            write!(f, "{separator}{command}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, operand) in self.operands.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{operand}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Bool(value) => write!(f, "{value}"),
            OperandKind::Int(_, written) | OperandKind::Float(_, written) | OperandKind::Text(_, written) => {
                f.write_str(written)
            }
            OperandKind::Field(names) => write!(f, ".{}", names.join(".")),
            OperandKind::Variable(name, fields) => {
                f.write_str(name)?;
                fields.iter().try_for_each(|field| write!(f, ".{field}"))
            }
            OperandKind::Function(name) => f.write_str(name),
            OperandKind::Group(pipe) => write!(f, "({pipe})"),
            OperandKind::Chain(pipe, names) => write!(f, "({pipe}).{}", names.join(".")),
        }
    }
}
