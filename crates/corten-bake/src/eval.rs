//! Expressions of HCL: what they are worth, within bounds of work and of depth.
//!
//! Evaluation is ours, and not the parser's: variables are worked out when something needs them,
//! functions may be defined by the file, and neither may take longer or hold more than a bake file is
//! worth.

pub(crate) mod operators;
pub(crate) mod template;

use std::cell::Cell;

use hcl::expr::{Expression, ForExpr, FuncCall, ObjectKey, Traversal, TraversalOperator};
use serde_json::{Map, Value};

use crate::convert::{as_bool, as_number, shown, size, text};
use crate::functions;

/// Why something has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    /// Whether `try` and `can` are no help.
    pub(crate) is_final: bool,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self {
            reason,
            is_final: false,
        }
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

pub(crate) type Evaluated<T = Value> = Result<T, Failure>;

/// What expressions can name besides what is in their own scope.
pub(crate) trait Names {
    /// Returns what a variable is.
    fn variable(&self, evaluator: &Evaluator<'_>, name: &str) -> Evaluated;

    /// Returns an attribute of a block, such as `target.app.tags`; `None` if there is no such kind of block.
    fn attribute(
        &self,
        evaluator: &Evaluator<'_>,
        kind: &str,
        name: &str,
        attribute: &str,
    ) -> Option<Evaluated>;

    /// Calls a function of the file; `None` if there is none of that name.
    fn call(&self, evaluator: &Evaluator<'_>, name: &str, args: &[Value]) -> Option<Evaluated>;
}

/// Names that hold within a part of an expression, innermost first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope<'a> {
    Empty,
    Named(&'a str, &'a Value, &'a Self),
    Many(&'a Map<String, Value>),
}

impl<'a> Scope<'a> {
    fn find(&self, name: &str) -> Option<&'a Value> {
        let mut scope = *self;
        loop {
            match scope {
                Scope::Empty => return None,
                Scope::Many(all) => return all.get(name),
                Scope::Named(known, value, _) if known == name => return Some(value),
                Scope::Named(_, _, outer) => scope = *outer,
            }
        }
    }
}

/// Works out expressions.
pub(crate) struct Evaluator<'a> {
    names: &'a dyn Names,
    /// What `timestamp` returns.
    now: &'a str,
    left: Cell<usize>,
    depth: Cell<usize>,
}

/// How many bytes all expressions together may make, about a second's work.
const MOST_WORK: usize = 1 << 26;

/// What looking at an expression costs of that.
const STEP: usize = 16;

/// How deeply expressions may be within each other, by way of variables and functions, too.
const DEEPEST: usize = 4000;

impl<'a> Evaluator<'a> {
    pub(crate) fn new(names: &'a dyn Names, now: &'a str) -> Self {
        Self {
            names,
            now,
            left: Cell::new(MOST_WORK),
            depth: Cell::new(0),
        }
    }

    /// Returns the time.
    pub(crate) fn now(&self) -> Evaluated {
        if self.now.is_empty() {
            return Err("the time is not known".into());
        }
        Ok(self.now.into())
    }

    /// Notes work that is about to be done.
    pub(crate) fn spend(&self, work: usize) -> Evaluated<()> {
        match self.left.get().checked_sub(work) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(Failure {
                reason: "the files ask for more work than they are worth".to_owned(),
                is_final: true,
            }),
        }
    }

    /// Returns what `expression` is worth where `scope` holds.
    pub(crate) fn value(&self, scope: &Scope<'_>, expression: &Expression) -> Evaluated {
        self.spend(STEP)?;
        let depth = self.depth.get() + 1;
        if depth > DEEPEST {
            return Err(Failure {
                reason: "it is nested too deeply".to_owned(),
                is_final: true,
            });
        }
        self.depth.set(depth);
        let value = self.worth(scope, expression);
        self.depth.set(depth - 1);
        value
    }

