//! Go's `fmt`, for values in templates: what `{{.}}` prints and what `printf` understands.

use super::value::Value;

/// As an action prints it.
pub(crate) fn top(value: &Value) -> String {
    match value {
        Value::Missing => "<no value>".into(),
        other => plain(other),
    }
}

/// As `%v` prints it.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Missing | Value::Nil => "<nil>".into(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => general(*value, None),
        Value::Text(text) => text.clone(),
        Value::List(items) => format!("[{}]", joined(items.iter().map(plain))),
        Value::Map(map) => {
            format!(
                "map[{}]",
                joined(
                    map.entries
                        .iter()
                        .map(|(key, value)| format!("{key}:{}", plain(value)))
                )
            )
        }
        Value::Record(record) => {
            format!(
                "{{{}}}",
                joined(record.fields().iter().map(|(_, value)| plain(value)))
            )
        }
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}

/// `print`: a space between two operands when neither is a string.
pub(crate) fn print(values: &[Value]) -> String {
    let mut printed = String::new();
    for (index, value) in values.iter().enumerate() {
        let texts = |value: &Value| matches!(value, Value::Text(_));
        if index > 0 && !texts(value) && !texts(&values[index - 1]) {
            printed.push(' ');
        }
        printed.push_str(&plain(value));
    }
    printed
}

/// `println`: a space between all operands, a newline after them.
pub(crate) fn println(values: &[Value]) -> String {
    joined(values.iter().map(plain)) + "\n"
}

/// The flags, width and precision of one verb.
#[derive(Debug, Default, Clone)]
struct Spec {
    minus: bool,
    plus: bool,
    zero: bool,
    space: bool,
    sharp: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// A template from a command line must not ask for gigabytes of blanks.
const WIDTH_LIMIT: usize = 10_000;

/// `printf`.
pub(crate) fn printf(format: &str, values: &[Value]) -> String {
    let mut output = String::new();
    let mut values_left = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            output.push(c);
            continue;
        }
        let spec = spec(&mut chars, &mut values_left);
        let Some(verb) = chars.next() else {
            output.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            output.push('%');
            continue;
        }
        match values_left.next() {
            Some(value) => output.push_str(&one(value, verb, &spec)),
            None => output.push_str(&format!("%!{verb}(MISSING)")),
        }
    }
    let extra: Vec<String> = values_left
        .map(|value| format!("{}={}", value.type_name(), plain(value)))
        .collect();
    if !extra.is_empty() {
        output.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    output
}

fn spec<'v>(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    values: &mut impl Iterator<Item = &'v Value>,
) -> Spec {
    let mut spec = Spec::default();
    while let Some(c) = chars.peek() {
        match c {
            '-' => spec.minus = true,
            '+' => spec.plus = true,
            '0' => spec.zero = true,
            ' ' => spec.space = true,
            '#' => spec.sharp = true,
            _ => break,
        }
        chars.next();
    }
    spec.width = number(chars, values);
    if chars.next_if_eq(&'.').is_some() {
        spec.precision = Some(number(chars, values).unwrap_or(0));
    }
    spec
}

fn number<'v>(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    values: &mut impl Iterator<Item = &'v Value>,
) -> Option<usize> {
    if chars.next_if_eq(&'*').is_some() {
        return match values.next() {
            Some(Value::Int(n)) => usize::try_from(*n).ok().map(|n| n.min(WIDTH_LIMIT)),
            _ => None,
        };
    }
    let mut value = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        value = Some((value.unwrap_or(0) * 10 + digit as usize).min(WIDTH_LIMIT));
        chars.next();
    }
    value
}

fn one(value: &Value, verb: char, spec: &Spec) -> String {
    match value {
        Value::List(items) if verb != 'T' => {
            format!("[{}]", joined(items.iter().map(|item| one(item, verb, spec))))
        }
        Value::Map(map) if verb != 'T' => {
            let entries = map.entries.iter();
            let key = |key: &String| one(&Value::Text(key.clone()), verb, spec);
            format!(
                "map[{}]",
                joined(entries.map(|(k, item)| format!("{}:{}", key(k), one(item, verb, spec))))
            )
        }
        _ => match scalar(value, verb, spec) {
            Some((sign, digits)) => padded(
                &sign,
                &digits,
                spec,
                !matches!(value, Value::Text(_) | Value::Bool(_)),
            ),
            None => match value {
                Value::Missing | Value::Nil => format!("%!{verb}(<nil>)"),
                value => format!("%!{verb}({}={})", value.type_name(), plain(value)),
            },
        },
    }
}

