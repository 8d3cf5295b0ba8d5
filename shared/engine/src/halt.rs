//! What ends a plan before all its steps have ended: a cancel, a time limit, or the first failure.

use jiff::{SignedDuration, Timestamp};
use kubeci_api::{StepPhase, WorkplanStatus};

use crate::cause::Cause;
use crate::observation::PlanObservation;
use crate::step::{State, Step};
use crate::steps::Steps;
use crate::waiting::{Waiting, without_outlook};

const CANCELLED: &str = "Cancelled";
/// The reason for a plan whose first step has not started in time.
pub const PENDING_TIMEOUT: &str = "PendingTimeout";

/// The reason for a step that was stopped for another reason than its own time limit.
pub const STOPPED: &str = "Stopped";

/// The reason for a plan whose first final step has not started in time.
pub(crate) const FINALLY_PENDING_TIMEOUT: &str = "FinallyPendingTimeout";

/// Separates why a plan ends from what it still waits for.
const STILL: &str = ". Its steps are being stopped; it waits: ";
/// Separates why a plan ends from what its final steps wait for.
const FINALLY: &str = ". Its final steps run";

/// What may end a plan besides its steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Whether the plan is cancelled.
    pub cancel: bool,
    /// Whether the first failure ends the plan.
    pub fail_fast: bool,
    /// How long the plan may run, from the start of its first step.
    pub timeout: Option<SignedDuration>,
    /// How long the plan may wait for the start of its first step, from its creation or its last approval.
    pub pending_timeout: Option<SignedDuration>,
    /// When the Workplan was created.
    pub created: Option<Timestamp>,
    /// How long each step may run, by its position. Not set for a step whose executor keeps the limit.
    pub step_timeouts: Vec<Option<SignedDuration>>,
}

/// Why a plan ends before all its steps have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Halt {
    kind: Kind,
    /// What the steps that did not run to their end say.
    because: String,
    /// What the plan says.
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cancelled,
    Timeout,
    PendingTimeout,
    FailFast,
    /// Of the final steps.
    FinallyPendingTimeout,
}

/// What ends now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    halt: Option<Halt>,
    final_halt: Option<Halt>,
    /// Steps at their time limit, with the limit and when it was reached.
    steps: Vec<(usize, SignedDuration, Timestamp)>,
}

impl Due {
    /// Whether nothing ends now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.halt.is_none() && self.final_halt.is_none() && self.steps.is_empty()
    }
}

impl Halt {
    fn cancelled() -> Self {
        let message = "the Workplan was cancelled";
        Self {
            kind: Kind::Cancelled,
            because: message.into(),
            message: message.into(),
        }
    }

    fn timeout(limit: SignedDuration, waited_for: &str) -> Self {
        let because = format!("the Workplan ran longer than its timeout of {limit:#}");
        Self {
            kind: Kind::Timeout,
            message: format!("{because}; it waited for {waited_for}"),
            because,
        }
    }

    /// Of the first step, or of the first final one.
    fn pending_timeout(kind: Kind, limit: Option<SignedDuration>, waited_for: &str) -> Self {
        let step = match kind {
            Kind::FinallyPendingTimeout => "final step",
            _ => "step",
        };
        let limit = limit.map_or_else(String::new, |limit| format!(" of {limit:#}"));
        let because = format!("no {step} started within the pendingTimeout{limit}");
        Self {
            kind,
            message: format!("{because}; the Workplan waited: {waited_for}"),
            because,
        }
    }

    fn fail_fast(failed: &str) -> Self {
        let because = format!("the step {failed} failed, and failFast is set");
        Self {
            kind: Kind::FailFast,
            message: because.clone(),
            because,
        }
    }

    /// The halt that a status records; it does not depend on the time.
    fn recorded(prior: &WorkplanStatus, control: &Control, steps: &Steps) -> Option<Self> {
        let limit = control.timeout.unwrap_or_default();
        let halt = match prior.reason.as_deref() {
            Some(CANCELLED) if control.cancel => Self::cancelled(),
            Some(Cause::TIMEOUT) if control.timeout.is_some() => Self::timeout(limit, ""),
            Some(PENDING_TIMEOUT) => {
                Self::pending_timeout(Kind::PendingTimeout, control.pending_timeout, "")
            }
            _ => return Self::of_failure(control, steps),
        };
        Some(halt.with_message(prior))
    }

