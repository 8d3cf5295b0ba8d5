//! Steps that run nothing, but wait until a user approves or rejects them.

use jiff::{SignedDuration, Timestamp};
use kubeci_plan::{FailureKind, Readiness};

use crate::cause::Cause;
use crate::observation::{Answer, Approval};
use crate::retry::RetryRules;
use crate::step::{Edges, Pending, State, Step, StepReadiness};
use crate::steps::Steps;

impl Cause {
    /// The reason for a step that a user has rejected.
    pub const REJECTED: &str = "Rejected";

    /// The cause of a step that was not approved within its time limit.
    pub(crate) fn not_approved(limit: SignedDuration) -> Self {
        let message = format!("the step was not approved within its timeout of {limit:#}");
        Self::new(Self::TIMEOUT, message).of_kind(FailureKind::Timeout)
    }

    fn rejected(answer: &Answer) -> Self {
        let by = match &answer.by {
            Some(by) => format!("{by} rejected the step"),
            None => "the step was rejected".to_owned(),
        };
        let message = match &answer.message {
            Some(message) => format!("{by}: {message}"),
            None => by,
        };
        Self::new(Self::REJECTED, message)
    }
}

impl Step {
    /// Whether it waits for an approval.
    #[must_use]
    pub fn awaits_approval(&self) -> bool {
        matches!(self.state, State::Awaiting(_))
    }

    /// Begins to wait once all edges hold. The step ends with the answer of a user, or when it is stopped: nothing runs
    /// that would end later.
    pub(crate) fn observe_approval(&mut self, approval: &Approval, edges: &Edges, now: Timestamp) {
        let mut answered = now;
        if matches!(self.state, State::Pending(_)) {
            match (&edges.readiness, &edges.halt) {
                (StepReadiness::Skip(message), _) => return self.give_up(message.clone()),
                (_, Some(halt)) => return self.give_up(halt.skipped()),
                (StepReadiness::Fail(cause), None) => {
                    return self.fail(cause.clone(), &RetryRules::never(now));
                }
                (StepReadiness::Wait(message), None) => {
                    self.state = State::Pending(Pending::Message(message.clone()));
                    return;
                }
                (StepReadiness::Start, None) => {
                    // An answer that is older than the wait ends it at once, whenever it is observed.
                    answered = edges.ended.unwrap_or(now);
                    self.attempt.started = Some(answered);
                    self.state = State::Awaiting(approval.message.clone());
                }
            }
        }
        if let State::Stopping { cause, since } = &self.state {
            let (cause, since) = (cause.clone(), *since);
            return self.end_approval(since, State::Failed(cause));
        }
        match (&approval.answer, &edges.halt) {
            (_, Some(halt)) => self.end_approval(now, State::Failed(halt.stopped())),
            (Some(answer), None) => self.answer(answer, answered, now),
            (None, None) => {}
        }
    }

    /// The time of the answer counts as far as it can be true.
    fn answer(&mut self, answer: &Answer, observed: Timestamp, now: Timestamp) {
        let ended = answer.at.map_or(observed, |at| at.min(now));
        let state = if answer.approved {
            self.approved_by.clone_from(&answer.by);
            State::Completed
        } else {
            State::Failed(Cause::rejected(answer))
        };
        self.end_approval(ended, state);
    }

    fn end_approval(&mut self, ended: Timestamp, state: State) {
        self.attempt.ended = Some(ended).max(self.attempt.started);
        match state {
            State::Failed(cause) => self.fail(cause, &RetryRules::never(ended)),
            state => self.state = state,
        }
    }
}

impl Steps<'_> {
    /// The approvals that a plan waits for, if it waits for nothing else: no other step runs or may start. Each has the
    /// name and the message of its step.
    #[must_use]
    pub fn awaited_approvals(&self) -> Vec<(&str, &str)> {
        let is_open = |step: usize| self.steps[step].is_open();
        let mut tasks = 0..self.plan.tasks.len();
        let goes_on = tasks.any(|task| {
            let has_pod = self.is_open(task) && !self.plan.is_approval(task);
            has_pod && self.plan.task_may_start(task, |step| !is_open(step))
        });
        let awaited = self.steps.iter().filter_map(|step| match &step.state {
            State::Awaiting(message) => Some((step.name(), message.as_str())),
            _ => None,
        });
        awaited.filter(|_| !goes_on).collect()
    }

    /// When the last approval ended.
    pub(crate) fn last_approval(&self) -> Option<Timestamp> {
        let steps = self.plan.steps.iter().zip(&self.steps);
        let approvals = steps.filter(|(planned, _)| planned.is_approval);
        approvals.filter_map(|(_, step)| step.ended_here()).max()
    }

    /// Whether an approval waits for the tasks before its own, though the edges to it hold.
    pub(crate) fn awaits_tasks(&self, at: usize) -> bool {
        let step = &self.plan.steps[at];
        let may_start = || {
            let has_ended = |step: usize| !self.steps[step].is_open();
            self.plan.task_may_start(step.task, has_ended)
        };
        step.is_approval && self.readiness(at) == Readiness::Start && !may_start()
    }
}
