use std::ops::Range;

use jiff::Timestamp;
use kubeci_api::StepPhase;
use kubeci_plan::{Edge, EdgeState, Readiness};

use crate::cause::Cause;
use crate::observation::{HandOver, TaskObservation};
use crate::steps::Steps;
use crate::waiting::Waiting;

impl Steps<'_> {
    /// Whether a relay task is deadlocked: each remaining step waits, directly or indirectly, for a step whose end was
    /// not published in the pod.
    pub(crate) fn is_deadlocked(
        &self,
        task: usize,
        observed: &TaskObservation,
        now: Timestamp,
        waiting: &mut Waiting,
    ) -> bool {
        let Some(hand_over) = &observed.hand_over else {
            return false;
        };
        let range = self.plan.tasks[task].clone();
        let is_late = hand_over.done_by <= now;
        let is_left = |at: &usize| self.steps[*at].is_open() && observed.held.contains(at);
        let mut stuck = self.unpublished(task, hand_over);
        let mut changed = true;
        while changed {
            changed = false;
            for at in range.clone().filter(is_left) {
                let edges = self.plan.steps[at].edges.iter();
                let mut inside = edges.filter(|edge| range.contains(&edge.from));
                // The step may run by an edge that holds, and then does not wait.
                let may_miss = |edge: &Edge| is_late && self.state(edge) == EdgeState::Broken;
                let waits = inside.any(|edge| stuck[edge.from - range.start] || may_miss(edge));
                changed |= waits && !stuck[at - range.start];
                stuck[at - range.start] |= waits;
            }
        }
        let mut left = range.clone().filter(is_left).peekable();
        let is_deadlocked = left.peek().is_some() && left.all(|at| stuck[at - range.start]);
        let mut failed = range.filter(|&at| self.steps[at].phase() == StepPhase::Failed);
        if !is_deadlocked && !is_late && failed.next().is_some() {
            waiting.wake_at(hand_over.done_by);
        }
        is_deadlocked
    }

    /// Why a step of a relay task fails that should start: the end of a step that it waits for is never published in the
    /// pod.
    pub(crate) fn unseen_end(
        &self,
        task: usize,
        at: usize,
        observed: &TaskObservation,
    ) -> Option<Cause> {
        let hand_over = observed.hand_over.as_ref()?;
        let step = &self.steps[at];
        if step.phase() != StepPhase::Pending || self.readiness(at) != Readiness::Start {
            return None;
        }
        let unpublished = self.unpublished(task, hand_over);
        let range = &self.plan.tasks[task];
        let edges = self.plan.steps[at].edges.iter().map(|edge| edge.from);
        let mut inside = edges.filter(|from| range.contains(from));
        let from = inside.find(|&from| unpublished[from - range.start])?;
        let from = self.steps[from].name();
        let message = format!(
            "the step waits in its pod for the end of {from}, which cannot be observed there because a container of the \
             pod did not start; correct the step that did not start, or set `isolate: true` on {from}"
        );
        Some(Cause::new(Cause::END_NOT_OBSERVED, message))
    }

    /// For each step of a task whether it has ended without publishing its end, and never will: its container did not start,
    /// or waits for the end of such a step.
    fn unpublished(&self, task: usize, hand_over: &HandOver) -> Vec<bool> {
        let range = self.plan.tasks[task].clone();
        let is_lost = |at: &usize| self.is_lost(*at) && hand_over.members.contains(at);
        let never_came_up = |at: usize| is_lost(&at) && !hand_over.came_up.contains(&at);
        let mut unpublished: Vec<bool> = range.clone().map(never_came_up).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for at in range.clone().filter(is_lost) {
                let is_stuck =
                    !hand_over.ended.contains(&at) && self.waits_for_ever(at, &range, &unpublished);
                changed |= is_stuck && !unpublished[at - range.start];
                unpublished[at - range.start] |= is_stuck;
            }
        }
        unpublished
    }

    /// Whether a step runner waits for an end that is not published, and observes no broken edge.
    fn waits_for_ever(&self, at: usize, range: &Range<usize>, unpublished: &[bool]) -> bool {
        let edges = self.plan.steps[at].edges.iter();
        let mut inside = edges.filter(|edge| range.contains(&edge.from));
        let is_unpublished = |edge: &Edge| unpublished[edge.from - range.start];
        inside.clone().any(is_unpublished)
            && !inside.any(|edge| !is_unpublished(edge) && self.state(edge) == EdgeState::Broken)
    }

    /// Whether a step has failed or is skipped.
    fn is_lost(&self, at: usize) -> bool {
        matches!(
            self.steps[at].phase(),
            StepPhase::Failed | StepPhase::Skipped
        )
    }

    fn state(&self, edge: &Edge) -> EdgeState {
        edge.kind.state(self.steps[edge.from].outcome())
    }
}
