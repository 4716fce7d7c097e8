//! Lists as one text: fields with commas between them, some of them quoted (RFC 4180).

/// Returns the fields of one line.
///
/// # Errors
///
/// A quote that does not end, or has something after it.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        let mut field = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next() {
                    Some('"') if chars.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') => break,
                    Some(other) => field.push(other),
                    None => return Err(format!("a quote does not end in `{text}`")),
                }
            }
        } else {
            while let Some(other) = chars.next_if(|c| *c != ',') {
                field.push(other);
            }
        }
        fields.push(field);
        match chars.next() {
            Some(',') => {}
            None => return Ok(fields),
            Some(other) => return Err(format!("`{other}` comes after a quote in `{text}`")),
        }
    }
}

/// Returns one line of `fields`.
pub(crate) fn line<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let fields = fields.map(|field| {
        if field.contains([',', '"', '\n']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.to_owned()
        }
    });
    fields.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes() {
        #[track_caller]
        fn check(text: &str, expected: Option<&[&str]>) {
            let expected = expected.map(|all| all.iter().map(ToString::to_string).collect());
            assert_eq!(fields(text).ok(), expected, "{text}");
        }
        check("a,b=c", Some(&["a", "b=c"]));
        check("", Some(&[""]));
        check("a,", Some(&["a", ""]));
        check("\"a,b\",\"c\"\"d\"", Some(&["a,b", "c\"d"]));
        check("\"a", None);
        check("\"a\"b", None);
    }

    proptest! {
        #[test]
        fn a_line_is_read_again(all in proptest::collection::vec("[a,\"\n=]{0,4}", 1..4)) {
            let text = line(all.iter().map(String::as_str));
            prop_assert_eq!(fields(&text).unwrap(), all);
        }
    }
}
