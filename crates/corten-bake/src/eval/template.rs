//! Texts with `${…}` and `%{…}` in them.

use hcl::expr::{Expression, TemplateExpr};
use hcl::template::{Directive, Element, Strip, Template};
use serde_json::Value;

use crate::convert::{shown, text};
use crate::depth::is_template_too_deep;
use crate::eval::{Evaluated, Evaluator, Failure, Scope, elements};

impl Evaluator<'_> {
    pub(super) fn template(&self, scope: &Scope<'_>, written: &TemplateExpr) -> Evaluated {
        self.spend(raw(written).len())?;
        if is_template_too_deep(raw(written)) {
            return Err(Failure {
                reason: "it is nested too deeply".to_owned(),
                is_final: true,
            });
        }
        let template = Template::from_expr(written).map_err(|error| error.to_string())?;
        // One expression alone keeps its type (HCL, "Template Interpolation Unwrapping").
        if let [Element::Interpolation(only)] = template.elements()
            && matches!(written, TemplateExpr::QuotedString(_))
        {
            return self.value(scope, &only.expr);
        }
        let mut written = String::new();
        self.elements(scope, &template, (Strip::None, Strip::None), &mut written)?;
        Ok(Value::String(written))
    }

    /// Writes what a template is; `around` are the marks before and after it.
    fn elements(
        &self,
        scope: &Scope<'_>,
        template: &Template,
        around: (Strip, Strip),
        written: &mut String,
    ) -> Evaluated<()> {
        let elements = template.elements();
        for (at, element) in elements.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| elements.get(at));
            let before = before.map_or(around.0, strip);
            let after = elements.get(at + 1).map_or(around.1, strip);
            match element {
                Element::Literal(literal) => {
                    self.write(written, trimmed(literal, before, after))?;
                }
                Element::Interpolation(one) => self.interpolate(scope, &one.expr, written)?,
                Element::Directive(directive) => self.directive(scope, directive, written)?,
            }
        }
        Ok(())
    }

    fn write(&self, written: &mut String, text: &str) -> Evaluated<()> {
        self.spend(text.len())?;
        written.push_str(text);
        Ok(())
    }

    fn interpolate(
        &self,
        scope: &Scope<'_>,
        expression: &Expression,
        written: &mut String,
    ) -> Evaluated<()> {
        let value = self.value(scope, expression)?;
        let text = text(&value).ok_or_else(|| format!("{} is no text", shown(&value)))?;
        self.write(written, &text)
    }

    fn directive(
        &self,
        scope: &Scope<'_>,
        directive: &Directive,
        written: &mut String,
    ) -> Evaluated<()> {
        match directive {
            Directive::If(one) => {
                let chosen = if self.truth(scope, &one.cond_expr)? {
                    let end = match &one.false_template {
                        Some(_) => one.else_strip,
                        None => one.endif_strip,
                    };
                    Some((&one.true_template, (one.if_strip, end)))
                } else {
                    let otherwise = one.false_template.as_ref();
                    otherwise.map(|template| (template, (one.else_strip, one.endif_strip)))
                };
                match chosen {
                    Some((template, around)) => self.elements(scope, template, around, written),
                    None => Ok(()),
                }
            }
            Directive::For(each) => {
                let collection = self.value(scope, &each.collection_expr)?;
                for (key, value) in elements(collection)? {
                    self.spend(super::STEP)?;
                    let mut inner = Scope::Named(each.value_var.as_str(), &value, scope);
                    let with_key;
                    if let Some(name) = &each.key_var {
                        with_key = inner;
                        inner = Scope::Named(name.as_str(), &key, &with_key);
                    }
                    let around = (each.for_strip, each.endfor_strip);
                    self.elements(&inner, &each.template, around, written)?;
                }
                Ok(())
            }
        }
    }
}

/// Returns the marks of an element for the texts beside it.
fn strip(element: &Element) -> Strip {
    let both = |first: Strip, last: Strip| Strip::from((first.strip_start(), last.strip_end()));
    match element {
        Element::Literal(_) => Strip::None,
        Element::Interpolation(one) => one.strip,
        Element::Directive(directive) => match &**directive {
            Directive::If(one) => both(one.if_strip, one.endif_strip),
            Directive::For(each) => both(each.for_strip, each.endfor_strip),
        },
    }
}

/// Returns the text of a template.
pub(crate) fn raw(template: &TemplateExpr) -> &str {
    match template {
        TemplateExpr::QuotedString(text) => text,
        TemplateExpr::Heredoc(heredoc) => &heredoc.template,
    }
}

/// Takes white space away where `~` says so, within the line beside the mark (HCL, "Template Literals": each
/// line is a literal of its own).
fn trimmed(literal: &str, before: Strip, after: Strip) -> &str {
    let mut literal = literal;
    if before.strip_end() {
        let rest = literal.split_once('\n').map(|(_, rest)| rest);
        literal = match (literal.trim_start(), rest) {
            // The line is blank.
            (trimmed, Some(rest)) if trimmed.len() < rest.len() => rest,
            (trimmed, _) => trimmed,
        };
    }
    if after.strip_start() {
        let trimmed = literal.trim_end();
        let body = literal.strip_suffix('\n').unwrap_or(literal);
        literal = match body.rfind('\n').and_then(|end| literal.get(..=end)) {
            Some(lines) if trimmed.len() < lines.len() => lines,
            _ => trimmed,
        };
    }
    literal
}
