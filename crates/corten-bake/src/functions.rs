//! The functions that expressions may call.

mod collections;
mod format;
mod numbers;
mod texts;

use serde_json::{Map, Value};

use crate::convert::{as_bool, as_number, shown, text};
use crate::eval::{Evaluated, Evaluator};

/// What a function gets.
struct Args<'a> {
    values: &'a [Value],
    evaluator: &'a Evaluator<'a>,
}

/// A function: its name, how many arguments it takes at least and at most, and what it does.
type Function = (&'static str, usize, usize, fn(&Args<'_>) -> Evaluated);

/// As many arguments as one likes.
const ANY: usize = usize::MAX;

/// The names of all functions that there are, those of `try` and `can` included.
pub const FUNCTIONS: &[&str] = &[
    "absolute",
    "add",
    "and",
    "base64decode",
    "base64encode",
    "basename",
    "byteslen",
    "can",
    "ceil",
    "chomp",
    "chunklist",
    "coalesce",
    "coalescelist",
    "compact",
    "concat",
    "contains",
    "dirname",
    "distinct",
    "divide",
    "element",
    "equal",
    "flatten",
    "floor",
    "format",
    "formatlist",
    "greaterthan",
    "greaterthanorequalto",
    "hasindex",
    "indent",
    "index",
    "indexof",
    "int",
    "join",
    "jsondecode",
    "jsonencode",
    "keys",
    "length",
    "lessthan",
    "lessthanorequalto",
    "log",
    "lookup",
    "lower",
    "max",
    "merge",
    "min",
    "modulo",
    "multiply",
    "negate",
    "not",
    "notequal",
    "or",
    "parseint",
    "pow",
    "range",
    "regex",
    "regex_replace",
    "regexall",
    "replace",
    "reverse",
    "reverselist",
    "sanitize",
    "sethaselement",
    "setintersection",
    "setproduct",
    "setsubtract",
    "setsymmetricdifference",
    "setunion",
    "signum",
    "slice",
    "sort",
    "split",
    "strlen",
    "substr",
    "subtract",
    "timestamp",
    "title",
    "trim",
    "trimprefix",
    "trimspace",
    "trimsuffix",
    "try",
    "upper",
    "urlencode",
    "values",
    "zipmap",
];

/// Functions of buildx that are refused where they are called.
pub const REFUSED_FUNCTIONS: &[&str] = &[
    "bcrypt",
    "bytesslice",
    "cidrhost",
    "cidrnetmask",
    "cidrsubnet",
    "cidrsubnets",
    "convert",
    "csvdecode",
    "formatdate",
    "formattimestamp",
    "homedir",
    "md5",
    "rsadecrypt",
    "semvercmp",
    "sha1",
    "sha256",
    "sha512",
    "timeadd",
    "unixtimestampparse",
    "uuidv4",
    "uuidv5",
];

/// Returns what the function called `name` makes of `values`.
pub(crate) fn call(name: &str, values: &[Value], evaluator: &Evaluator<'_>) -> Evaluated {
    let all = [
        texts::TABLE,
        numbers::TABLE,
        collections::TABLE,
        format::TABLE,
    ];
    let mut all = all.into_iter().flatten();
    let Some((_, least, most, function)) = all.find(|(known, ..)| *known == name) else {
        return Err(if REFUSED_FUNCTIONS.contains(&name) {
            "this function of buildx is not supported".into()
        } else {
            "there is no such function".into()
        });
    };
    if values.len() < *least || values.len() > *most {
        let n_given = values.len();
        return Err(match (least, most) {
            (least, &ANY) => format!("it takes at least {least} arguments, not {n_given}"),
            (least, most) if least == most => format!("it takes {least} arguments, not {n_given}"),
            (least, most) => format!("it takes {least} to {most} arguments, not {n_given}"),
        }
        .into());
    }
    function(&Args { values, evaluator })
}

impl<'a> Args<'a> {
    fn value(&self, index: usize) -> &'a Value {
        // How many there are was checked.
        self.values.get(index).unwrap_or(&Value::Null)
    }

    fn text(&self, index: usize) -> Evaluated<String> {
        let value = self.value(index);
        text(value).ok_or_else(|| format!("{} is no text", shown(value)).into())
    }

    fn number(&self, index: usize) -> Evaluated<f64> {
        let value = self.value(index);
        as_number(value).ok_or_else(|| format!("{} is no number", shown(value)).into())
    }

    /// Returns a whole number that is not negative.
    fn count(&self, index: usize) -> Evaluated<usize> {
        let value = self.value(index);
        let whole = as_number(value).filter(|number| number.fract() == 0.0);
        let whole = whole.filter(|number| (0.0..=f64::from(u32::MAX)).contains(number));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is a whole number that was checked"
        )]
        let whole = whole.map(|number| number as usize);
        whole.ok_or_else(|| format!("{} is no whole number", shown(value)).into())
    }

    fn truth(&self, index: usize) -> Evaluated<bool> {
        let value = self.value(index);
        as_bool(value).ok_or_else(|| format!("{} is neither true nor false", shown(value)).into())
    }

    fn list(&self, index: usize) -> Evaluated<&'a [Value]> {
        match self.value(index) {
            Value::Array(all) => Ok(all),
            other => Err(format!("{} is no list", shown(other)).into()),
        }
    }

    fn object(&self, index: usize) -> Evaluated<&'a Map<String, Value>> {
        match self.value(index) {
            Value::Object(all) => Ok(all),
            other => Err(format!("{} is no object", shown(other)).into()),
        }
    }

    fn spend(&self, work: usize) -> Evaluated<()> {
        self.evaluator.spend(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_that_of_the_tables() {
        let tables = [
            texts::TABLE,
            numbers::TABLE,
            collections::TABLE,
            format::TABLE,
        ];
        let mut names: Vec<_> = tables.into_iter().flatten().map(|one| one.0).collect();
        names.extend(["can", "try"]);
        names.sort_unstable();
        assert_eq!(names, FUNCTIONS);
    }
}
