use jiff::Timestamp;
use kubeci_api::StepPhase;

use crate::observation::TaskObservation;
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
        let is_unpublished = |at: usize| {
            let is_lost = matches!(
                self.steps[at].phase(),
                StepPhase::Failed | StepPhase::Skipped
            );
            is_lost && (is_late || !hand_over.came_up.contains(&at))
        };
        let is_left = |at: &usize| self.steps[*at].is_open() && observed.held.contains(at);
        let mut stuck: Vec<bool> = range.clone().map(is_unpublished).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for at in range.clone().filter(is_left) {
                let edges = self.plan.steps[at].edges.iter().map(|edge| edge.from);
                let mut inside = edges.filter(|from| range.contains(from));
                let waits = inside.any(|from| stuck[from - range.start]);
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
}
