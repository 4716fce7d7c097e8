//! Functions of numbers and of truths.

use serde_json::Value;

use super::{ANY, Args, Function};
use crate::convert::as_number;
use crate::eval::{Evaluated, operators};

pub(super) const TABLE: &[Function] = &[
    ("absolute", 1, 1, |args| {
        operators::result(args.number(0)?.abs())
    }),
    ("add", 2, 2, |args| {
        operators::result(args.number(0)? + args.number(1)?)
    }),
    ("and", 2, 2, |args| {
        Ok((args.truth(0)? && args.truth(1)?).into())
    }),
    ("ceil", 1, 1, |args| {
        operators::result(args.number(0)?.ceil())
    }),
    ("divide", 2, 2, |args| {
        operators::result(args.number(0)? / args.number(1)?)
    }),
    ("equal", 2, 2, |args| {
        Ok(operators::same(args.value(0), args.value(1)).into())
    }),
    ("floor", 1, 1, |args| {
        operators::result(args.number(0)?.floor())
    }),
    ("greaterthan", 2, 2, |args| {
        Ok((args.number(0)? > args.number(1)?).into())
    }),
    ("greaterthanorequalto", 2, 2, |args| {
        Ok((args.number(0)? >= args.number(1)?).into())
    }),
    ("int", 1, 1, |args| {
        operators::result(args.number(0)?.trunc())
    }),
    ("lessthan", 2, 2, |args| {
        Ok((args.number(0)? < args.number(1)?).into())
    }),
    ("lessthanorequalto", 2, 2, |args| {
        Ok((args.number(0)? <= args.number(1)?).into())
    }),
    ("log", 2, 2, |args| {
        operators::result(args.number(0)?.log(args.number(1)?))
    }),
    ("max", 1, ANY, |args| extreme(args, f64::max)),
    ("min", 1, ANY, |args| extreme(args, f64::min)),
    ("modulo", 2, 2, |args| {
        operators::result(args.number(0)? % args.number(1)?)
    }),
    ("multiply", 2, 2, |args| {
        operators::result(args.number(0)? * args.number(1)?)
    }),
    ("negate", 1, 1, |args| operators::result(-args.number(0)?)),
    ("not", 1, 1, |args| Ok((!args.truth(0)?).into())),
    ("notequal", 2, 2, |args| {
        Ok((!operators::same(args.value(0), args.value(1))).into())
    }),
    ("or", 2, 2, |args| {
        Ok((args.truth(0)? || args.truth(1)?).into())
    }),
    ("parseint", 2, 2, |args| {
        let base = u32::try_from(args.count(1)?).ok();
        let base = base.filter(|base| (2..=36).contains(base));
        let base = base.ok_or("the base is a number from 2 to 36")?;
        Ok(i64::from_str_radix(&args.text(0)?, base)
            .map_err(|error| error.to_string())?
            .into())
    }),
    ("pow", 2, 2, |args| {
        operators::result(args.number(0)?.powf(args.number(1)?))
    }),
    ("range", 1, 3, range),
    ("signum", 1, 1, |args| {
        let number = args.number(0)?;
        operators::result(if number == 0.0 { 0.0 } else { number.signum() })
    }),
    ("subtract", 2, 2, |args| {
        operators::result(args.number(0)? - args.number(1)?)
    }),
];

fn extreme(args: &Args<'_>, choose: fn(f64, f64) -> f64) -> Evaluated {
    let mut chosen = args.number(0)?;
    for index in 1..args.values.len() {
        chosen = choose(chosen, args.number(index)?);
    }
    operators::result(chosen)
}

/// As many elements as `range` makes in buildx.
const MOST_ELEMENTS: usize = 1024;

fn range(args: &Args<'_>) -> Evaluated {
    let numbers: Option<Vec<f64>> = args.values.iter().map(as_number).collect();
    let (start, end, step) = match numbers.as_deref() {
        Some(&[end]) => (0.0, end, if end < 0.0 { -1.0 } else { 1.0 }),
        Some(&[start, end]) => (start, end, if end < start { -1.0 } else { 1.0 }),
        Some(&[start, end, step]) => (start, end, step),
        _ => return Err("its arguments are numbers".into()),
    };
    if step == 0.0 || (step > 0.0) != (end >= start) {
        return Err("the step does not lead to the end".into());
    }
    let mut all = Vec::new();
    let mut next = start;
    while (step > 0.0 && next < end) || (step < 0.0 && next > end) {
        if all.len() == MOST_ELEMENTS {
            return Err(format!("there are more than {MOST_ELEMENTS} elements").into());
        }
        all.push(operators::result(next)?);
        next += step;
    }
    Ok(Value::Array(all))
}
