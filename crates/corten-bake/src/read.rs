//! Bake files in HCL, and in JSON, whose texts are templates of HCL: what they say, not worked out.

use std::collections::BTreeMap;
use std::path::Path;

use hcl::expr::{Expression, ObjectKey, TemplateExpr};
use hcl::{Block as HclBlock, Body, Structure};
use serde_json::{Map, Value};

use crate::bake::File;
use crate::depth::is_too_deep;
use crate::eval::template::raw;
use crate::{Error, Result};

/// What all files say together: one scope for all of them.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) variables: BTreeMap<String, Variable>,
    /// Attributes outside of blocks, which the environment does not change.
    pub(crate) constants: BTreeMap<String, Expression>,
    pub(crate) functions: BTreeMap<String, Function>,
    pub(crate) groups: Vec<Block>,
    pub(crate) targets: Vec<Block>,
}

/// A variable.
#[derive(Debug, Default)]
pub(crate) struct Variable {
    pub(crate) default: Option<Expression>,
    pub(crate) kind: Option<Expression>,
    pub(crate) description: Option<Expression>,
    /// Conditions, and what is said where one does not hold.
    pub(crate) validations: Vec<(Expression, Expression)>,
}

/// A function of the file.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) params: Vec<String>,
    /// The name of all further arguments.
    pub(crate) variadic: Option<String>,
    pub(crate) result: Expression,
}

/// A target or a group.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) attributes: BTreeMap<String, Expression>,
}

/// A block with those in it.
#[derive(Debug, Default)]
struct Written {
    attributes: BTreeMap<String, Expression>,
    inner: Vec<(String, Self)>,
}

/// A file may have so many bytes.
const MOST_BYTES: usize = 1 << 20;

impl Source {
    /// Adds what `file` says.
    pub(crate) fn read(&mut self, file: &File) -> Result<()> {
        let failed = |reason: String| Error::Syntax {
            file: file.name.clone(),
            reason: short(&reason),
        };
        if file.text.len() > MOST_BYTES {
            return Err(failed(format!("it has more than {MOST_BYTES} bytes")));
        }
        if has_ending(&file.name, "json") {
            // Its depth is bounded by the parser.
            let json = serde_json::from_str(&file.text);
            return self.read_json(file, json.map_err(|error| failed(error.to_string()))?);
        }
        if is_too_deep(&file.text) {
            return Err(failed("it is nested too deeply".to_owned()));
        }
        let body: Body = hcl::parse(&file.text).map_err(|error| failed(error.to_string()))?;
        for structure in body {
            match structure {
                Structure::Attribute(one) => self.constant(file, one.key.as_str(), one.expr)?,
                Structure::Block(block) => {
                    let kind = block.identifier().to_owned();
                    let [label] = block.labels() else {
                        return Err(failed(format!("`{kind}` is to have one name")));
                    };
                    let label = label.as_str().to_owned();
                    self.add(file, &kind, label, written(file, block)?)?;
                }
            }
        }
        Ok(())
    }

    fn read_json(&mut self, file: &File, json: Map<String, Value>) -> Result<()> {
        for (kind, value) in json {
            let is_block = matches!(kind.as_str(), "variable" | "function" | "group" | "target");
            match value {
                Value::Object(blocks) if is_block => {
                    for (label, block) in blocks {
                        for block in one_or_many(block) {
                            let written = written_in_json(file, &label, block)?;
                            self.add(file, &kind, label.clone(), written)?;
                        }
                    }
                }
                value => self.constant(file, &kind, template(value))?,
            }
        }
        Ok(())
    }

    fn constant(&mut self, file: &File, name: &str, value: Expression) -> Result<()> {
        if matches!(name, "variable" | "function" | "group" | "target") {
            return Err(Error::Syntax {
                file: file.name.clone(),
                reason: format!("`{name}` is to be a block"),
            });
        }
        self.constants.insert(name.to_owned(), value);
        Ok(())
    }

    fn add(&mut self, file: &File, kind: &str, label: String, written: Written) -> Result<()> {
        let is_variable = kind == "variable";
        if let Some((inner, _)) = written.inner.first().filter(|_| !is_variable) {
            return Err(unknown(file, kind, &label, inner));
        }
        match kind {
            "variable" => {
                let variable = variable(file, &label, written)?;
                self.variables.insert(label, variable);
            }
            "function" => {
                let function = function(file, &label, written)?;
                self.functions.insert(label, function);
            }
            "group" | "target" => {
                if !is_name(&label) {
                    return Err(Error::Form {
                        place: format!("`{}`", file.name),
                        name: kind.to_owned(),
                        found: format!("called `{label}`"),
                        expected: "called by letters, digits, `_` and `-`".to_owned(),
                    });
                }
                let attributes = written.attributes;
                let block = Block { label, attributes };
                match kind {
                    "group" => self.groups.push(block),
                    _ => self.targets.push(block),
                }
            }
            _ => {
                return Err(Error::Unsupported {
                    place: format!("`{}`", file.name),
                    name: kind.to_owned(),
                    reason: "; `variable`, `function`, `group` and `target` are",
                });
            }
        }
        Ok(())
    }
}

