//! `--format`: rows of a list, printed as a table, as JSON, or through a template.

use std::rc::Rc;

use crate::table;
use crate::template::{Element, Functions, Map, Record, Template, TemplateError, Value};

/// One thing of a list, by the fields that a template may name.
pub(crate) trait Row: std::fmt::Debug + 'static {
    /// What it is, for errors.
    const KIND: &'static str;
    /// Names of fields and the heads of their columns.
    const COLUMNS: &'static [(&'static str, &'static str)];
    /// The text of a field among `COLUMNS`.
    fn cell(&self, field: &str) -> String;
    /// The value of a label; nothing for what has no labels.
    fn label(&self, _key: &str) -> Option<String> {
        None
    }
}

/// A format as the user gave it, resolved.
#[derive(Debug)]
pub(crate) struct Format {
    template: Template,
    table: bool,
}

impl Format {
    /// Resolves `--format`: nothing or `table` is the default table, `table TEMPLATE` another, `json` one JSON
    /// object on a line.
    pub(crate) fn new(given: Option<&str>, default: &str) -> Result<Self, TemplateError> {
        let given = given.map(str::trim).filter(|given| !given.is_empty());
        let (template, table) = match given {
            None | Some("table") => (default.to_owned(), true),
            Some("json") => ("{{json .}}".to_owned(), false),
            Some(given) => match given.strip_prefix("table ") {
                Some(columns) => (unescape(columns.trim_start()), true),
                None => (unescape(given), false),
            },
        };
        Ok(Self {
            template: Template::parse(&template)?,
            table,
        })
    }

    /// Whether the rows will be asked for this field.
    pub(crate) fn mentions(&self, field: &str) -> bool {
        self.template.mentions(field)
    }

    /// Prints rows.
    pub(crate) fn render<R: Row>(&self, rows: Vec<R>) -> Result<String, TemplateError> {
        let mut lines = String::new();
        for row in rows {
            let record = Value::Record(Rc::new(RowRecord(row)));
            lines.push_str(&self.template.execute(&record, Functions::Values)?);
            lines.push('\n');
        }
        if !self.table {
            return Ok(lines);
        }
        let head = self
            .template
            .execute(&Value::Record(Rc::new(Heads(R::COLUMNS))), Functions::Headers)?;
        Ok(table::align(&format!("{head}\n{lines}")))
    }
}

/// The shell passes `\t` as two characters.
fn unescape(format: &str) -> String {
    format.replace("\\t", "\t").replace("\\n", "\n")
}

#[derive(Debug)]
struct RowRecord<R>(R);

impl<R: Row> Record for RowRecord<R> {
    fn kind(&self) -> String {
        R::KIND.to_owned()
    }

    fn get(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        match (name, arguments) {
            ("Label", [Value::Text(key)]) => Some(Ok(Value::Text(self.0.label(key).unwrap_or_default()))),
            ("Label", _) => Some(Err("wrong number of args for Label: want 1".into())),
            _ if !R::COLUMNS.iter().any(|(known, _)| *known == name) => None,
            (_, []) => Some(Ok(Value::Text(self.0.cell(name)))),
            (_, _) => Some(Err(format!(
                "wrong number of args for {name}: want 0 got {}",
                arguments.len()
            ))),
        }
    }

    fn fields(&self) -> Vec<(String, Value)> {
        let mut fields: Vec<_> = R::COLUMNS
            .iter()
            .map(|(name, _)| ((*name).to_owned(), Value::Text(self.0.cell(name))))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        fields
    }
}

#[derive(Debug)]
struct Heads(&'static [(&'static str, &'static str)]);

impl Record for Heads {
    fn kind(&self) -> String {
        "table".into()
    }

    fn get(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        if let ("Label", [Value::Text(key)]) = (name, arguments) {
            let last = key.rsplit('.').next().unwrap_or(key);
            return Some(Ok(Value::Text(last.replace(['-', '_'], " "))));
        }
        let head = self
            .0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, head)| *head);
        Some(Ok(head.map_or(Value::Missing, Value::from)))
    }

    fn fields(&self) -> Vec<(String, Value)> {
        self.0
            .iter()
            .map(|(name, head)| ((*name).to_owned(), Value::from(*head)))
            .collect()
    }
}

/// A map of labels, as text: `a=1,b=2`.
pub(crate) fn labels_text<'l>(labels: impl IntoIterator<Item = (&'l String, &'l String)>) -> String {
    let mut pairs: Vec<String> = labels
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.sort();
    pairs.join(",")
}

/// A map of texts for templates.
pub(crate) fn text_map<'l>(entries: impl IntoIterator<Item = (&'l String, &'l String)>) -> Value {
    Value::Map(Map::new(
        entries
            .into_iter()
            .map(|(key, value)| (key.clone(), Value::Text(value.clone())))
            .collect(),
        Element::Text,
    ))
}

/// The twelve characters an id is shown by.
pub(crate) fn short_id(id: &str) -> String {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.chars().take(12).collect()
}

/// At most `length` characters, the last one `…` when some are missing.
pub(crate) fn ellipsis(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Pet(&'static str, &'static str);

    impl Row for Pet {
        const KIND: &'static str = "pet";
        const COLUMNS: &'static [(&'static str, &'static str)] = &[("Name", "NAME"), ("Sound", "SOUND")];
        fn cell(&self, field: &str) -> String {
            if field == "Name" {
                self.0.into()
            } else {
                self.1.into()
            }
        }
        fn label(&self, key: &str) -> Option<String> {
            (key == "com.pets.leg-count").then(|| "4".into())
        }
    }

    #[test]
    fn a_format_is_a_table_a_template_or_json() {
        let default = "table {{.Name}}\t{{.Sound}}".trim_start_matches("table ");
        let cases = [
            (
                "the default table",
                None,
                "NAME      SOUND\ncat       meow\ndog       woof\n",
            ),
            (
                "the same asked for",
                Some("table"),
                "NAME      SOUND\ncat       meow\ndog       woof\n",
            ),
            (
                "another table",
                Some(r"table {{.Sound}}\t{{upper .Name}}"),
                "SOUND     NAME\nmeow      CAT\nwoof      DOG\n",
            ),
            (
                "a label has the last part of its key for a head",
                Some(r#"table {{.Name}}\t{{.Label "com.pets.leg-count"}}"#),
                "NAME      leg count\ncat       4\ndog       4\n",
            ),
            (
                "a template",
                Some(r"{{.Name}}:{{.Sound}}"),
                "cat:meow\ndog:woof\n",
            ),
            (
                "one JSON object on a line",
                Some("json"),
                "{\"Name\":\"cat\",\"Sound\":\"meow\"}\n{\"Name\":\"dog\",\"Sound\":\"woof\"}\n",
            ),
            (
                "heads stay what they are",
                Some(r"table {{json .Name}}"),
                "NAME\n\"cat\"\n\"dog\"\n",
            ),
        ];
        for (name, given, expected) in cases {
            let format = Format::new(given, default).expect(name);
            let pets = vec![Pet("cat", "meow"), Pet("dog", "woof")];
            assert_eq!(format.render(pets).expect(name), expected, "{name}");
        }
    }

    #[test]
    fn a_field_that_is_none_is_an_error_that_says_so() {
        let format = Format::new(Some("{{.Legs}}"), "").expect("parses");
        let error = format
            .render(vec![Pet("cat", "meow")])
            .expect_err("no such field")
            .to_string();
        assert!(error.contains("can't evaluate field Legs in type pet"), "{error}");
    }
}
