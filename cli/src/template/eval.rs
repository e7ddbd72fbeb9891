//! Executes a parsed template.

use super::TemplateError;
use super::ast::{Branch, Command, Node, Operand, OperandKind, Pipe};
use super::functions::Functions;
use super::print;
use super::value::{Element, Value};

/// Executes `body` with `data` as its dot.
pub(crate) fn execute(
    source: &str,
    body: &[Node],
    data: &Value,
    functions: Functions,
) -> Result<String, TemplateError> {
    let mut state = State {
        source,
        functions,
        variables: vec![("$".to_owned(), data.clone())],
        output: String::new(),
    };
    state.walk(body, data)?;
    Ok(state.output)
}

struct State<'s> {
    source: &'s str,
    functions: Functions,
    variables: Vec<(String, Value)>,
    output: String,
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

type Result<T, E = TemplateError> = std::result::Result<T, E>;

impl State<'_> {
    fn fail<T>(&self, operand: &Operand, message: impl std::fmt::Display) -> Result<T> {
        Err(TemplateError::execute(
            self.source,
            operand.at,
            &operand.to_string(),
            message,
        ))
    }

    fn walk(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.output.push_str(text);
                    Flow::Next
                }
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        self.output.push_str(&print::top(&value));
                    }
                    Flow::Next
                }
                Node::If(branch) => self.conditional(branch, dot, false)?,
                Node::With(branch) => self.conditional(branch, dot, true)?,
                Node::Range(branch) => self.range(branch, dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn conditional(&mut self, branch: &Branch, dot: &Value, moves_dot: bool) -> Result<Flow> {
        let scope = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let flow = match (value.is_true(), moves_dot) {
            (true, true) => self.walk(&branch.then, &value),
            (true, false) => self.walk(&branch.then, dot),
            (false, _) => self.walk(&branch.otherwise, dot),
        };
        self.variables.truncate(scope);
        flow
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Result<Flow> {
        let scope = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        self.variables.truncate(scope);
        let elements: Vec<(Value, Value)> = match value {
            Value::List(items) => items
                .into_iter()
                .enumerate()
                .map(|(index, item)| (index_value(index), item))
                .collect(),
            Value::Map(map) => map
                .entries
                .into_iter()
                .map(|(key, item)| (Value::Text(key), item))
                .collect(),
            Value::Int(count) => (0..count.min(RANGE_LIMIT))
                .map(|n| (Value::Int(n), Value::Int(n)))
                .collect(),
            Value::Missing | Value::Nil => Vec::new(),
            other => {
                let Some(first) = branch.pipe.commands.first().and_then(|c| c.operands.first()) else {
                    return Ok(Flow::Next);
                };
                return self.fail(
                    first,
                    format!("range can't iterate over {}", print::plain(&other)),
                );
            }
        };
        if elements.is_empty() {
            return self.walk(&branch.otherwise, dot);
        }
        for (key, item) in elements {
            self.bind_range(&branch.pipe, key, &item);
            let flow = self.walk(&branch.then, &item);
            self.variables.truncate(scope);
            match flow? {
                Flow::Break => break,
                Flow::Next | Flow::Continue => {}
            }
        }
        Ok(Flow::Next)
    }

    /// One variable takes the element, two take the key and the element.
    fn bind_range(&mut self, pipe: &Pipe, key: Value, item: &Value) {
        match pipe.variables.as_slice() {
            [] => {}
            [one] => self.bind(pipe, one, item.clone()),
            [first, second, ..] => {
                self.bind(pipe, first, key);
                self.bind(pipe, second, item.clone());
            }
        }
    }

    fn bind(&mut self, pipe: &Pipe, name: &str, value: Value) {
        if !pipe.assigns {
            self.variables.push((name.to_owned(), value));
        } else if let Some(slot) = self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            slot.1 = value;
        }
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, last, dot)?);
        }
        let value = last.unwrap_or(Value::Missing);
        // A range binds its variables to the elements, not to the collection.
        if let [name] = pipe.variables.as_slice() {
            self.bind(pipe, name, value.clone());
        }
        Ok(value)
    }

    /// One command; `last` is what the command before it in the pipeline gave.
    fn command(&mut self, command: &Command, last: Option<Value>, dot: &Value) -> Result<Value> {
        let Some((first, rest)) = command.operands.split_first() else {
            return Ok(last.unwrap_or(Value::Missing));
        };
        if let OperandKind::Function(name) = &first.kind {
            return self.call(first, name, rest, last, dot);
        }
        let takes_arguments = matches!(
            first.kind,
            OperandKind::Field(_) | OperandKind::Variable(..) | OperandKind::Chain(..)
        );
        if !takes_arguments && (!rest.is_empty() || last.is_some()) {
            return self.fail(first, format!("can't give argument to non-function {first}"));
        }
        let mut arguments = rest
            .iter()
            .map(|operand| self.operand(operand, dot))
            .collect::<Result<Vec<_>>>()?;
        arguments.extend(last);
        self.operand_with(first, &arguments, dot)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value> {
        match &operand.kind {
            OperandKind::Function(name) => self.call(operand, name, &[], None, dot),
            _ => self.operand_with(operand, &[], dot),
        }
    }

    fn operand_with(&mut self, operand: &Operand, arguments: &[Value], dot: &Value) -> Result<Value> {
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Missing),
            OperandKind::Bool(value) => Ok(Value::Bool(*value)),
            OperandKind::Int(value, _) => Ok(Value::Int(*value)),
            OperandKind::Float(value, _) => Ok(Value::Float(*value)),
            OperandKind::Text(value, _) => Ok(Value::Text(value.clone())),
            OperandKind::Field(names) => self.chain(operand, dot.clone(), names, arguments),
            OperandKind::Variable(name, fields) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                // The parser refused variables that are not declared.
                let value = found.map_or(Value::Missing, |(_, value)| value.clone());
                if fields.is_empty() && !arguments.is_empty() {
                    return self.fail(operand, format!("can't give argument to non-function {operand}"));
                }
                self.chain(operand, value, fields, arguments)
            }
            OperandKind::Group(pipe) => self.pipe(pipe, dot),
            OperandKind::Chain(pipe, names) => {
                let value = self.pipe(pipe, dot)?;
                self.chain(operand, value, names, arguments)
            }
            OperandKind::Function(name) => self.fail(operand, format!("unexpected function {name}")),
        }
    }

    /// `.A.B.C`, where only the last name may be given arguments.
    fn chain(&self, operand: &Operand, start: Value, names: &[String], arguments: &[Value]) -> Result<Value> {
        let mut value = start;
        for (index, name) in names.iter().enumerate() {
            let given = if index + 1 == names.len() { arguments } else { &[] };
            value = self.field(operand, &value, name, given)?;
        }
        Ok(value)
    }

    fn field(&self, operand: &Operand, receiver: &Value, name: &str, arguments: &[Value]) -> Result<Value> {
        match receiver {
            Value::Missing => Ok(Value::Missing),
            Value::Nil => self.fail(operand, format!("nil pointer evaluating {name}")),
            Value::Map(_) if !arguments.is_empty() => {
                self.fail(operand, format!("{name} is not a method but has arguments"))
            }
            Value::Map(map) => match map.entries.get(name) {
                Some(value) => Ok(value.clone()),
                None if map.element == Element::Strict => {
                    self.fail(operand, format!("map has no entry for key \"{name}\""))
                }
                None => Ok(Value::Missing),
            },
            Value::Record(record) => match record.get(name, arguments) {
                Some(Ok(value)) => Ok(value),
                Some(Err(message)) => self.fail(operand, format!("error calling {name}: {message}")),
                None => self.fail(operand, record.unknown(name)),
            },
            other => {
                let kind = other.type_name();
                self.fail(operand, format!("can't evaluate field {name} in type {kind}"))
            }
        }
    }

    fn call(
        &mut self,
        operand: &Operand,
        name: &str,
        rest: &[Operand],
        last: Option<Value>,
        dot: &Value,
    ) -> Result<Value> {
        if matches!(name, "and" | "or") {
            return self.short_circuit(operand, name, rest, last, dot);
        }
        let mut arguments = rest
            .iter()
            .map(|operand| self.operand(operand, dot))
            .collect::<Result<Vec<_>>>()?;
        arguments.extend(last);
        match self.functions.call(name, &arguments) {
            Ok(value) => Ok(value),
            Err(message) => {
                let words = std::iter::once(operand).chain(rest).map(ToString::to_string);
                let context = words.collect::<Vec<_>>().join(" ");
                Err(TemplateError::execute(self.source, operand.at, &context, message))
            }
        }
    }

    /// `and` and `or` evaluate only as far as they must.
    fn short_circuit(
        &mut self,
        operand: &Operand,
        name: &str,
        rest: &[Operand],
        last: Option<Value>,
        dot: &Value,
    ) -> Result<Value> {
        let decided_by = name == "or";
        let mut value = None;
        for argument in rest {
            let next = self.operand(argument, dot)?;
            if next.is_true() == decided_by {
                return Ok(next);
            }
            value = Some(next);
        }
        match last.or(value) {
            Some(value) => Ok(value),
            None => self.fail(
                operand,
                format!("wrong number of args for {name}: want at least 1 got 0"),
            ),
        }
    }
}

/// `range 9999999999999` must not eat the machine's memory.
const RANGE_LIMIT: i64 = 1_000_000;

fn index_value(index: usize) -> Value {
    Value::Int(i64::try_from(index).unwrap_or(i64::MAX))
}
