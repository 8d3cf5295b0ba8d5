//! The condition of a step and the expressions of its environment variables.

use std::collections::BTreeSet;
use std::fmt;

use kubeci_expression::{CheckError, Expression, ParseError, Scope, Type};
use thiserror::Error;

use crate::edge::Outcome;

/// The expressions of a step as they are written.
#[derive(Clone, Debug, Default)]
pub struct ExpressionTexts<'a> {
    /// The condition. If it is false, the step is skipped.
    pub when: Option<&'a str>,
    /// The environment variables whose values are expressions.
    pub variables: Vec<VariableText<'a>>,
}

/// An environment variable whose value is an expression, as it is written.
#[derive(Clone, Copy, Debug)]
pub struct VariableText<'a> {
    /// Its position among the variables of the step.
    pub position: usize,
    /// Its name.
    pub name: &'a str,
    /// The expression.
    pub text: &'a str,
}

/// The expressions of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expressions<'a> {
    /// The condition. If it is false, the step is skipped.
    pub when: Option<Expression>,
    /// The environment variables whose values are expressions.
    pub variables: Vec<Variable<'a>>,
}

/// An environment variable whose value is an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable<'a> {
    /// Its position among the variables of the step.
    pub position: usize,
    /// Its name.
    pub name: &'a str,
    /// The expression.
    pub value: Expression,
}

/// The field of a step that has an expression. As text it is the path in the step: `env[2].expr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpressionField {
    /// The condition.
    When,
    /// The environment variable at this position.
    Variable(usize),
}

/// A field whose expression is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {error}")]
pub struct InvalidExpression {
    /// The field.
    pub field: ExpressionField,
    /// What is wrong.
    pub error: ExpressionError,
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExpressionError {
    /// It is not an expression.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// What it names or computes cannot be right.
    #[error(transparent)]
    Check(#[from] CheckError),
}

impl fmt::Display for ExpressionField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::When => formatter.write_str("when"),
            Self::Variable(position) => write!(formatter, "env[{position}].expr"),
        }
    }
}

impl<'a> Expressions<'a> {
    /// Parses expressions and checks their names and types.
    ///
    /// # Errors
    /// All that are wrong, the condition first.
    pub fn parse(texts: &ExpressionTexts<'a>) -> Result<Self, Vec<InvalidExpression>> {
        if texts.when.is_none() && texts.variables.is_empty() {
            return Ok(Self::default());
        }
        let scope = scope();
        let mut invalid = Vec::new();
        let mut collect = |field, parsed: Result<Expression, ExpressionError>| {
            let error = |error| invalid.push(InvalidExpression { field, error });
            parsed.map_err(error).ok()
        };
        let when = texts.when.and_then(|text| {
            let parsed = parse(text, |it| it.check_condition(&scope));
            collect(ExpressionField::When, parsed)
        });
        let variables = texts.variables.iter().filter_map(|it| {
            let parsed = parse(it.text, |it| it.check_text(&scope));
            Some(Variable {
                position: it.position,
                name: it.name,
                value: collect(ExpressionField::Variable(it.position), parsed)?,
            })
        });
        let variables = variables.collect();
        if invalid.is_empty() {
            Ok(Self { when, variables })
        } else {
            Err(invalid)
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.when.is_none() && self.variables.is_empty()
    }

    /// All expressions, each with its field.
    pub fn all(&self) -> impl Iterator<Item = (ExpressionField, &Expression)> {
        let when = self.when.iter().map(|it| (ExpressionField::When, it));
        let variables = self.variables.iter();
        when.chain(variables.map(|it| (ExpressionField::Variable(it.position), &it.value)))
    }

    /// The steps that they name.
    #[must_use]
    pub fn steps(&self) -> BTreeSet<&str> {
        self.all().flat_map(|(_, it)| it.steps()).collect()
    }

    /// What they name besides steps: `event`, `workflow`, `workplan`.
    #[must_use]
    pub fn roots(&self) -> BTreeSet<&str> {
        let roots = self.all().flat_map(|(_, it)| it.roots());
        roots.filter(|it| *it != "steps").collect()
    }
}

fn parse(
    text: &str,
    check: impl FnOnce(&Expression) -> Result<(), CheckError>,
) -> Result<Expression, ExpressionError> {
    let parsed = Expression::parse(text)?;
    check(&parsed)?;
    Ok(parsed)
}

impl Outcome {
    /// The phase of a step that has ended in this way, as expressions compare it.
    #[must_use]
    pub const fn phase(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What the expressions of a step can name.
fn scope() -> Scope {
    const PHASES: [&str; 3] = [
        Outcome::Completed.phase(),
        Outcome::Failed.phase(),
        Outcome::Skipped.phase(),
    ];
    const EVENTS: [&str; 3] = ["add", "update", "delete"];
    let record = |fields: &[&'static str]| {
        let fields = fields.iter().map(|field| (*field, Type::Text));
        fields.collect::<Vec<_>>()
    };
    let mut event = record(&["apiVersion", "kind", "namespace", "name", "uid"]);
    event.insert(0, ("event", Type::OneOf(&EVENTS)));
    Scope::of_step(&PHASES)
        .without("params")
        .with("event", Type::Record(event))
        .with(
            "workflow",
            Type::Record(record(&["name", "namespace", "uid"])),
        )
        .with("workplan", Type::Record(record(&["name", "namespace"])))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parsed<'a>(
        when: &'a str,
        variables: &[&'a str],
    ) -> Result<Expressions<'a>, Vec<InvalidExpression>> {
        let variables = variables.iter().enumerate();
        Expressions::parse(&ExpressionTexts {
            when: Some(when),
            variables: variables
                .map(|(position, text)| VariableText {
                    position,
                    name: "A",
                    text,
                })
                .collect(),
        })
    }

    #[test]
    fn named_steps_and_roots_are_collected() {
        let found = parsed(
            r#"steps["a-b"].phase == "failed""#,
            &["steps.c.outputs.x + event.name"],
        );
        let found = found.unwrap();
        assert_eq!(found.steps(), ["a-b", "c"].into());
        assert_eq!(found.roots(), ["event"].into());
    }

    #[rstest]
    #[case::syntax("a ==", "when: column 5: ")]
    #[case::params(
        "params.x == 1",
        "when: column 1: there is no params; the names are steps, event, workflow, workplan"
    )]
    #[case::phase(
        r#"steps.a.phase == "Failed""#,
        "when: column 18: steps.a.phase is never"
    )]
    #[case::event(r#"event.event == "create""#, "when: column 16: event.event is never")]
    #[case::field("workplan.uid == ''", "when: column 9: workplan has no field uid")]
    #[case::type_("event.name", "when: column 6: the condition is a string")]
    fn wrong_condition_is_refused_with_column(#[case] text: &str, #[case] expected: &str) {
        let errors = parsed(text, &[]).unwrap_err();
        let said = errors[0].to_string();
        assert!(said.starts_with(expected), "{said}");
    }

    #[test]
    fn each_wrong_expression_is_an_error() {
        let errors = parsed("1", &["steps.a.exitCode", "[1]"]).unwrap_err();
        let fields: Vec<_> = errors.iter().map(|it| it.field).collect();
        assert_eq!(
            fields,
            [ExpressionField::When, ExpressionField::Variable(1)]
        );
        assert_eq!(fields[1].to_string(), "env[1].expr");
    }
}