    fn worth(&self, scope: &Scope<'_>, expression: &Expression) -> Evaluated {
        match expression {
            Expression::Null => Ok(Value::Null),
            Expression::Bool(bool) => Ok(Value::Bool(*bool)),
            Expression::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Ok(whole.into()),
                (None, Some(number)) => {
                    crate::convert::number(number).ok_or_else(|| "it is no number".into())
                }
                (None, None) => Err("it is no number".into()),
            },
            Expression::String(text) => {
                self.spend(text.len())?;
                Ok(Value::String(text.clone()))
            }
            Expression::Array(all) => {
                let all = all.iter().map(|one| self.value(scope, one));
                Ok(Value::Array(all.collect::<Result<_, _>>()?))
            }
            Expression::Object(pairs) => {
                let mut object = Map::new();
                for (key, value) in pairs {
                    let key = self.key(scope, key)?;
                    object.insert(key, self.value(scope, value)?);
                }
                Ok(Value::Object(object))
            }
            Expression::TemplateExpr(template) => self.template(scope, template),
            Expression::Variable(name) => self.variable(scope, name.as_str()),
            Expression::Traversal(traversal) => self.traversal(scope, traversal),
            Expression::FuncCall(call) => self.call(scope, call),
            Expression::Parenthesis(inner) => self.value(scope, inner),
            Expression::Conditional(conditional) => {
                if self.truth(scope, &conditional.cond_expr)? {
                    self.value(scope, &conditional.true_expr)
                } else {
                    self.value(scope, &conditional.false_expr)
                }
            }
            Expression::Operation(operation) => self.operation(scope, operation),
            Expression::ForExpr(each) => self.for_each(scope, each),
            other => Err(format!("`{other}` is not understood").into()),
        }
    }

    /// Returns whether `expression` is true.
    pub(crate) fn truth(&self, scope: &Scope<'_>, expression: &Expression) -> Evaluated<bool> {
        let value = self.value(scope, expression)?;
        as_bool(&value).ok_or_else(|| format!("{} is neither true nor false", shown(&value)).into())
    }

    fn key(&self, scope: &Scope<'_>, key: &ObjectKey) -> Evaluated<String> {
        match key {
            ObjectKey::Identifier(name) => Ok(name.to_string()),
            // A name alone is itself, and not a variable (HCL, "Collection Values").
            ObjectKey::Expression(Expression::Variable(name)) => Ok(name.to_string()),
            ObjectKey::Expression(expression) => {
                let value = self.value(scope, expression)?;
                text(&value).ok_or_else(|| format!("{} is no key", shown(&value)).into())
            }
            other => Err(format!("`{other:?}` is no key").into()),
        }
    }

    fn variable(&self, scope: &Scope<'_>, name: &str) -> Evaluated {
        let value = match scope.find(name) {
            Some(value) => value.clone(),
            None => self.names.variable(self, name)?,
        };
        self.spend(size(&value))?;
        Ok(value)
    }

    fn traversal(&self, scope: &Scope<'_>, traversal: &Traversal) -> Evaluated {
        let (value, operators) = match self.block(scope, traversal)? {
            Some((value, operators)) => (value, operators),
            None => (
                self.value(scope, &traversal.expr)?,
                traversal.operators.as_slice(),
            ),
        };
        self.traverse(scope, value, operators)
    }

    /// Returns the attribute of a block that a traversal begins with, and what comes after it.
    fn block<'t>(
        &self,
        scope: &Scope<'_>,
        traversal: &'t Traversal,
    ) -> Evaluated<Option<(Value, &'t [TraversalOperator])>> {
        let Expression::Variable(kind) = &traversal.expr else {
            return Ok(None);
        };
        let [name, TraversalOperator::GetAttr(attribute), rest @ ..] =
            traversal.operators.as_slice()
        else {
            return Ok(None);
        };
        if scope.find(kind).is_some() {
            return Ok(None);
        }
        let name = match name {
            TraversalOperator::GetAttr(name) => name.to_string(),
            TraversalOperator::Index(index) => {
                let value = self.value(scope, index)?;
                text(&value).ok_or_else(|| format!("{} is no name", shown(&value)))?
            }
            TraversalOperator::AttrSplat
            | TraversalOperator::FullSplat
            | TraversalOperator::LegacyIndex(_) => return Ok(None),
        };
        match self.names.attribute(self, kind, &name, attribute) {
            Some(value) => Ok(Some((value?, rest))),
            None => Ok(None),
        }
    }

    fn traverse(
        &self,
        scope: &Scope<'_>,
        mut value: Value,
        operators: &[TraversalOperator],
    ) -> Evaluated {
        for (at, operator) in operators.iter().enumerate() {
            self.spend(STEP)?;
            value = match operator {
                TraversalOperator::GetAttr(name) => element(value, &Value::from(name.as_str()))?,
                TraversalOperator::Index(index) => element(value, &self.value(scope, index)?)?,
                TraversalOperator::LegacyIndex(index) => element(value, &Value::from(*index))?,
                TraversalOperator::FullSplat => {
                    let rest = operators.get(at + 1..).unwrap_or_default();
                    return self.splat(scope, value, rest);
                }
                // Only names belong to this one, and what comes after them is of the list.
                TraversalOperator::AttrSplat => {
                    let rest = operators.get(at + 1..).unwrap_or_default();
                    let is_name =
                        |one: &&TraversalOperator| matches!(one, TraversalOperator::GetAttr(_));
                    let n_names = rest.iter().take_while(is_name).count();
                    let (names, rest) = rest.split_at_checked(n_names).unwrap_or((rest, &[]));
                    let all = self.splat(scope, value, names)?;
                    return self.traverse(scope, all, rest);
                }
            };
        }
        Ok(value)
    }

    /// A value that is no list is a list of itself, and null is an empty one (HCL, "Splat Operators").
    fn splat(&self, scope: &Scope<'_>, value: Value, rest: &[TraversalOperator]) -> Evaluated {
        let all = match value {
            Value::Array(all) => all,
            Value::Null => Vec::new(),
            one => vec![one],
        };
        let all = all.into_iter().map(|one| self.traverse(scope, one, rest));
        Ok(Value::Array(all.collect::<Result<_, _>>()?))
    }

    fn call(&self, scope: &Scope<'_>, call: &FuncCall) -> Evaluated {
        let name = call.name.to_string();
        match name.as_str() {
            "try" => return self.first_that_works(scope, &call.args),
            "can" => {
                let [one] = call.args.as_slice() else {
                    return Err("`can` takes one argument".into());
                };
                return match self.value(scope, one) {
                    Err(failure) if failure.is_final => Err(failure),
                    result => Ok(result.is_ok().into()),
                };
            }
            _ => {}
        }
        let args = call.args.iter().map(|one| self.value(scope, one));
        let mut args: Vec<Value> = args.collect::<Result<_, _>>()?;
        if call.expand_final {
            match args.pop() {
                Some(Value::Array(more)) => args.extend(more),
                _ => return Err(format!("the last argument of `{name}` is no list").into()),
            }
        }
        if let Some(value) = self.names.call(self, &name, &args) {
            return value;
        }
        let in_function = |failure: Failure| Failure {
            reason: format!("`{name}`: {}", failure.reason),
            ..failure
        };
        let value = functions::call(&name, &args, self).map_err(in_function)?;
        self.spend(size(&value))?;
        Ok(value)
    }

    fn first_that_works(&self, scope: &Scope<'_>, args: &[Expression]) -> Evaluated {
        let mut last = Failure::from("`try` has no arguments");
        for one in args {
            match self.value(scope, one) {
                Err(failure) if failure.is_final => return Err(failure),
                Err(failure) => last = failure,
                Ok(value) => return Ok(value),
            }
        }
        Err(last)
    }

    fn for_each(&self, scope: &Scope<'_>, each: &ForExpr) -> Evaluated {
        let (mut list, mut object) = (Vec::new(), Map::new());
        let collection = self.value(scope, &each.collection_expr)?;
        for (key, value) in elements(collection)? {
            let mut outer = Scope::Named(each.value_var.as_str(), &value, scope);
            let with_key;
            if let Some(name) = &each.key_var {
                with_key = outer;
                outer = Scope::Named(name.as_str(), &key, &with_key);
            }
            let scope = &outer;
            if let Some(condition) = &each.cond_expr
                && !self.truth(scope, condition)?
            {
                continue;
            }
            let value = self.value(scope, &each.value_expr)?;
            let Some(key) = &each.key_expr else {
                list.push(value);
                continue;
            };
            let key = self.value(scope, key)?;
            let key = text(&key).ok_or_else(|| format!("{} is no key", shown(&key)))?;
            if !each.grouping {
                if object.insert(key.clone(), value).is_some() {
                    return Err(format!("two elements have the key `{key}`").into());
                }
            } else if let Value::Array(group) = object
                .entry(key)
                .or_insert_with(|| Value::Array(Vec::new()))
            {
                group.push(value);
            }
        }
        Ok(match &each.key_expr {
            Some(_) => Value::Object(object),
            None => Value::Array(list),
        })
    }
}