    /// The halt of the final steps that a status records.
    fn recorded_finally(prior: &WorkplanStatus, control: &Control) -> Option<Self> {
        let is_recorded = prior.reason.as_deref() == Some(FINALLY_PENDING_TIMEOUT);
        let halt =
            || Self::pending_timeout(Kind::FinallyPendingTimeout, control.pending_timeout, "");
        is_recorded.then(|| halt().with_message(prior))
    }

    fn with_message(self, prior: &WorkplanStatus) -> Self {
        let message = prior.message.as_deref().unwrap_or_default();
        let ends = [STILL, FINALLY].map(|end| message.find(end));
        let end = ends.into_iter().flatten().min().unwrap_or(message.len());
        Self {
            message: message[..end].to_owned(),
            ..self
        }
    }

    fn of_failure(control: &Control, steps: &Steps) -> Option<Self> {
        let ends_plan = |step: &&Step| step.failure().is_some_and(|cause| cause.reason != STOPPED);
        let failed = steps.main_steps().find(ends_plan);
        let failed = failed.filter(|_| control.fail_fast)?;
        Some(Self::fail_fast(failed.name()))
    }

    pub(crate) fn is_cancel(&self) -> bool {
        self.kind == Kind::Cancelled
    }

    /// Why the plan ends, and for what it still waits; none if the failed step says so.
    pub(crate) fn cause(&self, waiting: Option<&Cause>, in_final_steps: bool) -> Option<Cause> {
        let reason = match self.kind {
            Kind::Cancelled => CANCELLED,
            Kind::Timeout => Cause::TIMEOUT,
            Kind::PendingTimeout => PENDING_TIMEOUT,
            Kind::FinallyPendingTimeout => FINALLY_PENDING_TIMEOUT,
            Kind::FailFast => return None,
        };
        let waiting = waiting.map(|it| it.sentence(None));
        let still = match (in_final_steps, waiting) {
            (false, None) => String::new(),
            (false, Some(waiting)) => format!("{STILL}{waiting}"),
            (true, None) => FINALLY.into(),
            (true, Some(waiting)) => format!("{FINALLY}; they wait: {waiting}"),
        };
        Some(Cause::new(reason, format!("{}{still}", self.message)))
    }

    /// What the plan says beside another reason for its end.
    pub(crate) fn note(&self) -> String {
        let mut because = self.because.chars();
        let first = because.next().map(|it| it.to_uppercase().to_string());
        format!(" {}{}.", first.unwrap_or_default(), because.as_str())
    }

    /// Why a step that ran has failed.
    pub(crate) fn stopped(&self) -> Cause {
        let message = format!("the step was stopped: {}", self.because);
        Cause::new(STOPPED, message)
    }

    /// Why a step does not run.
    pub(crate) fn skipped(&self) -> String {
        format!("skipped: {}", self.because)
    }
}

