//! Functions of texts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::{Captures, Regex};
use serde_json::{Map, Value};

use super::{ANY, Args, Function};
use crate::convert::as_number;
use crate::eval::Evaluated;

pub(super) const TABLE: &[Function] = &[
    ("base64decode", 1, 1, |args| {
        let bytes = STANDARD
            .decode(args.text(0)?)
            .map_err(|error| error.to_string())?;
        Ok(String::from_utf8(bytes)
            .map_err(|error| error.to_string())?
            .into())
    }),
    ("base64encode", 1, 1, |args| {
        Ok(STANDARD.encode(args.text(0)?).into())
    }),
    ("basename", 1, 1, |args| Ok(basename(&args.text(0)?).into())),
    ("byteslen", 1, 1, |args| Ok(args.text(0)?.len().into())),
    ("chomp", 1, 1, |args| {
        Ok(args.text(0)?.trim_end_matches(['\n', '\r']).into())
    }),
    ("dirname", 1, 1, |args| Ok(dirname(&args.text(0)?).into())),
    ("indent", 2, 2, indent),
    ("join", 2, ANY, join),
    ("lower", 1, 1, |args| {
        Ok(args.text(0)?.to_lowercase().into())
    }),
    ("regex", 2, 2, |args| {
        let (regex, text) = searched(args)?;
        let found = regex.captures(&text).ok_or("the pattern does not match")?;
        Ok(groups(&regex, &found))
    }),
    ("regex_replace", 3, 3, regex_replace),
    ("regexall", 2, 2, |args| {
        let (regex, text) = searched(args)?;
        let all = regex
            .captures_iter(&text)
            .map(|found| groups(&regex, &found));
        Ok(Value::Array(all.collect()))
    }),
    ("replace", 3, 3, replace),
    ("reverse", 1, 1, |args| {
        Ok(args.text(0)?.chars().rev().collect::<String>().into())
    }),
    ("sanitize", 1, 1, |args| {
        let keep = |c: char| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '_'
            }
        };
        Ok(args.text(0)?.chars().map(keep).collect::<String>().into())
    }),
    ("split", 2, 2, |args| {
        let (separator, text) = (args.text(0)?, args.text(1)?);
        if separator.is_empty() {
            let chars = text.chars().map(|c| Value::from(c.to_string()));
            return Ok(Value::Array(chars.collect()));
        }
        Ok(Value::Array(
            text.split(&separator).map(Value::from).collect(),
        ))
    }),
    ("strlen", 1, 1, |args| {
        Ok(args.text(0)?.chars().count().into())
    }),
    ("substr", 3, 3, substr),
    ("title", 1, 1, |args| Ok(title(&args.text(0)?).into())),
    ("trim", 2, 2, |args| {
        let set = args.text(1)?;
        Ok(args.text(0)?.trim_matches(|c| set.contains(c)).into())
    }),
    ("trimprefix", 2, 2, |args| {
        let (text, prefix) = (args.text(0)?, args.text(1)?);
        Ok(text.strip_prefix(prefix.as_str()).unwrap_or(&text).into())
    }),
    ("trimspace", 1, 1, |args| Ok(args.text(0)?.trim().into())),
    ("trimsuffix", 2, 2, |args| {
        let (text, suffix) = (args.text(0)?, args.text(1)?);
        Ok(text.strip_suffix(suffix.as_str()).unwrap_or(&text).into())
    }),
    ("upper", 1, 1, |args| {
        Ok(args.text(0)?.to_uppercase().into())
    }),
    ("urlencode", 1, 1, |args| {
        Ok(url_encoded(&args.text(0)?).into())
    }),
];

/// The last element, as Go's `filepath.Base` has it.
fn basename(path: &str) -> String {
    let path = match path.trim_end_matches('/') {
        "" if path.is_empty() => ".",
        "" => "/",
        path => path,
    };
    let base = path.rsplit('/').next().filter(|base| !base.is_empty());
    base.unwrap_or(path).to_owned()
}

