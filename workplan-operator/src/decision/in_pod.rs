use std::borrow::Cow;
use std::ops::Range;

use kubeci_api::{StepPhase, StepStatus};
use kubeci_plan::Plan;

use crate::pod_builder::has_left;

/// The steps of a task as far as a pod is concerned: one that goes on in the next pod has failed in this one, and the
/// open steps after it do not start here any more.
#[must_use]
pub fn steps_in_pod<'s>(
    plan: &Plan,
    task: usize,
    steps: &'s [StepStatus],
    pod: &str,
) -> Cow<'s, [StepStatus]> {
    let range = plan.tasks.get(task).cloned().unwrap_or_default();
    let Some(of_task) = steps.get(range.clone()) else {
        return Cow::Borrowed(&[]);
    };
    let mut goes_on: Vec<bool> = of_task.iter().map(|step| has_left(step, pod)).collect();
    if !goes_on.contains(&true) {
        return Cow::Borrowed(of_task);
    }
    let mut of_task = of_task.to_vec();
    for (step, _) in of_task.iter_mut().zip(&goes_on).filter(|(_, it)| **it) {
        step.phase = StepPhase::Failed;
    }
    while let Some(at) = next_waiting(plan, &range, &of_task, &goes_on) {
        goes_on[at] = true;
        of_task[at].phase = StepPhase::Skipped;
    }
    Cow::Owned(of_task)
}

/// A step that waits for one that goes on in the next pod, by an edge or by the order of the serial steps.
fn next_waiting(
    plan: &Plan,
    range: &Range<usize>,
    steps: &[StepStatus],
    goes_on: &[bool],
) -> Option<usize> {
    let waits = |at: &usize| {
        let edges = plan.steps[range.start + at].edges.iter();
        let mut inside = edges.filter(|edge| range.contains(&edge.from));
        let mut before = (0..*at).filter(|before| plan.steps[range.start + before].serial);
        inside.any(|edge| goes_on[edge.from - range.start]) || before.any(|before| goes_on[before])
    };
    let mut pending = (0..steps.len()).filter(|&at| steps[at].phase == StepPhase::Pending);
    pending.find(waits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::validate;
    use crate::testing::relay;

    #[test]
    fn steps_after_a_moved_step_move_too() {
        let spec = relay(&["| a b:a c:b d"]);
        let plan = validate(&spec).unwrap();
        let steps: Vec<StepStatus> = serde_json::from_value(json!([
            {"name": "a", "phase": "pending", "attempts": [{"number": 1, "pod": "plan-0"}, {"number": 2}]},
            {"name": "b", "phase": "pending"},
            {"name": "c", "phase": "pending"},
            {"name": "d", "phase": "running", "pod": "plan-0"},
        ]))
        .unwrap();
        let phases = |pod| -> Vec<StepPhase> {
            let steps = steps_in_pod(&plan, 0, &steps, pod);
            steps.iter().map(|step| step.phase).collect()
        };
        let skipped = StepPhase::Skipped;
        let expected = [StepPhase::Failed, skipped, skipped, StepPhase::Running];
        assert_eq!(phases("plan-0"), expected);
        assert_eq!(phases("plan-0-a2")[..3], [StepPhase::Pending; 3]);
    }
}
