use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::cause::Cause;
use crate::waiting::Waiting;

/// The observation of one step by an executor. An observation is a state, not a change: it may be repeated.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// The executor starts it after the containers before it.
    Waiting,
    /// As [`Observation::Waiting`], but it cannot start.
    Blocked {
        /// Where it would run.
        place: Place,
        /// Why it cannot start.
        cause: Cause,
        /// When the step fails if the problem lasts.
        until: Option<Timestamp>,
    },
    /// The step waits for a container of the executor that has not succeeded.
    Held(Cause),
    /// It starts by itself as soon as the edges to it are satisfied.
    Standby(Standby),
    /// It runs.
    Running {
        /// Where it runs.
        place: Place,
        /// When it started.
        start: Start,
    },
    /// It ran and succeeded.
    Completed(Run),
    /// It ran and failed, or it could not start for too long.
    Failed(Cause, Run),
    /// Its container has ended without starting it. It fails after its dependencies have completed.
    NotStarted {
        /// Why it was not started.
        cause: Cause,
        /// What is known of it.
        run: Run,
        /// Whether its container has started.
        came_up: bool,
    },
    /// Its executor has skipped it, because its condition is false.
    Skipped {
        /// The message, with the condition.
        message: String,
    },
    /// The executor leaves it to the next one: a step that it depends on has ended there without a result and may be
    /// attempted again, or the executor was told to stop.
    Postponed {
        /// Why.
        cause: Cause,
        /// What is known of it.
        run: Run,
    },
    /// The executor does not start it, if this other step has failed.
    Excluded {
        /// The position of the other step in the plan.
        by: usize,
        /// Why not.
        message: String,
    },
    /// It runs nothing, but waits for a user.
    Approval(Approval),
    /// Its executor is being removed before it has started.
    Removed {
        /// Where it would have run.
        place: Place,
        /// Why it does not start there.
        cause: Cause,
    },
}

/// An approval, from the moment at which all edges to the step hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// What the step waits for, as its message says it.
    pub message: String,
    /// The answer of the user, if there is one. It may be older than the wait.
    pub answer: Option<Answer>,
}

/// The answer of a user to an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the step is approved.
    pub approved: bool,
    /// Who answered.
    pub by: Option<String>,
    /// When, if that is stated.
    pub at: Option<Timestamp>,
    /// Why.
    pub message: Option<String>,
}

/// A step that starts by itself as soon as the edges to it are satisfied.
#[derive(Clone, Debug, PartialEq)]
pub enum Standby {
    /// Its container runs, so it starts when the edges to it are satisfied.
    Up {
        /// Where it runs.
        place: Place,
        /// Since when.
        since: Option<Timestamp>,
    },
    /// It is being prepared.
    Down {
        /// Why it is not ready.
        message: String,
    },
    /// It cannot be prepared.
    Blocked {
        /// Why not.
        cause: Cause,
        /// When the step fails if the problem lasts.
        until: Option<Timestamp>,
    },
}

/// Where a step runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
}

/// What is known of a step that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where it ran.
    pub place: Place,
    /// When it started.
    pub start: Start,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Its exit code, unless the step was stopped.
    pub exit_code: Option<i32>,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
    /// The attempts before, which failed and which the executor has repeated itself, in the same place.
    pub repeated: Vec<Repeated>,
}

impl Run {
    /// Whether the step is known to have started.
    pub(crate) fn has_started(&self) -> bool {
        matches!(self.start, Start::At(_) | Start::AtTurn { .. })
    }
}

/// An attempt of a step that failed and that the executor has repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// When it started, if it did and that is known.
    pub started: Option<Timestamp>,
    /// When it ended, if that is known.
    pub ended: Option<Timestamp>,
    /// Its exit code, if that is known.
    pub exit_code: Option<i32>,
    /// Why it failed.
    pub cause: Cause,
}

/// When a step started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At this time.
    At(Timestamp),
    /// By itself: when the edges to it were satisfied and it was up.
    AtTurn {
        /// Since when it was up.
        up: Option<Timestamp>,
    },
    /// At the time that was observed before, if any.
    AsKnown,
    /// It did not start.
    Never,
}

/// The steps of a task that are open cannot run any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Why not.
    pub cause: Cause,
    /// When those that ran ended, if that is known.
    pub ended: Option<Timestamp>,
}

/// The observation of a task by an executor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskObservation {
    /// The name of the executor, as in [`Place::pod`]. A step that it does not complete may be attempted again in
    /// another one.
    pub executor: Option<String>,
    /// What is observed of its steps, by their positions in the plan.
    pub steps: Vec<(usize, Observation)>,
    /// Why the executor waits. It counts while a step of the task is open.
    pub waiting: Waiting,
    /// Why the steps that the observations leave open cannot run.
    pub lost: Option<Lost>,
    /// The steps that the executor starts or skips itself, by the edges of the plan.
    pub held: BTreeSet<usize>,
    /// Whether the executor may still start steps.
    pub is_live: bool,
    /// Whether the executor is being stopped, or was, because of a step or of the plan.
    pub is_stopped: bool,
    /// How the steps of a relay task observe the end of each other.
    pub hand_over: Option<HandOver>,
    /// Why the steps are lost that are open though the executor has ended.
    pub left_open: Option<Cause>,
}

/// How the steps of a relay task observe the end of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// The steps that have containers in the pod.
    pub members: BTreeSet<usize>,
    /// The steps whose containers have started. Other steps never publish their end.
    pub came_up: BTreeSet<usize>,
    /// The steps whose containers have ended.
    pub ended: BTreeSet<usize>,
    /// The latest time at which all steps of the task have observed the last end.
    pub done_by: Timestamp,
}

/// The observation of a plan by an executor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanObservation {
    /// What is observed of each task.
    pub tasks: Vec<TaskObservation>,
    /// Why no step can run any more.
    pub lost: Option<Lost>,
    /// Whether the shared folder is lost with its executor.
    pub is_folder_in_executor: bool,
    /// Why the whole plan waits. It counts while a step is open.
    pub waiting: Waiting,
}
