use std::collections::BTreeSet;

use crate::check;
use crate::context::Context;
use crate::error::{CheckError, EvaluateError, Mistake, ParseError, Position, Problem, Syntax};
use crate::evaluate::evaluate;
use crate::functions::to_text;
use crate::limits::Limits;
use crate::node::{Kind, Node, STEPS};
use crate::parser::parse;
use crate::types::{Scope, Type};
use crate::value::Value;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    text: String,
    node: Node,
}

impl Expression {
    /// Parses the text of an expression.
    ///
    /// # Errors
    /// The text is not an expression, calls an unknown function, or exceeds [`Limits::EXPRESSION`].
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::parse_within(text, Limits::EXPRESSION)
    }

    pub(crate) fn parse_within(text: &str, limits: Limits) -> Result<Self, ParseError> {
        let node = parse(text, limits).map_err(|(at, problem)| ParseError {
            position: Position::of(text, at),
            problem,
        })?;
        let text = text.to_owned();
        Ok(Self { text, node })
    }

    /// The text that was parsed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names at which the expression begins to read the context: `steps`, `params`.
    #[must_use]
    pub fn roots(&self) -> BTreeSet<&str> {
        let mut references = References::default();
        references.collect(&self.node, &mut Vec::new());
        references.roots
    }

    /// The steps that the expression names.
    #[must_use]
    pub fn steps(&self) -> BTreeSet<&str> {
        let mut references = References::default();
        references.collect(&self.node, &mut Vec::new());
        references.steps
    }

    /// Checks names and types as far as they are known without values.
    ///
    /// # Errors
    /// A name is unknown, a step is not named literally, or types do not go together.
    pub fn check(&self, scope: &Scope) -> Result<Type, CheckError> {
        check::check(&self.node, scope).map_err(|(at, mistake)| self.mistake(at, mistake))
    }

    /// Checks as [`Expression::check`], and that the expression can be a condition.
    ///
    /// # Errors
    /// Also, the value is not a boolean.
    pub fn check_condition(&self, scope: &Scope) -> Result<(), CheckError> {
        let found = self.check(scope)?;
        if found.may_be_bool() {
            return Ok(());
        }
        Err(self.mistake(self.node.at, Mistake::NotBoolean(found.kind())))
    }

    /// Checks as [`Expression::check`], and that the expression can be the text of an environment variable.
    ///
    /// # Errors
    /// Also, the value is not a string, a number or a boolean.
    pub fn check_text(&self, scope: &Scope) -> Result<(), CheckError> {
        let found = self.check(scope)?;
        if found.may_be_text() || found.may_be_number() || found.may_be_bool() {
            return Ok(());
        }
        Err(self.mistake(self.node.at, Mistake::NotText(found.kind())))
    }

    fn mistake(&self, at: usize, problem: Mistake) -> CheckError {
        CheckError {
            position: Position::of(&self.text, at),
            problem,
        }
    }

    /// Evaluates the expression.
    ///
    /// # Errors
    /// A value is missing, values do not go together, or the evaluation costs more than the
    /// [`BUDGET`](crate::BUDGET).
    pub fn evaluate(&self, context: &Context) -> Result<Value, EvaluateError> {
        evaluate(&self.node, context).map_err(|problem| self.problem(problem.0, problem.1))
    }

    /// Evaluates a condition.
    ///
    /// # Errors
    /// As [`Expression::evaluate`]; also, the value is not a boolean.
    pub fn holds(&self, context: &Context) -> Result<bool, EvaluateError> {
        match self.evaluate(context)? {
            Value::Bool(value) => Ok(value),
            other => Err(self.problem(self.node.at, Problem::NotBoolean(other.excerpt()))),
        }
    }

    /// Evaluates the text of an environment variable: a string as it is, a number or boolean formatted.
    ///
    /// # Errors
    /// As [`Expression::evaluate`]; also, the value is a list, a map or null, or contains a zero byte.
    pub fn to_text(&self, context: &Context) -> Result<String, EvaluateError> {
        let value = self.evaluate(context)?;
        match to_text(&value) {
            Some(text) if text.contains('\0') => Err(self.problem(self.node.at, Problem::ZeroByte)),
            Some(text) => Ok(text),
            None => Err(self.problem(self.node.at, Problem::NotText(value.excerpt()))),
        }
    }

    fn problem(&self, at: usize, problem: Problem) -> EvaluateError {
        EvaluateError {
            expression: self.text.clone(),
            position: Position::of(&self.text, at),
            problem,
        }
    }

    /// The value of an expression that names nothing.
    pub(crate) fn constant(&self) -> Result<Value, ParseError> {
        evaluate(&self.node, &Context::new()).map_err(|problem| ParseError {
            position: Position::of(&self.text, problem.0),
            problem: Syntax::NotConstant(problem.1.to_string()),
        })
    }
}

#[derive(Default)]
struct References<'n> {
    roots: BTreeSet<&'n str>,
    steps: BTreeSet<&'n str>,
}

impl<'n> References<'n> {
    /// Collects the names that are not variables of macros around the node.
    fn collect(&mut self, node: &'n Node, variables: &mut Vec<&'n str>) {
        match &node.kind {
            Kind::Name(name) if !variables.contains(&name.as_str()) => {
                self.roots.insert(name);
            }
            Kind::Field { of, field } | Kind::Has { of, field }
                if of.is_name(STEPS) && !variables.contains(&STEPS) =>
            {
                self.roots.insert(STEPS);
                self.steps.insert(field);
            }
            Kind::Loop(it) => {
                self.collect(&it.over, variables);
                variables.push(&it.variable);
                it.filter.iter().for_each(|it| self.collect(it, variables));
                self.collect(&it.body, variables);
                variables.pop();
            }
            kind => kind.for_each_part(&mut |part| self.collect(part, variables)),
        }
    }
}