impl Steps<'_> {
    /// Continues to end the plan, if its status records that it ends.
    pub fn resume_halt(&mut self, prior: &WorkplanStatus, control: &Control) {
        self.halt = Halt::recorded(prior, control, self);
        self.final_halt = Halt::recorded_finally(prior, control);
    }

    /// Why a step ends with the plan, if it does.
    pub(crate) fn halt_of(&self, at: usize) -> Option<&Halt> {
        if self.plan.steps[at].is_final {
            self.final_halt.as_ref()
        } else {
            self.halt.as_ref()
        }
    }

    /// A plan whose steps have all completed has not ended early, though it was being stopped. Its final steps decide.
    pub(crate) fn end_halt(&mut self) {
        if self.main_steps().all(Step::counts_as_completed) {
            self.halt = None;
        }
    }

    /// Whether a step of a task is open that ends with the plan.
    #[must_use]
    pub fn is_ending(&self, task: usize) -> bool {
        let range = self.plan.tasks.get(task).cloned();
        let mut steps = range.into_iter().flatten();
        steps.any(|at| self.steps[at].is_open() && self.halt_of(at).is_some())
    }

    /// Whether a step of a task has reached its time limit.
    #[must_use]
    pub fn has_timed_out(&self, task: usize) -> bool {
        let timed_out = |cause: &Cause| cause.reason == Cause::TIMEOUT;
        let mut steps = self.of_task(task).iter();
        steps.any(|step| match step.state() {
            State::Stopping { cause, .. } | State::Failed(cause) => timed_out(cause),
            _ => false,
        })
    }

    /// Whether the plan ends before all its steps have ended.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.halt.is_some()
    }

    /// What ends now. Adds to `waiting` when the next limit is reached.
    pub fn due(
        &self,
        control: &Control,
        waiting: &mut Waiting,
        prior: &WorkplanStatus,
        now: Timestamp,
    ) -> Due {
        let mut due = Due::default();
        for (at, step) in self.steps.iter().enumerate() {
            let limit = control.step_timeouts.get(at).copied().flatten();
            let started = step.attempt.started;
            let may_run = matches!(step.state, State::Running | State::Awaiting(_));
            if let (true, Some(limit), Some(started)) = (may_run, limit, started)
                && let Some(end) = reached(started, limit, now, waiting)
            {
                due.steps.push((at, limit, end));
            }
        }
        if self.halt.is_none() && self.has_open_main_step() {
            due.halt = self.due_halt(control, waiting, prior, now);
        } else if self.halt.is_none() && self.is_in_final_steps() {
            due.halt = Halt::of_failure(control, self);
        }
        if self.final_halt.is_none() && self.is_in_final_steps() {
            due.final_halt = self.due_final_halt(control, waiting, prior, now);
        }
        due
    }

    /// The final steps wait for the start of the first one no longer than the others did.
    fn due_final_halt(
        &self,
        control: &Control,
        waiting: &mut Waiting,
        prior: &WorkplanStatus,
        now: Timestamp,
    ) -> Option<Halt> {
        let limit = control.pending_timeout?;
        let steps = self.plan.steps.iter().zip(&self.steps);
        let mut steps = steps.filter(|(planned, _)| planned.is_final && !planned.is_approval);
        let has_begun =
            |it: &Step| !it.is_open() || it.phase() == StepPhase::Running || it.has_run_before();
        if steps.any(|(_, step)| has_begun(step)) || !self.awaited_approvals().is_empty() {
            return None;
        }
        let since = prior.finally_at.as_ref().map_or(now, |since| since.0);
        let since = self.last_approval().map_or(since, |it| it.max(since));
        let end = reached(since, limit, now, waiting);
        end.map(|_| {
            Halt::pending_timeout(
                Kind::FinallyPendingTimeout,
                Some(limit),
                &waited_on(waiting, prior),
            )
        })
    }

    fn due_halt(
        &self,
        control: &Control,
        waiting: &mut Waiting,
        prior: &WorkplanStatus,
        now: Timestamp,
    ) -> Option<Halt> {
        if control.cancel {
            return Some(Halt::cancelled());
        }
        if let Some(halt) = Halt::of_failure(control, self) {
            return Some(halt);
        }
        let attempts = self.steps.iter().flat_map(Step::attempts);
        let started = attempts.filter_map(|attempt| attempt.started).min();
        if let (Some(limit), Some(started)) = (control.timeout, started)
            && reached(started, limit, now, waiting).is_some()
        {
            return Some(Halt::timeout(limit, &self.waited_for(waiting, prior)));
        }
        let waits_for_pod = !self.has_begun() && self.awaited_approvals().is_empty();
        let pending = control.pending_timeout.filter(|_| waits_for_pod);
        if let (Some(limit), Some(created)) = (pending, control.created) {
            let since = self.last_approval().map_or(created, |it| it.max(created));
            let end = reached(since, limit, now, waiting);
            let halt = |_| {
                Halt::pending_timeout(
                    Kind::PendingTimeout,
                    Some(limit),
                    &waited_on(waiting, prior),
                )
            };
            return end.map(halt);
        }
        None
    }

    /// Whether a step has begun in this plan that is neither an approval nor final.
    fn has_begun(&self) -> bool {
        let steps = self.plan.steps.iter().zip(&self.steps);
        let mut steps = steps.filter(|(planned, _)| !planned.is_approval && !planned.is_final);
        steps.any(|(_, step)| step.has_run() || !step.is_open() && !step.is_taken_over())
    }

    /// What a plan that runs waits for.
    fn waited_for(&self, waiting: &Waiting, prior: &WorkplanStatus) -> String {
        const NAMED_MAX: usize = 5;
        let running = self
            .steps
            .iter()
            .filter(|it| it.phase() == StepPhase::Running);
        let running: Vec<&str> = running.map(Step::name).collect();
        match running.as_slice() {
            [] => waited_on(waiting, prior),
            [only] => format!("the step {only}"),
            all => {
                let named = all[..all.len().min(NAMED_MAX)].join(", ");
                let more = all.len().saturating_sub(NAMED_MAX);
                let more = if more > 0 {
                    format!(" and {more} more")
                } else {
                    String::new()
                };
                format!("the steps {named}{more}")
            }
        }
    }

    /// Begins to stop what ends now. The next [`Steps::settle`] skips the steps that do not start any more.
    pub fn stop(&mut self, due: Due) {
        for (at, limit, end) in due.steps {
            let cause = if self.plan.steps[at].is_approval {
                Cause::not_approved(limit)
            } else {
                Cause::timeout(limit.unsigned_abs())
            };
            self.steps[at].stop(cause, end);
        }
        self.halt = due.halt.or(self.halt.take());
        self.final_halt = due.final_halt.or(self.final_halt.take());
    }

    /// Stops the steps that run, and skips those that no executor can start any more.
    pub(crate) fn apply_halt(&mut self, observed: &PlanObservation, now: Timestamp) {
        for at in 0..self.steps.len() {
            let Some(halt) = self.halt_of(at).cloned() else {
                continue;
            };
            let task = observed.tasks.get(self.plan.steps[at].task);
            let may_start = task.is_some_and(|it| it.is_live && it.held.contains(&at));
            match self.steps[at].phase() {
                StepPhase::Running => self.steps[at].stop(halt.stopped(), now),
                StepPhase::Pending if !may_start => {
                    let message = self.broken_edge(at).unwrap_or_else(|| halt.skipped());
                    self.steps[at].give_up(message);
                }
                _ => {}
            }
        }
    }
}

