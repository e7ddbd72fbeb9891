//! Go's `text/template`, as far as `--format` needs it.
//!
//! People bring templates they already have, so what matters is that each of them means here what it means
//! elsewhere, down to `<no value>` and the wording of an error. Left out: `define`, `template` and `block`.

pub(crate) mod ast;
mod eval;
mod functions;
mod lexer;
mod parser;
mod print;
mod value;

#[cfg(test)]
mod tests;

pub(crate) use functions::Functions;
pub(crate) use print::{general, quoted};
pub(crate) use value::{Element, Map, Record, Value};

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Template {
    source: String,
    body: Vec<ast::Node>,
}

/// Why a template could not be parsed or executed, worded as Go words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template parsing error: template: {message}")]
pub(crate) struct TemplateError {
    message: String,
}

impl TemplateError {
    fn parse(source: &str, at: usize, message: impl std::fmt::Display) -> Self {
        let (line, _) = position(source, at);
        Self {
            message: format!(":{line}: {message}"),
        }
    }

    fn execute(source: &str, at: usize, context: &str, message: impl std::fmt::Display) -> Self {
        let (line, column) = position(source, at);
        let context = match context.char_indices().nth(20) {
            Some((end, _)) => format!("{}...", &context[..end]),
            None => context.to_owned(),
        };
        Self {
            message: format!(":{line}:{column}: executing \"\" at <{context}>: {message}"),
        }
    }
}

fn position(source: &str, at: usize) -> (usize, usize) {
    let before = &source[..at.min(source.len())];
    let line = before.matches('\n').count() + 1;
    let column = at - before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, column)
}

impl Template {
    /// Parses a template.
    pub(crate) fn parse(source: &str) -> Result<Self, TemplateError> {
        let tokens = lexer::tokens(source)?;
        let body = parser::parse(source, tokens)?;
        Ok(Self {
            source: source.to_owned(),
            body,
        })
    }

    /// Executes the template on `data`.
    pub(crate) fn execute(&self, data: &Value, functions: Functions) -> Result<String, TemplateError> {
        eval::execute(&self.source, &self.body, data, functions)
    }

    /// Whether the template mentions a field of this name anywhere; what is costly to ask for is asked only then.
    pub(crate) fn mentions(&self, field: &str) -> bool {
        ast::mentions(&self.body, field)
    }
}
