use std::collections::BTreeMap;

use jiff::Timestamp;
use kubeci_api::StepPhase;
use kubeci_plan::{FailureKind, Outcome};

use crate::cause::Cause;
use crate::halt::{Halt, rounded_up};
use crate::observation::{Lost, Observation, Place, Repeated, Run, Standby, Start};
use crate::retry::RetryRules;

/// The state machine of one step.
///
/// `Pending` → `Running` → `Completed` or `Failed`; `Pending` → `Failed` if it cannot start; `Pending` → `Skipped` if
/// it must not start; `Running` → `Stopping` → `Failed` if it is stopped; a failed attempt → `Pending` if there is
/// another one. `Running` may be missed. An approval is `Awaiting` instead of `Running`. A final state never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub(crate) name: String,
    /// Whether its failure counts as success for the plan.
    pub(crate) allow_failure: bool,
    /// Whether it starts when all steps that are not final have ended.
    pub(crate) is_final: bool,
    pub(crate) state: State,
    /// The current attempt.
    pub(crate) attempt: Attempt,
    /// The earlier attempts, each with the cause of its failure.
    pub(crate) earlier: Vec<(Attempt, Cause)>,
    /// The outputs of the current attempt.
    pub(crate) outputs: BTreeMap<String, String>,
    /// The Workplan in which it has run, if it is not this one.
    pub(crate) taken_over_from: Option<String>,
    /// When the current attempt may start. Set while it waits for that.
    pub(crate) retry_at: Option<Timestamp>,
    /// Who approved it.
    pub(crate) approved_by: Option<String>,
}

/// The state of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has not started.
    Pending(Pending),
    /// It runs.
    Running,
    /// It runs nothing, and waits for an approval, which the message names.
    Awaiting(String),
    /// It runs, and is being stopped.
    Stopping {
        /// Why. It then fails with this cause.
        cause: Cause,
        /// Since when. A step that had ended before is not affected.
        since: Timestamp,
    },
    /// It succeeded.
    Completed,
    /// It failed, or could not run.
    Failed(Cause),
    /// It does not run. The message has the reason.
    Skipped(String),
}

/// Why a step has not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// No observation says more than that it has not started.
    NotStarted,
    /// It waits for something else, which the message names.
    Message(String),
    /// A problem prevents its start.
    Blocked(Cause),
}

/// One attempt to run a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Where it runs.
    pub place: Option<Place>,
    /// When it started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Its exit code.
    pub exit_code: Option<i32>,
}

impl Attempt {
    /// Whether a container of it may have run.
    pub(crate) fn has_run(&self) -> bool {
        self.started.is_some() || self.ended.is_some() || self.exit_code.is_some()
    }

    /// The executor that it is in.
    #[must_use]
    pub fn executor(&self) -> Option<&str> {
        self.place.as_ref().map(|place| place.pod.as_str())
    }
}

/// The note on a failure that counts as success for the plan.
const FAILURE_ALLOWED: &str = "allowed by allowFailure";

/// The edges to a step.
pub(crate) struct Edges {
    pub readiness: StepReadiness,
    /// The latest end of the steps that the edges come from, and of that which had the slot of the step.
    pub ended: Option<Timestamp>,
    /// Why the plan ends, if it does.
    pub halt: Option<Halt>,
    /// Why the step waits though it may start: the message about the slots of its pod.
    pub slot: Option<String>,
}

pub(crate) enum StepReadiness {
    /// An edge is open. The message names it.
    Wait(String),
    Start,
    /// An edge is broken, or the condition is false. The message names it.
    Skip(String),
    /// An expression has no value.
    Fail(Cause),
}

impl Step {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it starts when all steps that are not final have ended.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.is_final
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The current attempt.
    #[must_use]
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// Its outputs, once it has ended.
    #[must_use]
    pub fn outputs(&self) -> &BTreeMap<String, String> {
        &self.outputs
    }

    /// The number of the current attempt. The first attempt has number 1.
    #[must_use]
    pub fn attempt_number(&self) -> u32 {
        u32::try_from(self.earlier.len() + 1).unwrap_or(u32::MAX)
    }

