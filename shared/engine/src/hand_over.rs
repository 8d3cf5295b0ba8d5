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
        let is_unpublished = |at: usize| self.is_lost(at) && !hand_over.publishes(at);
        let mut stuck: Vec<bool> = range.clone().map(is_unpublished).collect();
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
        let edges = self.plan.steps[at].edges.iter().map(|edge| edge.from);
        let mut inside = edges.filter(|from| self.plan.tasks[task].contains(from));
        let from = inside.find(|&from| {
            observed.held.contains(&from) && self.is_lost(from) && !hand_over.publishes(from)
        })?;
        let from = self.steps[from].name();
        let message = format!(
            "the step waits in its pod for the end of {from}, which cannot be observed there because a container of the \
             pod did not start; correct the step that did not start, or set `isolate: true` on {from}"
        );
        Some(Cause::new(Cause::END_NOT_OBSERVED, message))
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

impl HandOver {
    /// Whether an ended step has published its end. It has not if its container did not start, or waits for ever.
    fn publishes(&self, at: usize) -> bool {
        self.came_up.contains(&at) && self.ended.contains(&at)
    }
}
