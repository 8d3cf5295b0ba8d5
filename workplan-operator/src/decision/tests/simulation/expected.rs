//! How the steps of a plan end without disturbances, by the definition of the edges and conditions alone.

use std::collections::BTreeMap;

use kubeci_api::{Step, StepPhase, Task};
use kubeci_plan::{EdgeKind, EdgeState, Outcome, Plan};

use super::plans::{Fate, Outcome as FirstOutcome, Scenario};
use super::reference;
use super::reference::conditions::{Ended, Verdict, verdict};
use crate::plan::validate;

/// The end of a step.
#[derive(Clone, Copy)]
struct End {
    phase: StepPhase,
    /// Whether its command ran.
    has_run: bool,
    /// Whether the other steps of its relay pod observe it.
    is_published: bool,
    /// Whether it ends before its pod is created.
    is_left_out: bool,
}

/// A step with what is known of it.
struct Known<'a> {
    at: usize,
    step: &'a Step,
    fate: Fate,
}

pub fn phases(scenario: &Scenario) -> BTreeMap<String, StepPhase> {
    let plan = validate(&scenario.workplan.spec).unwrap();
    let mut ends: BTreeMap<usize, End> = BTreeMap::new();
    let written = scenario.workplan.spec.tasks.iter().flat_map(Task::steps);
    let written: Vec<&Step> = written.collect();
    while ends.len() < plan.steps.len() {
        for (at, step) in written.iter().enumerate() {
            let fate = scenario.fates[&step.name];
            if let Some(end) = end(&plan, &Known { at, step, fate }, &ends) {
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
fn end(plan: &Plan, known: &Known, ends: &BTreeMap<usize, End>) -> Option<End> {
    let (at, fate) = (known.at, known.fate);
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
    let is_skipped = edges.iter().any(is_broken);
    let is_lost = !is_skipped && edges.iter().any(is_unseen);
    let decided = if is_skipped || is_lost {
        Verdict::Runs
    } else {
        verdict(known.step, |name| ended(plan, name, ends))
    };
    // A step that does not run because of its expressions has no container, which the failure of another could skip.
    let ends_pod = |end: &&End| end.phase == StepPhase::Failed && end.has_run;
    let is_skipped = is_skipped || decided == Verdict::Runs && before.iter().any(ends_pod);
    let phase = match decided {
        _ if is_skipped => StepPhase::Skipped,
        _ if is_lost => StepPhase::Failed,
        Verdict::IsSkipped => StepPhase::Skipped,
        Verdict::Runs if fate.completes() => StepPhase::Completed,
        Verdict::Runs | Verdict::Fails => StepPhase::Failed,
    };
    // What another pod decides has no container, and nobody waits for it.
    let is_known = |edge: &(usize, EdgeKind, &End)| !is_inside(edge.0) || edge.2.is_left_out;
    let is_left_out = edges.iter().any(|edge| is_broken(edge) && is_known(edge))
        || decided != Verdict::Runs && edges.iter().all(is_known);
    let observes_end = edges.iter().any(|edge| is_broken(edge) && !is_unseen(edge))
        || !edges.iter().any(is_unseen);
    Some(End {
        phase,
        has_run: !is_skipped && !is_lost && decided == Verdict::Runs,
        is_published: is_left_out || comes_up && observes_end,
        is_left_out,
    })
}

/// What expressions find out about a step.
fn ended(plan: &Plan, name: &str, ends: &BTreeMap<usize, End>) -> Ended {
    let at = plan.steps.iter().position(|it| it.name == name);
    let end = ends[&at.unwrap()];
    Ended {
        phase: reference::phase(end.phase),
        exit_code: end
            .has_run
            .then(|| i32::from(end.phase == StepPhase::Failed)),
    }
}

fn outcome(phase: StepPhase) -> Outcome {
    match phase {
        StepPhase::Completed => Outcome::Completed,
        StepPhase::Failed => Outcome::Failed,
        _ => Outcome::Skipped,
    }
}
