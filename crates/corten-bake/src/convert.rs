//! Values of expressions: they are those of JSON, and change their types as HCL has it.

use serde_json::{Number, Value};

/// Returns a number.
pub(crate) fn number(value: f64) -> Option<Value> {
    // Whole numbers are exact up to 2^53, and are shown without a point.
    const MOST_EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= MOST_EXACT {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is a whole number that an i64 has a place for"
        )]
        return Some(Value::from(value as i64));
    }
    // HCL reckons with more digits than there are here: what is wrong with the last is not shown.
    let rounded = format!("{value:.14e}").parse().unwrap_or(value);
    Number::from_f64(rounded).map(Value::Number)
}

/// Returns what a primitive value is as a text.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(bool) => Some(bool.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Returns what a value is as a number.
pub(crate) fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Returns what a value is as a truth.
pub(crate) fn as_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(bool) => Some(*bool),
        Value::String(text) if text == "true" => Some(true),
        Value::String(text) if text == "false" => Some(false),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

/// Reads a truth as Go's `strconv.ParseBool` does.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Returns a value, shortened where it is long, for a message.
pub(crate) fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("`{}…`", text.get(..end).unwrap_or_default()),
        None => format!("`{text}`"),
    }
}

/// Returns how many bytes a value takes, about.
pub(crate) fn size(value: &Value) -> usize {
    const OWN: usize = size_of::<Value>();
    OWN + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(size).sum(),
        Value::Object(object) => {
            let pairs = object.iter();
            pairs
                .map(|(key, value)| OWN + key.len() + size(value))
                .sum()
        }
    }
}
