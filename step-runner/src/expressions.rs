//! The condition of a step, and its environment variables that are expressions. They are parsed and evaluated once the
//! edges to the step are satisfied, so that a runner that waits needs no memory for them.

use std::collections::BTreeSet;

use kubeci_expression::{Context, EvaluateError, Expression, ParseError, StepValues, Value};

use crate::arguments::Run;
use crate::dependency::{self, Ended};
use crate::error::Error;
use crate::log;
use crate::record::End;
use crate::relay::Relay;
use crate::status::StepResult;
use crate::supervised::Shared;

/// The expressions of a step, and the values that its pod does not know, as texts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expressions {
    /// The condition.
    pub when: Option<String>,
    /// The environment variables of the command.
    pub set: Vec<Named>,
    /// The values of steps of other pods.
    pub step_values: Vec<Named>,
    /// The values of other names than `steps`.
    pub values: Vec<Named>,
}

/// A text with a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub text: String,
}

/// What a step does whose edges are satisfied.
pub enum Decision {
    /// Its command starts, with these environment variables.
    Start(Vec<Named>),
    /// It ends without its command.
    End(StepResult),
}

/// Evaluates the condition and then the environment variables.
pub fn decide(relay: &Relay<'_>, run: &Run, step: &Shared) -> Result<Decision, Error> {
    let known = Known {
        relay,
        run,
        step,
        names: BTreeSet::new(),
        context: Context::new(),
    };
    let (end, message) = match known.variables() {
        Ok(variables) => return Ok(Decision::Start(variables)),
        Err(Stop::ConditionFalse(text)) => (
            End::ConditionFalse,
            format!("the condition is false: {text}"),
        ),
        Err(Stop::Failed(message)) => {
            log::line(format_args!("{message}"));
            (End::ExpressionFailed, message)
        }
        Err(Stop::Postponed(because)) => (End::Postponed, because),
        Err(Stop::Runner(error)) => return Err(error),
    };
    Ok(Decision::End(StepResult::new(end, message)))
}

/// Why the command does not start.
enum Stop {
    ConditionFalse(String),
    /// An expression or a value is wrong.
    Failed(String),
    /// A step that an expression names goes on in another pod, or may do so.
    Postponed(String),
    /// The runner itself fails.
    Runner(Error),
}

impl From<EvaluateError> for Stop {
    fn from(error: EvaluateError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Runner(error)
    }
}

/// The values that the expressions before have named.
struct Known<'a> {
    relay: &'a Relay<'a>,
    run: &'a Run,
    step: &'a Shared,
    names: BTreeSet<String>,
    context: Context,
}

impl Known<'_> {
    fn variables(mut self) -> Result<Vec<Named>, Stop> {
        let run = self.run;
        let written = &run.expressions;
        if let Some(text) = &written.when
            && !self.parse(text)?.holds(&self.context)?
        {
            return Err(Stop::ConditionFalse(text.clone()));
        }
        let variables = written.set.iter().map(|variable| {
            Ok(Named {
                name: variable.name.clone(),
                text: self.parse(&variable.text)?.to_text(&self.context)?,
            })
        });
        variables.collect()
    }

    /// Parses an expression, and the values that it names.
    fn parse(&mut self, text: &str) -> Result<Expression, Stop> {
        let expression = Expression::parse(text).map_err(|error| wrong(text, &error))?;
        for name in expression.roots() {
            let values = &self.run.expressions.values;
            let value = values.iter().find(|it| it.name == name);
            if let Some(value) = value.filter(|_| self.names.insert(name.to_owned())) {
                let parsed = Value::parse(&value.text).map_err(|error| wrong(name, &error))?;
                self.context = std::mem::take(&mut self.context).with(name, parsed);
            }
        }
        for step in expression.steps() {
            if self.names.insert(format!("steps.{step}")) {
                let values = self.values_of(step)?;
                self.context = std::mem::take(&mut self.context).with_step(step, values);
            }
        }
        Ok(expression)
    }

    fn values_of(&self, step: &str) -> Result<StepValues, Stop> {
        let given = &self.run.expressions.step_values;
        if let Some(given) = given.iter().find(|it| it.name == step) {
            return StepValues::parse(&given.text).map_err(|error| wrong(step, &error));
        }
        let is_repeated = self.run.repeated.iter().any(|it| it == step);
        let waits = |until| self.step.wait_for(step, until);
        match dependency::values(self.relay, step, is_repeated, waits)? {
            Ok(values) => Ok(values),
            Err(Ended { how, .. }) => Err(Stop::Postponed(format!("{step} {how}"))),
        }
    }
}

fn wrong(what: &str, error: &ParseError) -> Stop {
    Stop::Failed(format!("{what}: {error}"))
}