/// All but the last element, as Go's `filepath.Dir` has it for paths without `..`.
fn dirname(path: &str) -> String {
    let Some((directory, _)) = path.rsplit_once('/') else {
        return ".".to_owned();
    };
    match directory.trim_end_matches('/') {
        "" => "/".to_owned(),
        directory => directory.to_owned(),
    }
}

fn indent(args: &Args<'_>) -> Evaluated {
    let (n_spaces, text) = (args.count(0)?, args.text(1)?);
    let n_lines = text.matches('\n').count();
    args.spend(n_lines.saturating_mul(n_spaces))?;
    let spaces = if n_lines == 0 {
        String::new()
    } else {
        " ".repeat(n_spaces)
    };
    Ok(text.replace('\n', &format!("\n{spaces}")).into())
}

fn join(args: &Args<'_>) -> Evaluated {
    let separator = args.text(0)?;
    let mut all = Vec::new();
    for index in 1..args.values.len() {
        for value in args.list(index)? {
            let text = crate::convert::text(value);
            all.push(text.ok_or_else(|| format!("`{value}` is no text"))?);
        }
    }
    args.spend(all.len().saturating_mul(separator.len()))?;
    Ok(all.join(&separator).into())
}

fn searched(args: &Args<'_>) -> Evaluated<(Regex, String)> {
    let (pattern, text) = (args.text(0)?, args.text(1)?);
    args.spend(pattern.len().saturating_mul(text.len()))?;
    Ok((
        Regex::new(&pattern).map_err(|error| error.to_string())?,
        text,
    ))
}

/// The whole match where the pattern has no groups; else a list, or an object where they have names.
fn groups(regex: &Regex, found: &Captures<'_>) -> Value {
    let text = |at: usize| {
        found
            .get(at)
            .map_or(Value::Null, |part| part.as_str().into())
    };
    let names: Vec<_> = regex.capture_names().enumerate().skip(1).collect();
    if names.is_empty() {
        return text(0);
    }
    let named: Option<Map<_, _>> = names
        .iter()
        .map(|(at, name)| Some(((*name)?.to_owned(), text(*at))))
        .collect();
    match named {
        Some(named) => Value::Object(named),
        None => Value::Array(names.iter().map(|(at, _)| text(*at)).collect()),
    }
}

fn regex_replace(args: &Args<'_>) -> Evaluated {
    let (text, pattern, by) = (args.text(0)?, args.text(1)?, args.text(2)?);
    // Each match is replaced by at most so much, and may be repeated in it.
    let work = by.len().saturating_add(pattern.len()).saturating_add(1);
    args.spend(work.saturating_mul(text.len() + 1))?;
    let regex = Regex::new(&pattern).map_err(|error| error.to_string())?;
    Ok(regex.replace_all(&text, by.as_str()).into_owned().into())
}

fn replace(args: &Args<'_>) -> Evaluated {
    let (text, from, to) = (args.text(0)?, args.text(1)?, args.text(2)?);
    args.spend(text.matches(&from).count().saturating_mul(to.len()))?;
    Ok(text.replace(&from, &to).into())
}

fn substr(args: &Args<'_>) -> Evaluated {
    let text = args.text(0)?;
    let (offset, length) = (as_number(args.value(1)), as_number(args.value(2)));
    let (Some(offset), Some(length)) = (offset, length) else {
        return Err("offset and length are numbers".into());
    };
    let n_chars = text.chars().count();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "what is not within the text is brought there"
    )]
    let start = {
        // From the end, if it is negative.
        let from_end = n_chars as f64 + offset;
        (if offset < 0.0 {
            from_end.max(0.0)
        } else {
            offset
        }) as usize
    };
    let rest = text.chars().skip(start);
    if length < 0.0 {
        return Ok(rest.collect::<String>().into());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "more than there is takes what there is"
    )]
    let part: String = rest.take(length as usize).collect();
    Ok(part.into())
}

fn title(text: &str) -> String {
    let mut is_first = true;
    let letter = |c: char| {
        let was_first = std::mem::replace(&mut is_first, !c.is_alphanumeric());
        let upper = was_first.then(|| c.to_uppercase().collect::<String>());
        upper.unwrap_or_else(|| c.to_string())
    };
    text.chars().map(letter).collect()
}

fn url_encoded(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
