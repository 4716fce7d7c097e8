//! The types that variables may be given.

use hcl::expr::{Expression, ObjectKey};
use serde_json::{Map, Value};

use crate::convert::{as_bool, as_number, number, shown, text};
use crate::eval::Evaluated;
use crate::eval::template::raw;

/// The type of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Any,
    Bool,
    Number,
    String,
    List(Box<Self>),
    /// A list that is sorted, and has everything once.
    Set(Box<Self>),
    Map(Box<Self>),
    Tuple(Vec<Self>),
    /// Attributes, and whether each may be left out.
    Object(Vec<(String, Self, bool)>),
}

impl Kind {
    /// Reads a type: `string`, `list(string)`, `object({ a = number })`.
    pub(super) fn of(expression: &Expression) -> Evaluated<Self> {
        let parsed;
        let expression = match expression {
            // In JSON it is a text.
            Expression::TemplateExpr(written) => {
                if crate::depth::is_template_too_deep(&format!("${{{}}}", raw(written))) {
                    return Err("the type is nested too deeply".into());
                }
                parsed = raw(written).parse::<Expression>();
                parsed.as_ref().map_err(ToString::to_string)?
            }
            expression => expression,
        };
        let unknown = || format!("`{expression}` is no type");
        match expression {
            Expression::Variable(name) => match name.as_str() {
                "any" => Ok(Self::Any),
                "bool" => Ok(Self::Bool),
                "number" => Ok(Self::Number),
                "string" => Ok(Self::String),
                _ => Err(unknown().into()),
            },
            Expression::FuncCall(call) => {
                let [of] = call.args.as_slice() else {
                    return Err(unknown().into());
                };
                match (call.name.to_string().as_str(), of) {
                    ("list", of) => Ok(Self::List(Box::new(Self::of(of)?))),
                    ("set", of) => Ok(Self::Set(Box::new(Self::of(of)?))),
                    ("map", of) => Ok(Self::Map(Box::new(Self::of(of)?))),
                    ("tuple", Expression::Array(all)) => Ok(Self::Tuple(
                        all.iter().map(Self::of).collect::<Result<_, _>>()?,
                    )),
                    ("object", Expression::Object(all)) => {
                        let all = all.iter().map(|(key, kind)| attribute(key, kind));
                        Ok(Self::Object(all.collect::<Result<_, _>>()?))
                    }
                    _ => Err(unknown().into()),
                }
            }
            _ => Err(unknown().into()),
        }
    }

    /// Returns what people call it, as buildx does.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Any => "dynamic".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Number => "number".to_owned(),
            Self::String => "string".to_owned(),
            Self::List(of) => format!("list of {}", of.name()),
            Self::Set(of) => format!("set of {}", of.name()),
            Self::Map(of) => format!("map of {}", of.name()),
            Self::Tuple(_) => "tuple".to_owned(),
            Self::Object(_) => "object".to_owned(),
        }
    }

    /// Returns `value` as one of this type.
    pub(super) fn convert(&self, value: Value) -> Evaluated {
        if value.is_null() {
            return Ok(value);
        }
        let wrong = |value: &Value| format!("{} is not of its type", shown(value));
        match (self, value) {
            (Self::Any, value) => Ok(value),
            (Self::Bool, value) => Ok(as_bool(&value).ok_or_else(|| wrong(&value))?.into()),
            (Self::Number, value) => {
                let found = as_number(&value).and_then(number);
                found.ok_or_else(|| wrong(&value).into())
            }
            (Self::String, value) => Ok(text(&value).ok_or_else(|| wrong(&value))?.into()),
            (Self::List(of) | Self::Set(of), Value::Array(all)) => {
                let all = all.into_iter().map(|one| of.convert(one));
                let mut all: Vec<Value> = all.collect::<Result<_, _>>()?;
                if matches!(self, Self::Set(_)) {
                    all.sort_by_cached_key(|one| text(one).unwrap_or_else(|| one.to_string()));
                    all.dedup();
                }
                Ok(Value::Array(all))
            }
            (Self::Map(of), Value::Object(all)) => {
                let all = all
                    .into_iter()
                    .map(|(key, value)| Ok((key, of.convert(value)?)));
                Ok(Value::Object(all.collect::<Evaluated<_>>()?))
            }
            (Self::Tuple(kinds), Value::Array(all)) if kinds.len() == all.len() => {
                let all = all
                    .into_iter()
                    .zip(kinds)
                    .map(|(one, kind)| kind.convert(one));
                Ok(Value::Array(all.collect::<Result<_, _>>()?))
            }
            (Self::Object(attributes), Value::Object(mut all)) => {
                let mut object = Map::new();
                for (key, kind, is_optional) in attributes {
                    let value = match all.remove(key) {
                        Some(value) => kind.convert(value)?,
                        None if *is_optional => Value::Null,
                        None => return Err(format!("the attribute `{key}` is missing").into()),
                    };
                    object.insert(key.clone(), value);
                }
                Ok(Value::Object(object))
            }
            (
                Self::List(_) | Self::Set(_) | Self::Map(_) | Self::Tuple(_) | Self::Object(_),
                value,
            ) => Err(wrong(&value).into()),
        }
    }
}

fn attribute(key: &ObjectKey, kind: &Expression) -> Evaluated<(String, Kind, bool)> {
    let key = match key {
        ObjectKey::Identifier(name) => name.to_string(),
        ObjectKey::Expression(Expression::Variable(name)) => name.to_string(),
        ObjectKey::Expression(Expression::String(name)) => name.clone(),
        other => return Err(format!("`{other:?}` is no name of an attribute").into()),
    };
    match kind {
        Expression::FuncCall(call) if call.name.to_string() == "optional" => {
            let kind = call.args.first().ok_or("`optional` has no type")?;
            Ok((key, Kind::of(kind)?, true))
        }
        kind => Ok((key, Kind::of(kind)?, false)),
    }
}
