//! How two JSON documents differ, member by member.

use serde::Serialize;
use serde_json::Value;

/// A place where two documents differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where, as a JSON pointer (RFC 6901); of lists, the index is the later one's unless it lacks the
    /// element.
    pub path: String,
    /// What the earlier document has there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What the later one has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Returns where `before` and `after` differ, in the order of their members' names.
///
/// What two lists have in common at their beginnings and ends is no difference, wherever it is
/// counted from. Documents that were read are never so deep that this could overflow the stack.
///
/// ```
/// use corten_spec::differences::differences;
/// use serde_json::json;
///
/// let found = differences(&json!({ "a": [1, 2, 3] }), &json!({ "a": [1, 3], "b": true }));
/// let paths: Vec<&str> = found.iter().map(|difference| difference.path.as_str()).collect();
/// assert_eq!(paths, ["/a/1", "/b"]);
/// ```
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(before), Some(after), &mut found);
    found
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (Some(before), Some(after)) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                let path = format!("{path}/{escaped}");
                compare(&path, before.get(name), after.get(name), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            compare_lists(path, before, after, found);
        }
        (before, after) => found.push(Difference {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

fn compare_lists(path: &str, before: &[Value], after: &[Value], found: &mut Vec<Difference>) {
    let n_same = |mut pairs: Box<dyn Iterator<Item = (&Value, &Value)> + '_>| {
        let mut n_same = 0;
        while pairs.next().is_some_and(|(before, after)| before == after) {
            n_same += 1;
        }
        n_same
    };
    let start = n_same(Box::new(before.iter().zip(after)));
    let (before_rest, after_rest) = (
        before.get(start..).unwrap_or_default(),
        after.get(start..).unwrap_or_default(),
    );
    let end = n_same(Box::new(
        before_rest.iter().rev().zip(after_rest.iter().rev()),
    ));
    let middle = |rest: &[Value]| rest.len().saturating_sub(end);
    let (n_before, n_after) = (middle(before_rest), middle(after_rest));
    for idx in 0..n_before.max(n_after) {
        let before = before_rest.get(idx).filter(|_| idx < n_before);
        let after = after_rest.get(idx).filter(|_| idx < n_after);
        compare(&format!("{path}/{}", start + idx), before, after, found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs() {
        #[track_caller]
        fn check(before: &Value, after: &Value, expected: &[(&str, Value, Value)]) {
            let found = differences(before, after);
            let found: Vec<(&str, Value, Value)> = found
                .iter()
                .map(|found| {
                    let value = |value: &Option<Value>| value.clone().unwrap_or_default();
                    (
                        found.path.as_str(),
                        value(&found.before),
                        value(&found.after),
                    )
                })
                .collect();
            assert_eq!(found, expected);
        }
        check(&json!({"a": 1}), &json!({"a": 1}), &[]);
        check(&json!(1), &json!("1"), &[("", json!(1), json!("1"))]);
        check(
            &json!({"a": {"b/c": 1, "d~": 2}}),
            &json!({"a": {"b/c": 2}}),
            &[
                ("/a/b~1c", json!(1), json!(2)),
                ("/a/d~0", json!(2), Value::Null),
            ],
        );
        check(
            &json!([1, 2]),
            &json!([0, 1, 2]),
            &[("/0", Value::Null, json!(0))],
        );
        check(
            &json!([1, 1, 1]),
            &json!([1, 1]),
            &[("/2", json!(1), Value::Null)],
        );
        check(
            &json!([{"x": 1}, 2]),
            &json!([{"x": 3}, 2]),
            &[("/0/x", json!(1), json!(3))],
        );
        check(&json!([]), &json!({}), &[("", json!([]), json!({}))]);
    }
}