/// When a limit was reached; if it was not, it wakes the plan. A start in whole seconds was rounded down.
fn reached(
    start: Timestamp,
    limit: SignedDuration,
    now: Timestamp,
    waiting: &mut Waiting,
) -> Option<Timestamp> {
    let end = rounded_up(start)
        .saturating_add(limit)
        .unwrap_or(Timestamp::MAX);
    if end > now {
        waiting.wake_at(end);
    }
    (end <= now).then_some(end)
}

/// The latest time that a time may have been before it was cut to whole seconds.
pub(crate) fn rounded_up(time: Timestamp) -> Timestamp {
    let cut = time.subsec_nanosecond() == 0;
    let second = SignedDuration::from_secs(i64::from(cut));
    time.saturating_add(second).unwrap_or(time)
}

/// Why a plan waits, or waited when its status was written.
fn waited_on(waiting: &Waiting, prior: &WorkplanStatus) -> String {
    let recorded = |reason: &String| {
        let message = prior.message.as_deref().unwrap_or_default();
        Cause::new(reason, message)
    };
    let now = waiting.cause().map(|waiting| waiting.cause.clone());
    match now.or_else(|| prior.reason.as_ref().map(recorded)) {
        Some(cause) => without_outlook(&cause.sentence(None)).to_owned(),
        None => "no problem was reported".into(),
    }
}
