//! Operators.

use hcl::expr::{BinaryOperator, Expression, Operation, UnaryOperator};
use serde_json::Value;

use crate::convert::{as_number, number, shown};
use crate::eval::{Evaluated, Evaluator, Scope};

impl Evaluator<'_> {
    pub(super) fn operation(&self, scope: &Scope<'_>, operation: &Operation) -> Evaluated {
        match operation {
            Operation::Unary(unary) => match unary.operator {
                UnaryOperator::Not => Ok((!self.truth(scope, &unary.expr)?).into()),
                UnaryOperator::Neg => result(-self.number(scope, &unary.expr)?),
            },
            Operation::Binary(binary) => {
                self.binary(scope, &binary.lhs_expr, binary.operator, &binary.rhs_expr)
            }
        }
    }

    fn binary(
        &self,
        scope: &Scope<'_>,
        left: &Expression,
        operator: BinaryOperator,
        right: &Expression,
    ) -> Evaluated {
        let numbers = || Ok((self.number(scope, left)?, self.number(scope, right)?));
        let truths = || Ok((self.truth(scope, left)?, self.truth(scope, right)?));
        match operator {
            BinaryOperator::Eq | BinaryOperator::NotEq => {
                let is_same = same(&self.value(scope, left)?, &self.value(scope, right)?);
                Ok((is_same == (operator == BinaryOperator::Eq)).into())
            }
            BinaryOperator::And => truths().map(|(one, two)| (one && two).into()),
            BinaryOperator::Or => truths().map(|(one, two)| (one || two).into()),
            BinaryOperator::Plus => numbers().and_then(|(one, two)| result(one + two)),
            BinaryOperator::Minus => numbers().and_then(|(one, two)| result(one - two)),
            BinaryOperator::Mul => numbers().and_then(|(one, two)| result(one * two)),
            BinaryOperator::Div => numbers().and_then(|(one, two)| result(one / two)),
            BinaryOperator::Mod => numbers().and_then(|(one, two)| result(one % two)),
            BinaryOperator::LessEq => numbers().map(|(one, two)| (one <= two).into()),
            BinaryOperator::GreaterEq => numbers().map(|(one, two)| (one >= two).into()),
            BinaryOperator::Less => numbers().map(|(one, two)| (one < two).into()),
            BinaryOperator::Greater => numbers().map(|(one, two)| (one > two).into()),
        }
    }

    fn number(&self, scope: &Scope<'_>, expression: &Expression) -> Evaluated<f64> {
        let value = self.value(scope, expression)?;
        as_number(&value).ok_or_else(|| format!("{} is no number", shown(&value)).into())
    }
}

/// Returns a number that came of a calculation.
pub(crate) fn result(value: f64) -> Evaluated {
    number(value).ok_or_else(|| "the result is no number".into())
}

/// Tells whether two values are the same: numbers by what they are worth.
pub(crate) fn same(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Number(_), Value::Number(_)) => as_number(one) == as_number(two),
        _ => one == two,
    }
}