/// Returns the keys and values of a list or an object.
pub(crate) fn elements(value: Value) -> Evaluated<Vec<(Value, Value)>> {
    match value {
        Value::Array(all) => {
            let all = all.into_iter().enumerate();
            Ok(all.map(|(at, value)| (Value::from(at), value)).collect())
        }
        Value::Object(object) => {
            let pairs = object.into_iter();
            Ok(pairs.map(|(key, value)| (key.into(), value)).collect())
        }
        other => Err(format!("{} is neither a list nor an object", shown(&other)).into()),
    }
}

/// Returns the element of `value` at `index`.
pub(crate) fn element(value: Value, index: &Value) -> Evaluated {
    let missing = |of: &Value| format!("{} has no element {index}", shown(of));
    match value {
        Value::Array(mut all) => {
            let at = as_number(index).filter(|at| at.fract() == 0.0 && *at >= 0.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is a whole number, and one that is too large is in no list"
            )]
            let at = at.map(|at| at as usize).filter(|at| *at < all.len());
            match at {
                Some(at) => Ok(all.swap_remove(at)),
                None => Err(missing(&Value::Array(all)).into()),
            }
        }
        Value::Object(mut object) => {
            let found = text(index).and_then(|key| object.remove(&key));
            found.ok_or_else(|| missing(&Value::Object(object)).into())
        }
        other => Err(missing(&other).into()),
    }
}
