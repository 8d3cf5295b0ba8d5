//! What the condition and the expressions of a step decide.
//!
//! They are evaluated when the edges to the step hold. Then the steps that they name have ended, so that they always
//! have the same value, also after a restart.

use std::collections::{BTreeMap, BTreeSet};

use kubeci_expression::{Context, EvaluateError, StepValues};
use kubeci_plan::{Expressions, Readiness};

use crate::cause::Cause;
use crate::step::Step;
use crate::steps::Steps;

/// What the expressions of a step decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It runs, with the values of its variables, by their positions.
    Runs(BTreeMap<usize, String>),
    /// Its condition is false. The message says so.
    Skips(String),
    /// An expression has no value.
    Fails(Cause),
}

/// What a step that has not started does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// An edge to it is open.
    Wait,
    /// All edges to it hold, and so does its condition.
    Start,
    /// It never starts: an edge is broken, or its condition is false. The message has the reason.
    Skip(String),
    /// It fails: an expression has no value.
    Fail(Cause),
}

impl Verdict {
    fn of(expressions: &Expressions, context: &Context) -> Self {
        match Self::evaluated(expressions, context) {
            Ok(verdict) => verdict,
            Err(error) => Self::Fails(Cause::expression_failed(&error)),
        }
    }

    fn evaluated(expressions: &Expressions, context: &Context) -> Result<Self, EvaluateError> {
        if let Some(condition) = &expressions.when
            && !condition.holds(context)?
        {
            return Ok(Self::Skips(condition_is_false(condition.text())));
        }
        let variables = expressions.variables.iter();
        let values = variables.map(|it| Ok((it.position, it.value.to_text(context)?)));
        Ok(Self::Runs(values.collect::<Result<_, _>>()?))
    }
}

/// Why a step is skipped whose condition is false.
pub(crate) fn condition_is_false(condition: &str) -> String {
    format!("the condition is false: {condition}")
}

impl<'a> Steps<'a> {
    /// The steps, whose expressions name these values besides steps.
    #[must_use]
    pub fn with_values(self, values: Context) -> Self {
        Self { values, ..self }
    }

    /// What a step does next that has not started. A plan that ends evaluates nothing, and a step that has started was
    /// evaluated before.
    pub(crate) fn turn(&self, at: usize) -> Turn {
        match self.readiness(at) {
            Readiness::Wait => Turn::Wait,
            Readiness::Skip { because } => {
                Turn::Skip(self.broken(self.plan.steps[at].edges[because]))
            }
            Readiness::Start if self.halt_of(at).is_some() || self.steps[at].has_run() => {
                Turn::Start
            }
            Readiness::Start => match self.verdict(at) {
                None | Some(Verdict::Runs(_)) => Turn::Start,
                Some(Verdict::Skips(message)) => Turn::Skip(message.clone()),
                Some(Verdict::Fails(cause)) => Turn::Fail(cause.clone()),
            },
        }
    }

    /// What the expressions of a step decide; none if it has no expressions, or they name a step that has not ended.
    fn verdict(&self, at: usize) -> Option<&Verdict> {
        let expressions = &self.plan.steps[at].expressions;
        if expressions.is_empty() {
            return None;
        }
        if let Some(known) = self.verdicts[at].get() {
            return Some(known);
        }
        let context = self.context(at)?;
        Some(self.verdicts[at].get_or_init(|| Verdict::of(expressions, &context)))
    }

    fn context(&self, at: usize) -> Option<Context> {
        let expressions = &self.plan.steps[at].expressions;
        let named = self.named_values(at);
        let is_complete = named.len() == expressions.steps().len();
        let add = |context: Context, (name, values)| context.with_step(name, values);
        is_complete.then(|| named.into_iter().fold(self.values.clone(), add))
    }

    /// The values of the steps that the expressions of a step name, as far as they have ended.
    #[must_use]
    pub fn named_values(&self, at: usize) -> Vec<(&'a str, StepValues)> {
        let planned = &self.plan.steps[at];
        let named = planned.expressions.steps();
        let main = (0..self.steps.len()).filter(|&it| planned.is_final && !self.steps[it].is_final);
        let from = planned.edges.iter().map(|edge| edge.from);
        let from: BTreeSet<usize> = from.chain(main).collect();
        let from = from
            .into_iter()
            .filter(|&it| named.contains(self.plan.steps[it].name));
        from.filter_map(|it| Some((self.plan.steps[it].name, self.steps[it].values()?)))
            .collect()
    }

    /// The steps of a task that do not run though they have not ended, because their expressions say so: the pod of the
    /// task is created without them. In a relay the executor decides.
    #[must_use]
    pub fn left_out(&self, task: usize) -> BTreeSet<usize> {
        let mut left_out = BTreeSet::new();
        let steps = self.plan.tasks.get(task).cloned().unwrap_or_default();
        if self.plan.is_relay(task) {
            return left_out;
        }
        for at in steps.filter(|&at| !self.steps[at].has_run()) {
            let mut edges = self.plan.steps[at].edges.iter();
            let is_behind = edges.any(|edge| left_out.contains(&edge.from));
            let verdict = self.verdict(at);
            let runs = matches!(verdict, None | Some(Verdict::Runs(_)));
            if is_behind || !runs {
                left_out.insert(at);
            }
        }
        left_out
    }

    /// The values of the variables of a step that have expressions, by their positions; none before they are known.
    #[must_use]
    pub fn variables(&self, at: usize) -> BTreeMap<usize, String> {
        match self.verdict(at) {
            Some(Verdict::Runs(variables)) => variables.clone(),
            _ => BTreeMap::new(),
        }
    }
}

impl Step {
    /// What expressions name of it, once it has ended.
    fn values(&self) -> Option<StepValues> {
        Some(StepValues {
            phase: self.outcome()?.phase().to_owned(),
            exit_code: self.attempt.exit_code.map(i64::from),
            outputs: self.outputs.clone(),
        })
    }
}