    /// Its phase.
    #[must_use]
    pub fn phase(&self) -> StepPhase {
        match self.state {
            State::Pending(_) => StepPhase::Pending,
            State::Running | State::Awaiting(_) | State::Stopping { .. } => StepPhase::Running,
            State::Completed => StepPhase::Completed,
            State::Failed(_) => StepPhase::Failed,
            State::Skipped(_) => StepPhase::Skipped,
        }
    }

    /// Its outcome, if it has ended.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::Pending(_) | State::Running | State::Awaiting(_) | State::Stopping { .. } => {
                None
            }
            State::Completed => Some(Outcome::Completed),
            State::Failed(_) => Some(Outcome::Failed),
            State::Skipped(_) => Some(Outcome::Skipped),
        }
    }

    /// All its attempts in this plan, in order.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        let earlier = self.earlier.iter().map(|(attempt, _)| attempt);
        let all = earlier.chain([&self.attempt]);
        all.filter(|_| !self.is_taken_over())
    }

    /// Whether it has run in another Workplan.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        self.taken_over_from.is_some()
    }

    /// When it ended, or its last attempt, in this plan.
    pub(crate) fn ended_here(&self) -> Option<Timestamp> {
        self.attempt.ended.filter(|_| !self.is_taken_over())
    }

    /// Whether an attempt of it has started.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.attempts().any(|attempt| attempt.started.is_some())
    }

    /// Why it has failed, if the plan fails because of it.
    #[must_use]
    pub fn failure(&self) -> Option<&Cause> {
        match &self.state {
            State::Failed(cause) if !self.allow_failure => Some(cause),
            _ => None,
        }
    }

    /// Whether it has completed, or its failure counts as that.
    #[must_use]
    pub fn counts_as_completed(&self) -> bool {
        match self.state {
            State::Completed => true,
            State::Failed(_) => self.allow_failure,
            State::Pending(_)
            | State::Running
            | State::Awaiting(_)
            | State::Stopping { .. }
            | State::Skipped(_) => false,
        }
    }

    /// Whether a container of it may have run.
    #[must_use]
    pub fn has_run(&self) -> bool {
        self.phase() == StepPhase::Running
            || self.state == State::Completed && !self.is_taken_over()
            || self.attempts().any(Attempt::has_run)
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.outcome().is_none()
    }

    /// Whether it runs and is being stopped.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping { .. })
    }

    /// Consumes an observation.
    pub(crate) fn observe(&mut self, observation: &Observation, edges: &Edges, rules: &RetryRules) {
        if !self.is_open() {
            return;
        }
        self.retry_at = None;
        match observation {
            Observation::Waiting => self.wait(Pending::NotStarted),
            Observation::Held(cause) => self.block(cause),
            Observation::Blocked { place, cause, .. } => {
                self.attempt.place = Some(place.clone());
                self.block(cause);
            }
            Observation::Standby(standby) => self.stand_by(standby, edges),
            Observation::Running { place, start } => self.run(place, *start, edges),
            Observation::Completed(run) => self.complete(run, edges, rules),
            Observation::Failed(cause, run) => self.end_unless_skipped(cause, run, edges, rules),
            Observation::NotStarted { cause, run, .. } => match (&edges.readiness, &edges.halt) {
                (StepReadiness::Skip(message), _) => self.give_up(message.clone()),
                (StepReadiness::Wait(_), None) => self.block(cause),
                (StepReadiness::Wait(_), Some(halt)) => self.give_up(halt.skipped()),
                (StepReadiness::Start | StepReadiness::Fail(_), _) => {
                    self.end_unless_skipped(cause, run, edges, rules);
                }
            },
            Observation::Skipped { message } => match (&edges.readiness, &edges.halt) {
                (StepReadiness::Skip(message), _) => self.give_up(message.clone()),
                (StepReadiness::Wait(_), Some(halt)) => self.give_up(halt.skipped()),
                (StepReadiness::Wait(message), None) => {
                    self.wait(Pending::Message(message.clone()));
                }
                (StepReadiness::Start | StepReadiness::Fail(_), _) => self.give_up(message.clone()),
            },
            Observation::Postponed { cause, run } => self.postpone(cause, run, edges, rules),
            Observation::Excluded { message, .. } => match &edges.readiness {
                StepReadiness::Skip(broken) => self.give_up(broken.clone()),
                StepReadiness::Wait(_) | StepReadiness::Start | StepReadiness::Fail(_) => {
                    self.give_up(message.clone());
                }
            },
            Observation::Approval(approval) => self.observe_approval(approval, edges, rules.now),
            Observation::Removed { place, cause } => {
                self.attempt.place.get_or_insert_with(|| place.clone());
                self.block(cause);
            }
        }
    }

    /// Leaves the step to the next executor. If the steps that it depends on have ended for good in this one, the next
    /// executor is only for it.
    fn postpone(&mut self, cause: &Cause, run: &Run, edges: &Edges, rules: &RetryRules) {
        match (&edges.readiness, &edges.halt) {
            (StepReadiness::Skip(message), _) => self.give_up(message.clone()),
            (_, Some(halt)) => self.give_up(halt.skipped()),
            (StepReadiness::Wait(message), None) => self.wait(Pending::Message(message.clone())),
            (StepReadiness::Fail(cause), None) => {
                self.end_failed(cause.clone(), run, edges, &RetryRules::never(rules.now));
            }
            (StepReadiness::Start, None) => {
                let rules = RetryRules {
                    is_untouched: true,
                    ..*rules
                };
                self.end_failed(cause.clone(), run, edges, &rules);
            }
        }
    }

    /// Ends the attempt. A step that was stopped has failed, whatever its exit code is.
    fn complete(&mut self, run: &Run, edges: &Edges, rules: &RetryRules) {
        if let Some(cause) = self.stopped_before(run) {
            return self.end_failed(cause, run, edges, rules);
        }
        self.end(run, edges);
        self.state = State::Completed;
    }

    /// Ends the attempt with a failure. A step that did not run is skipped if an edge to it is broken, or the plan ends.
    /// A step that was started while the plan ended was stopped.
    fn end_unless_skipped(&mut self, cause: &Cause, run: &Run, edges: &Edges, rules: &RetryRules) {
        let seemed_to_run = self.is_stopping() && run.start == Start::Never;
        let is_pending = matches!(self.state, State::Pending(_));
        let has_not_run = seemed_to_run || is_pending && !run.has_started();
        // The operator may have deleted its pod.
        let is_lost = cause.kind == FailureKind::Infrastructure;
        let cause = match (&edges.readiness, &edges.halt) {
            (StepReadiness::Skip(message), _) if has_not_run => {
                return self.give_up(message.clone());
            }
            (_, Some(halt)) if has_not_run => return self.give_up(halt.skipped()),
            (StepReadiness::Fail(cause), None) if has_not_run => {
                let rules = RetryRules::never(rules.now);
                return self.end_failed(cause.clone(), run, edges, &rules);
            }
            (_, Some(halt)) if is_pending || is_lost => halt.stopped(),
            _ => cause.clone(),
        };
        let cause = self.stopped_before(run).unwrap_or(cause);
        self.end_failed(cause, run, edges, rules);
    }

    fn end_failed(&mut self, cause: Cause, run: &Run, edges: &Edges, rules: &RetryRules) {
        self.end(run, edges);
        self.fail(cause, rules);
    }

    /// Why the step was stopped, unless it has surely ended before.
    fn stopped_before(&self, run: &Run) -> Option<Cause> {
        match &self.state {
            State::Stopping { cause, since } if !ended_before(run.ended, *since) => {
                Some(cause.clone())
            }
            _ => None,
        }
    }

    fn stand_by(&mut self, standby: &Standby, edges: &Edges) {
        match (standby, &edges.readiness) {
            _ if self.is_stopping() => {}
            (Standby::Up { place, since }, StepReadiness::Start) => match &edges.slot {
                Some(message) => self.wait(Pending::Message(message.clone())),
                None => self.run(place, Start::AtTurn { up: *since }, edges),
            },
            (Standby::Blocked { cause, .. }, _) => self.block(cause),
            (_, StepReadiness::Wait(message) | StepReadiness::Skip(message))
            | (Standby::Down { message }, StepReadiness::Start) => {
                self.wait(Pending::Message(message.clone()));
            }
            (_, StepReadiness::Fail(cause)) => self.wait(Pending::Message(cause.message.clone())),
        }
    }

    /// Has no effect on a step that runs.
    fn wait(&mut self, pending: Pending) {
        if matches!(self.state, State::Pending(_)) {
            self.state = State::Pending(pending);
        }
    }

    /// Keeps the first message of a reason, because the kubelet's message differs a little at each attempt.
    fn block(&mut self, cause: &Cause) {
        let is_known = matches!(&self.state, State::Pending(Pending::Blocked(known)) if known.reason == cause.reason);
        if !is_known {
            self.wait(Pending::Blocked(cause.clone()));
        }
    }

    fn run(&mut self, place: &Place, start: Start, edges: &Edges) {
        self.attempt.place = Some(place.clone());
        self.attempt.started = self.started(start, edges);
        if !self.is_stopping() {
            self.state = State::Running;
        }
    }

    /// Begins to stop the step, if it runs.
    pub(crate) fn stop(&mut self, cause: Cause, since: Timestamp) {
        if self.state == State::Running || self.awaits_approval() {
            self.state = State::Stopping { cause, since };
        }
    }

    /// Ends the attempt, after those that the executor has repeated.
    fn end(&mut self, run: &Run, edges: &Edges) {
        let repeated = run.repeated.iter();
        let repeated =
            repeated.map(|attempt| (repeated_in(&run.place, attempt), attempt.cause.clone()));
        self.earlier.extend(repeated);
        self.attempt = Attempt {
            place: Some(run.place.clone()),
            started: self.started(run.start, edges),
            ended: run.ended,
            exit_code: run.exit_code,
        };
        self.outputs.clone_from(&run.outputs);
    }

    fn started(&self, start: Start, edges: &Edges) -> Option<Timestamp> {
        match start {
            Start::At(time) => Some(time),
            Start::AtTurn { up } => edges.ended.max(up).or(self.attempt.started),
            Start::AsKnown => self.attempt.started,
            Start::Never => None,
        }
    }

    /// Ends the attempt in any state.
    pub(crate) fn lose(&mut self, lost: &Lost, rules: &RetryRules) {
        self.attempt.ended = self.attempt.started.and(lost.ended);
        let cause = match &self.state {
            State::Stopping { cause, .. } => cause.clone(),
            _ => lost.cause.clone(),
        };
        self.fail(cause, rules);
    }

    /// The cause of a failure, with a note if the failure is allowed.
    pub(crate) fn noted(&self, mut cause: Cause) -> Cause {
        if self.allow_failure {
            cause.message = match cause.message.as_str() {
                "" => FAILURE_ALLOWED.into(),
                message => format!("{FAILURE_ALLOWED}: {message}"),
            };
        }
        cause
    }

    /// A step that only seemed to run has no start.
    pub(crate) fn skip(&mut self, message: String) {
        if self.phase() == StepPhase::Running {
            self.attempt.started = None;
        }
        self.retry_at = None;
        self.state = State::Skipped(message);
    }
}

/// Whether a step has surely ended before a time.
fn ended_before(ended: Option<Timestamp>, time: Timestamp) -> bool {
    ended.is_some_and(|ended| rounded_up(ended) <= time)
}

fn repeated_in(place: &Place, attempt: &Repeated) -> Attempt {
    Attempt {
        place: Some(place.clone()),
        started: attempt.started,
        ended: attempt.ended,
        exit_code: attempt.exit_code,
    }
}

#[cfg(test)]
mod tests;
