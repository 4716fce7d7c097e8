//! `format`, `formatlist` and `timestamp`.

use serde_json::Value;

use super::{ANY, Args, Function};
use crate::convert::{as_number, shown, text};
use crate::eval::Evaluated;

pub(super) const TABLE: &[Function] = &[
    ("format", 1, ANY, |args| {
        let values: Vec<&Value> = args.values.iter().skip(1).collect();
        Ok(format(args, &args.text(0)?, &values)?.into())
    }),
    ("formatlist", 1, ANY, formatlist),
    ("timestamp", 0, 0, |args| args.evaluator.now()),
];

/// Widths and precisions that anyone needs.
const MOST_WIDTH: usize = 1000;

/// A verb of a format: `%[flags][width][.precision]verb`.
#[derive(Debug, Default)]
struct Verb {
    is_left: bool,
    is_zero: bool,
    has_sign: bool,
    width: usize,
    precision: Option<usize>,
    letter: char,
}

fn format(args: &Args<'_>, format: &str, values: &[&Value]) -> Evaluated<String> {
    let mut written = String::new();
    let mut values = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(next) = chars.next() {
        if next != '%' {
            written.push(next);
            continue;
        }
        let verb = verb(&mut chars)?;
        if verb.letter == '%' {
            written.push('%');
            continue;
        }
        let value = values.next().ok_or("there are more verbs than arguments")?;
        let shown = shape(&verb, value)?;
        args.spend(shown.len())?;
        written.push_str(&shown);
    }
    match values.next() {
        Some(_) => Err("there are more arguments than verbs".into()),
        None => Ok(written),
    }
}

fn verb(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Evaluated<Verb> {
    let mut verb = Verb::default();
    while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '0' | '+')) {
        verb.is_left |= flag == '-';
        verb.is_zero |= flag == '0';
        verb.has_sign |= flag == '+';
    }
    verb.width = number(chars)?;
    if chars.next_if_eq(&'.').is_some() {
        verb.precision = Some(number(chars)?);
    }
    verb.letter = chars.next().ok_or("the format ends within a verb")?;
    Ok(verb)
}

fn number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Evaluated<usize> {
    let mut number = 0;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        number = number * 10 + digit as usize;
        if number > MOST_WIDTH {
            return Err(format!("a width is more than {MOST_WIDTH}").into());
        }
        chars.next();
    }
    Ok(number)
}

fn shape(verb: &Verb, value: &Value) -> Evaluated<String> {
    let wrong = |what: &str| format!("{} is no {what}", shown(value));
    let number = || as_number(value).ok_or_else(|| wrong("number"));
    let body = match verb.letter {
        's' => {
            let text = text(value).ok_or_else(|| wrong("text"))?;
            text.chars()
                .take(verb.precision.unwrap_or(usize::MAX))
                .collect()
        }
        'v' => text(value).unwrap_or_else(|| value.to_string()),
        'q' => Value::from(text(value).ok_or_else(|| wrong("text"))?).to_string(),
        't' => crate::convert::as_bool(value)
            .ok_or_else(|| wrong("truth"))?
            .to_string(),
        'd' => format!("{:.0}", number()?.trunc()),
        'f' => format!("{:.*}", verb.precision.unwrap_or(6), number()?),
        other => return Err(format!("the verb `%{other}` is not known").into()),
    };
    let is_positive = matches!(verb.letter, 'd' | 'f') && !body.starts_with('-');
    let sign = if verb.has_sign && is_positive {
        "+"
    } else {
        ""
    };
    let body = format!("{sign}{body}");
    let missing = verb.width.saturating_sub(body.chars().count());
    Ok(
        match (
            verb.is_left,
            verb.is_zero && matches!(verb.letter, 'd' | 'f'),
        ) {
            (true, _) => format!("{body}{}", " ".repeat(missing)),
            (false, false) => format!("{}{body}", " ".repeat(missing)),
            (false, true) => {
                let digits = body.trim_start_matches(['-', '+']);
                let sign = body.strip_suffix(digits).unwrap_or_default();
                format!("{sign}{}{digits}", "0".repeat(missing))
            }
        },
    )
}

/// Arguments that are lists give one element each; others are there for all.
fn formatlist(args: &Args<'_>) -> Evaluated {
    let form = args.text(0)?;
    let rest = args.values.get(1..).unwrap_or_default();
    let lengths = rest.iter().filter_map(Value::as_array).map(Vec::len);
    let n_texts = lengths.clone().max().unwrap_or(1);
    if lengths.clone().any(|length| length != n_texts) {
        return Err("the lists have not the same length".into());
    }
    args.spend(n_texts.saturating_mul(form.len()))?;
    let one = |at: usize| {
        let values = rest.iter().map(|value| match value {
            Value::Array(all) => all.get(at).unwrap_or(&Value::Null),
            other => other,
        });
        format(args, &form, &values.collect::<Vec<_>>()).map(Value::from)
    };
    Ok(Value::Array(
        (0..n_texts).map(one).collect::<Result<_, _>>()?,
    ))
}
