//! Variables, constants and functions of files: worked out when something needs them.

mod kinds;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use self::kinds::Kind;
use crate::bake::Lookup;
use crate::convert::{as_number, number, parse_bool, shown};
use crate::csv;
use crate::eval::{Evaluated, Evaluator, Names, Scope};
use crate::list::ListedVariable;
use crate::matrix::Expanded;
use crate::read::{Block, Source, Variable};
use crate::stated;
use crate::{Error, Result};

/// What is known while files are worked out.
pub(crate) struct Known<'a> {
    pub(crate) source: &'a Source,
    environment: &'a Lookup<'a>,
    /// Variables that the program sets.
    builtin: BTreeMap<&'static str, String>,
    /// `None` while a value is being worked out.
    values: RefCell<BTreeMap<String, Option<Value>>>,
    /// Functions that are being called.
    called: RefCell<Vec<String>>,
    /// Attributes of blocks that are being worked out.
    attributes: RefCell<Vec<(String, String)>>,
    /// Targets and groups, once their names are known.
    pub(crate) expanded: OnceCell<Vec<Expanded<'a>>>,
}

impl<'a> Known<'a> {
    pub(crate) fn new(source: &'a Source, environment: &'a Lookup<'a>, platform: &str) -> Self {
        Self {
            source,
            environment,
            builtin: BTreeMap::from([
                ("BAKE_CMD_CONTEXT", "cwd://".to_owned()),
                ("BAKE_LOCAL_PLATFORM", platform.to_owned()),
            ]),
            values: RefCell::default(),
            called: RefCell::default(),
            attributes: RefCell::default(),
            expanded: OnceCell::new(),
        }
    }