/// Parsers show the line that is wrong, however long it is.
fn short(reason: &str) -> String {
    const MOST: usize = 160;
    let lines = reason
        .lines()
        .map(|line| match line.char_indices().nth(MOST) {
            Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
            None => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

/// Tells whether a file is in the language that its name's ending says.
pub(crate) fn has_ending(name: &str, ending: &str) -> bool {
    let found = Path::new(name).extension();
    found.is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

/// Tells whether a target may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !name.is_empty() && name.chars().all(is_part)
}

fn unknown(file: &File, kind: &str, label: &str, name: &str) -> Error {
    Error::Unsupported {
        place: format!("the {kind} `{label}` in `{}`", file.name),
        name: name.to_owned(),
        reason: "",
    }
}

fn written(file: &File, block: HclBlock) -> Result<Written> {
    let mut written_here = Written::default();
    for structure in block.body {
        match structure {
            Structure::Attribute(one) => {
                let key = one.key.to_string();
                if written_here
                    .attributes
                    .insert(key.clone(), one.expr)
                    .is_some()
                {
                    return Err(Error::Syntax {
                        file: file.name.clone(),
                        reason: format!("a block has `{key}` twice"),
                    });
                }
            }
            Structure::Block(inner) => {
                let kind = inner.identifier().to_owned();
                written_here.inner.push((kind, written(file, inner)?));
            }
        }
    }
    Ok(written_here)
}

fn one_or_many(value: Value) -> Vec<Value> {
    match value {
        Value::Array(all) => all,
        one => vec![one],
    }
}

fn written_in_json(file: &File, label: &str, block: Value) -> Result<Written> {
    let Value::Object(block) = block else {
        return Err(Error::Syntax {
            file: file.name.clone(),
            reason: format!("`{label}` is no object"),
        });
    };
    let mut written = Written::default();
    for (key, value) in block {
        if key == "validation" {
            for one in one_or_many(value) {
                let inner = written_in_json(file, &key, one)?;
                written.inner.push((key.clone(), inner));
            }
        } else {
            written.attributes.insert(key, template(value));
        }
    }
    Ok(written)
}

fn variable(file: &File, label: &str, written: Written) -> Result<Variable> {
    let mut variable = Variable::default();
    for (key, value) in written.attributes {
        match key.as_str() {
            "default" => variable.default = Some(value),
            "type" => variable.kind = Some(value),
            "description" => variable.description = Some(value),
            _ => return Err(unknown(file, "variable", label, &key)),
        }
    }
    for (kind, inner) in written.inner {
        if kind != "validation" {
            return Err(unknown(file, "variable", label, &kind));
        }
        let (mut condition, mut message) = (None, None);
        for (key, value) in inner.attributes {
            match key.as_str() {
                "condition" => condition = Some(value),
                "error_message" => message = Some(value),
                _ => return Err(unknown(file, "validation of", label, &key)),
            }
        }
        let (Some(condition), Some(message)) = (condition, message) else {
            return Err(Error::Syntax {
                file: file.name.clone(),
                reason: format!(
                    "a `validation` of `{label}` is to have `condition` and `error_message`"
                ),
            });
        };
        variable.validations.push((condition, message));
    }
    Ok(variable)
}

fn function(file: &File, label: &str, mut written: Written) -> Result<Function> {
    let failed = |reason: &str| Error::Syntax {
        file: file.name.clone(),
        reason: format!("the function `{label}` {reason}"),
    };
    let params = written.attributes.remove("params");
    let variadic = written.attributes.remove("variadic_params");
    let result = written.attributes.remove("result");
    if let Some(key) = written.attributes.keys().next() {
        return Err(unknown(file, "function", label, key));
    }
    let name = |expression: &Expression| match expression {
        Expression::Variable(name) => Some(name.to_string()),
        Expression::String(name) => Some(name.clone()),
        Expression::TemplateExpr(name) => Some(raw(name).to_owned()),
        _ => None,
    };
    let Some(Expression::Array(params)) = params else {
        return Err(failed("is to have `params`, a list of names"));
    };
    let params: Option<Vec<String>> = params.iter().map(name).collect();
    let variadic = variadic.map(|one| name(&one).ok_or_else(|| failed("has no name for the rest")));
    Ok(Function {
        params: params.ok_or_else(|| failed("is to have `params`, a list of names"))?,
        variadic: variadic.transpose()?,
        result: result.ok_or_else(|| failed("is to have a `result`"))?,
    })
}

/// Texts of a bake file in JSON are templates.
fn template(json: Value) -> Expression {
    match json {
        Value::String(text) => Expression::TemplateExpr(Box::new(TemplateExpr::QuotedString(text))),
        Value::Array(values) => values.into_iter().map(template).collect(),
        Value::Object(object) => {
            let pairs = object.into_iter();
            let pairs = pairs.map(|(key, value)| {
                let key = Expression::String(key);
                (ObjectKey::Expression(key), template(value))
            });
            Expression::Object(pairs.collect())
        }
        Value::Null => Expression::Null,
        Value::Bool(bool) => Expression::Bool(bool),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Expression::Number(whole.into()),
            (None, number) => {
                let number = number.and_then(hcl::Number::from_f64);
                number.map_or(Expression::Null, Expression::Number)
            }
        },
    }
}
