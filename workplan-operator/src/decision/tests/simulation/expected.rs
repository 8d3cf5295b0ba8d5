//! How the steps of a plan end without disturbances, by the definition of the edges alone.

use std::collections::BTreeMap;

use kubeci_api::StepPhase;
use kubeci_plan::{EdgeKind, EdgeState, Outcome, Plan};

use super::plans::{Fate, Outcome as FirstOutcome, Scenario};
use crate::plan::validate;

/// The end of a step.
#[derive(Clone, Copy)]
struct End {
    phase: StepPhase,
    /// Whether the other steps of its relay pod observe it.
    is_published: bool,
    /// Whether it is skipped before its pod is created.
    is_left_out: bool,
}

pub fn phases(scenario: &Scenario) -> BTreeMap<String, StepPhase> {
    let plan = validate(&scenario.workplan.spec).unwrap();
    let mut ends: BTreeMap<usize, End> = BTreeMap::new();
    while ends.len() < plan.steps.len() {
        for at in 0..plan.steps.len() {
            let fate = scenario.fates[plan.steps[at].name];
            if let Some(end) = end(&plan, at, fate, &ends) {
                ends.insert(at, end);
            }
        }
    }
    let named = ends
        .into_iter()
        .map(|(at, end)| (plan.steps[at].name.to_owned(), end.phase));
    named.collect()
}

/// The end of a step, if all are known that it waits for.
fn end(plan: &Plan, at: usize, fate: Fate, ends: &BTreeMap<usize, End>) -> Option<End> {
    let step = &plan.steps[at];
    let task = &plan.tasks[step.task];
    let mut before = (task.start..at).filter(|before| plan.steps[*before].serial);
    let before: Option<Vec<&End>> = before.by_ref().map(|at| ends.get(&at)).collect();
    let edges = step.edges.iter();
    let edges: Option<Vec<(usize, EdgeKind, &End)>> = edges
        .map(|edge| Some((edge.from, edge.kind, ends.get(&edge.from)?)))
        .collect();
    let (before, edges) = (before?, edges?);
    let is_inside = |from: usize| plan.is_relay(step.task) && task.contains(&from);
    // A final step that cannot observe an end starts in another pod.
    let is_unseen = |(from, _, end): &(usize, EdgeKind, &End)| {
        is_inside(*from) && !end.is_published && !step.is_final
    };
    let is_broken = |(_, kind, end): &(usize, EdgeKind, &End)| {
        kind.state(Some(outcome(end.phase))) == EdgeState::Broken
    };
    let comes_up = !matches!(
        fate.outcome,
        FirstOutcome::HasNoImage | FirstOutcome::CannotStart
    );
    let phase =
        if edges.iter().any(is_broken) || before.iter().any(|end| end.phase == StepPhase::Failed) {
            StepPhase::Skipped
        } else if !fate.completes() || edges.iter().any(is_unseen) {
            StepPhase::Failed
        } else {
            StepPhase::Completed
        };
    // What is skipped by a step of another pod has no container, and nobody waits for it.
    let is_left_out = phase == StepPhase::Skipped
        && edges
            .iter()
            .any(|edge| is_broken(edge) && (!is_inside(edge.0) || edge.2.is_left_out));
    let observes_end = edges.iter().any(|edge| is_broken(edge) && !is_unseen(edge))
        || !edges.iter().any(is_unseen);
    Some(End {
        phase,
        is_published: is_left_out || comes_up && observes_end,
        is_left_out,
    })
}

fn outcome(phase: StepPhase) -> Outcome {
    match phase {
        StepPhase::Completed => Outcome::Completed,
        StepPhase::Failed => Outcome::Failed,
        _ => Outcome::Skipped,
    }
}