    /// Works out every variable, and checks what its file says that it must be.
    pub(crate) fn check(&self, evaluator: &Evaluator<'_>) -> Result<()> {
        for name in self.source.variables.keys() {
            self.variable(evaluator, name)
                .map_err(|failure| Error::Evaluate {
                    place: "the variables".to_owned(),
                    name: name.clone(),
                    reason: failure.reason,
                })?;
        }
        for (name, variable) in &self.source.variables {
            for (condition, message) in &variable.validations {
                let failed = |failure: crate::eval::Failure| Error::Evaluate {
                    place: format!("the variable `{name}`"),
                    name: "validation".to_owned(),
                    reason: failure.reason,
                };
                if !evaluator.truth(&Scope::Empty, condition).map_err(failed)? {
                    let message = evaluator.value(&Scope::Empty, message).map_err(failed)?;
                    return Err(Error::Invalid {
                        name: name.clone(),
                        message: crate::convert::text(&message).unwrap_or_default(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Returns what people are told of each variable, in the order of their names: its name, its type if it
    /// says one, its value, and what it is.
    pub(crate) fn listed(&self, evaluator: &Evaluator<'_>) -> Result<Vec<ListedVariable>> {
        let all = self.source.variables.iter();
        let listed = all.map(|(name, variable)| {
            let failed = |attribute: &str| {
                let (place, attribute) = (format!("the variable `{name}`"), attribute.to_owned());
                move |failure: crate::eval::Failure| Error::Evaluate {
                    place,
                    name: attribute,
                    reason: failure.reason,
                }
            };
            let kind = variable.kind.as_ref().map(Kind::of).transpose();
            let value = self.variable(evaluator, name).map_err(failed("default"))?;
            let description = variable.description.as_ref();
            let description = description
                .map(|one| evaluator.value(&Scope::Empty, one))
                .transpose();
            Ok(ListedVariable {
                name: name.clone(),
                kind: kind.map_err(failed("type"))?.map(|kind| kind.name()),
                value: (!value.is_null())
                    .then(|| crate::convert::text(&value).unwrap_or_else(|| value.to_string())),
                description: description
                    .map_err(failed("description"))?
                    .and_then(|value| crate::convert::text(&value)),
            })
        });
        listed.collect()
    }

    fn work_out(&self, evaluator: &Evaluator<'_>, name: &str) -> Evaluated {
        let constant = self.source.constants.get(name);
        let variable = self.source.variables.get(name);
        if constant.is_none() && variable.is_none() {
            return Err(format!("there is no variable `{name}`").into());
        }
        let kind = variable.and_then(|variable| variable.kind.as_ref());
        let kind = kind.map(Kind::of).transpose()?;
        let default = constant.or(variable.and_then(|variable| variable.default.as_ref()));
        let default = default
            .map(|one| evaluator.value(&Scope::Empty, one))
            .transpose()?;
        let default = match (&kind, default) {
            (Some(kind), Some(value)) => Some(kind.convert(value)?),
            (_, default) => default,
        };
        if let Some(variable) = variable
            && let Some(given) = self.given(name, variable)
        {
            return given.read(name, kind.as_ref(), default.as_ref());
        }
        Ok(match (default, kind) {
            (Some(default), _) => default,
            (None, None) => Value::from(""),
            (None, Some(_)) => Value::Null,
        })
    }

    /// Returns what the environment says; for a variable that has a type `NAME_JSON` counts before `NAME`.
    fn given(&self, name: &str, variable: &Variable) -> Option<Given> {
        let plain = || (self.environment)(name).map(Given::Plain);
        let json_name = format!("{name}_JSON");
        let is_own = self.source.variables.contains_key(&json_name);
        let json = || {
            let text = (self.environment)(&json_name).filter(|_| !is_own);
            text.map(Given::Json)
        };
        match variable.kind {
            Some(_) => json().or_else(plain),
            None => plain().or_else(|| json().map(Given::into_plain)),
        }
    }

    /// Returns an attribute of all blocks of one name together.
    fn attribute_of(
        &self,
        evaluator: &Evaluator<'_>,
        kind: &str,
        name: &str,
        attribute: &str,
    ) -> Evaluated {
        let expanded = self.expanded.get();
        let expanded = expanded.ok_or("what targets have is not known here")?;
        let mut blocks = expanded.iter().filter(|one| one.is(kind, name)).peekable();
        if blocks.peek().is_none() {
            return Err(format!("there is no {kind} `{name}`").into());
        }
        let mut all = Map::new();
        for one in blocks {
            if let Some(expression) = one.block.attributes.get(attribute) {
                let value = evaluator.value(&Scope::Many(&one.scope), expression)?;
                let place = format!("the {kind} `{name}`");
                let value = stated::canonical(&place, attribute, value);
                let value = value.map_err(|error| error.to_string())?;
                stated::merge(&mut all, Map::from_iter([(attribute.to_owned(), value)]));
            }
        }
        Ok(all.remove(attribute).unwrap_or_default())
    }
}

/// Returns the blocks of a kind.
pub(crate) fn blocks<'a>(source: &'a Source, kind: &str) -> &'a [Block] {
    match kind {
        "group" => &source.groups,
        _ => &source.targets,
    }
}

impl Names for Known<'_> {
    fn variable(&self, evaluator: &Evaluator<'_>, name: &str) -> Evaluated {
        if let Some(value) = self.builtin.get(name) {
            return Ok(value.as_str().into());
        }
        match self.values.borrow().get(name) {
            Some(Some(value)) => return Ok(value.clone()),
            Some(None) => return Err(format!("the variable `{name}` needs itself").into()),
            None => {}
        }
        self.values.borrow_mut().insert(name.to_owned(), None);
        let value = self.work_out(evaluator, name);
        let mut values = self.values.borrow_mut();
        match value {
            Ok(value) => {
                values.insert(name.to_owned(), Some(value.clone()));
                Ok(value)
            }
            Err(failure) => {
                values.remove(name);
                Err(failure)
            }
        }
    }

    fn attribute(
        &self,
        evaluator: &Evaluator<'_>,
        kind: &str,
        name: &str,
        attribute: &str,
    ) -> Option<Evaluated> {
        if !matches!(kind, "target" | "group") {
            return None;
        }
        let key = (format!("{kind}.{name}"), attribute.to_owned());
        if self.attributes.borrow().contains(&key) {
            let (block, attribute) = key;
            return Some(Err(format!("`{block}.{attribute}` needs itself").into()));
        }
        self.attributes.borrow_mut().push(key);
        let value = self.attribute_of(evaluator, kind, name, attribute);
        self.attributes.borrow_mut().pop();
        Some(value)
    }

    fn call(&self, evaluator: &Evaluator<'_>, name: &str, args: &[Value]) -> Option<Evaluated> {
        let function = self.source.functions.get(name)?;
        let n_params = function.params.len();
        let fits = match function.variadic {
            Some(_) => args.len() >= n_params,
            None => args.len() == n_params,
        };
        if !fits {
            let n_given = args.len();
            let text = format!("`{name}` takes {n_params} arguments, not {n_given}");
            return Some(Err(text.into()));
        }
        if self.called.borrow().iter().any(|called| called == name) {
            return Some(Err(format!("the function `{name}` calls itself").into()));
        }
        let params = function.params.iter().cloned();
        let mut scope: Map<String, Value> = params.zip(args.iter().cloned()).collect();
        if let Some(rest) = &function.variadic {
            let more = args.get(n_params..).unwrap_or_default().to_vec();
            scope.insert(rest.clone(), Value::Array(more));
        }
        self.called.borrow_mut().push(name.to_owned());
        let value = evaluator.value(&Scope::Many(&scope), &function.result);
        self.called.borrow_mut().pop();
        Some(value)
    }
}

/// What the environment says of a variable.
enum Given {
    Plain(String),
    Json(String),
}

impl Given {
    fn into_plain(self) -> Self {
        match self {
            Self::Plain(text) | Self::Json(text) => Self::Plain(text),
        }
    }

    /// Reads it as the type that the variable has, or as what its default is.
    fn read(&self, name: &str, kind: Option<&Kind>, default: Option<&Value>) -> Evaluated {
        let (text, kind) = match (self, kind) {
            (Self::Json(text), Some(kind)) => {
                let value: Value = serde_json::from_str(text)
                    .map_err(|error| format!("`{name}_JSON` is no JSON: {error}"))?;
                return kind.convert(value);
            }
            (Self::Plain(text) | Self::Json(text), kind) => (text, kind),
        };
        match (kind, default) {
            (Some(kind), _) => kind.read(text),
            (None, Some(Value::Bool(_))) => primitive(&Kind::Bool, text),
            (None, Some(Value::Number(_))) => primitive(&Kind::Number, text),
            (None, None | Some(Value::Null | Value::String(_))) => Ok(text.as_str().into()),
            (None, Some(other @ (Value::Array(_) | Value::Object(_)))) => Err(format!(
                "its default is {}, and without a `type` the environment cannot set that",
                shown(other)
            )
            .into()),
        }
    }
}

/// Reads one text of the environment.
fn primitive(kind: &Kind, text: &str) -> Evaluated {
    let form = |expected: &str| format!("the environment says `{text}`, which is no {expected}");
    match kind {
        Kind::Bool => Ok(parse_bool(text).ok_or_else(|| form("truth"))?.into()),
        Kind::Number => {
            let value = as_number(&text.into()).and_then(number);
            value.ok_or_else(|| form("number").into())
        }
        Kind::String | Kind::Any => Ok(text.into()),
        Kind::List(_) | Kind::Set(_) | Kind::Map(_) | Kind::Tuple(_) | Kind::Object(_) => {
            Err(form("single value").into())
        }
    }
}

impl Kind {
    /// Reads what the environment says: lists have commas, and maps `KEY:VALUE` between them.
    fn read(&self, text: &str) -> Evaluated {
        match self {
            Self::Bool | Self::Number | Self::String | Self::Any => primitive(self, text),
            Self::List(of) | Self::Set(of) => {
                let all = csv::fields(text)?;
                let all = all.iter().map(|one| primitive(of, one));
                self.convert(Value::Array(all.collect::<Result<_, _>>()?))
            }
            Self::Tuple(kinds) => {
                let all = csv::fields(text)?;
                if all.len() != kinds.len() {
                    let (n_kinds, n_given) = (kinds.len(), all.len());
                    return Err(format!("it has {n_kinds} elements, not {n_given}").into());
                }
                let all = all
                    .iter()
                    .zip(kinds)
                    .map(|(one, kind)| primitive(kind, one));
                Ok(Value::Array(all.collect::<Result<_, _>>()?))
            }
            Self::Map(of) => {
                let mut map = Map::new();
                for pair in csv::fields(text)? {
                    let (key, value) = pair
                        .split_once(':')
                        .ok_or_else(|| format!("`{pair}` is not of the form `KEY:VALUE`"))?;
                    map.insert(key.to_owned(), primitive(of, value)?);
                }
                Ok(Value::Object(map))
            }
            Self::Object(_) => Err("the environment sets an object by `NAME_JSON` only".into()),
        }
    }
}