/// Sign and digits (or text) of a scalar; nothing if the verb does not fit it.
fn scalar(value: &Value, verb: char, spec: &Spec) -> Option<(String, String)> {
    let unsigned = |text: String| Some((String::new(), text));
    match (verb, value) {
        ('T', value) => unsigned(value.type_name()),
        ('v', Value::Text(text)) if spec.sharp => unsigned(quoted(text)),
        ('v' | 's', Value::Text(text)) => unsigned(cut(text, spec)),
        ('q', Value::Text(text)) => unsigned(quoted(&cut(text, spec))),
        ('x', Value::Text(text)) => unsigned(text.bytes().map(|byte| format!("{byte:02x}")).collect()),
        ('X', Value::Text(text)) => unsigned(text.bytes().map(|byte| format!("{byte:02X}")).collect()),
        ('v' | 't', Value::Bool(value)) => unsigned(value.to_string()),
        ('v' | 'd', Value::Int(n)) => Some((sign(*n < 0, spec), n.unsigned_abs().to_string())),
        ('x', Value::Int(n)) => Some((prefixed(*n, "0x", spec), format!("{:x}", n.unsigned_abs()))),
        ('X', Value::Int(n)) => Some((prefixed(*n, "0X", spec), format!("{:X}", n.unsigned_abs()))),
        ('o', Value::Int(n)) => Some((prefixed(*n, "0", spec), format!("{:o}", n.unsigned_abs()))),
        ('b', Value::Int(n)) => Some((prefixed(*n, "0b", spec), format!("{:b}", n.unsigned_abs()))),
        ('c', Value::Int(n)) => unsigned(character(*n).to_string()),
        ('q', Value::Int(n)) => unsigned(format!("'{}'", character(*n))),
        ('U', Value::Int(n)) => unsigned(format!("U+{n:04X}")),
        ('v' | 'g', Value::Float(f)) => Some((sign(*f < 0.0, spec), general(f.abs(), spec.precision))),
        ('f' | 'F', Value::Float(f)) => Some((
            sign(*f < 0.0, spec),
            format!("{:.*}", spec.precision.unwrap_or(6), f.abs()),
        )),
        ('e', Value::Float(f)) => Some((
            sign(*f < 0.0, spec),
            exponent(f.abs(), spec.precision.or(Some(6))),
        )),
        ('v', other) => unsigned(plain(other)),
        _ => None,
    }
}

fn sign(negative: bool, spec: &Spec) -> String {
    match (negative, spec.plus, spec.space) {
        (true, _, _) => "-".into(),
        (false, true, _) => "+".into(),
        (false, false, true) => " ".into(),
        (false, false, false) => String::new(),
    }
}

fn prefixed(n: i64, prefix: &str, spec: &Spec) -> String {
    sign(n < 0, spec) + if spec.sharp { prefix } else { "" }
}

fn character(n: i64) -> char {
    u32::try_from(n)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn cut(text: &str, spec: &Spec) -> String {
    match spec.precision {
        Some(length) => text.chars().take(length).collect(),
        None => text.to_owned(),
    }
}

fn padded(sign: &str, digits: &str, spec: &Spec, numeric: bool) -> String {
    let length = sign.chars().count() + digits.chars().count();
    let missing = spec.width.unwrap_or(0).saturating_sub(length);
    if spec.minus {
        return format!("{sign}{digits}{}", " ".repeat(missing));
    }
    if spec.zero && numeric {
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    format!("{}{sign}{digits}", " ".repeat(missing))
}

/// A double-quoted Go string.
pub(crate) fn quoted(text: &str) -> String {
    let mut output = String::with_capacity(text.len() + 2);
    output.push('"');
    for c in text.chars() {
        match c {
            '"' => output.push_str("\\\""),
            '\\' => output.push_str("\\\\"),
            '\n' => output.push_str("\\n"),
            '\r' => output.push_str("\\r"),
            '\t' => output.push_str("\\t"),
            '\u{7}' => output.push_str("\\a"),
            '\u{8}' => output.push_str("\\b"),
            '\u{b}' => output.push_str("\\v"),
            '\u{c}' => output.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => output.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() => output.push_str(&format!("\\u{:04x}", c as u32)),
            c => output.push(c),
        }
    }
    output.push('"');
    output
}

/// `%g`: plain notation, or exponents for what is very large or very small.
pub(crate) fn general(value: f64, precision: Option<usize>) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "NaN".into()
        } else {
            (if value > 0.0 { "+Inf" } else { "-Inf" }).into()
        };
    }
    let scientific = match precision {
        Some(digits) => format!("{value:.*e}", digits.max(1) - 1),
        None => format!("{value:e}"),
    };
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let largest = precision.map_or(6, |digits| i32::try_from(digits.max(1)).unwrap_or(i32::MAX));
    if power < -4 || power >= largest {
        return format!(
            "{}e{}{:02}",
            trimmed(mantissa),
            if power < 0 { '-' } else { '+' },
            power.abs()
        );
    }
    match precision {
        Some(digits) => {
            let decimals = i32::try_from(digits.max(1)).unwrap_or(i32::MAX) - 1 - power;
            trimmed(&format!("{value:.*}", usize::try_from(decimals).unwrap_or(0))).to_owned()
        }
        None => format!("{value}"),
    }
}

fn exponent(value: f64, precision: Option<usize>) -> String {
    let scientific = format!("{value:.*e}", precision.unwrap_or(6));
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    format!(
        "{mantissa}e{}{:02}",
        if power < 0 { '-' } else { '+' },
        power.abs()
    )
}

fn trimmed(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}
