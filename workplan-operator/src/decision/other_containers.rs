//! Pods that containers which are not steps keep running. Such containers do not fail a plan, and their pods are
//! deleted after a while.

use jiff::{SignedDuration, Timestamp};
use kubeci_api::{StepPhase, StepStatus};
use kubeci_plan::Plan;

use super::action::{Action, Decision};
use super::conditions;
use super::in_pod::steps_in_pod;
use crate::observed::{ContainerState, ObservedContainer, ObservedPod, ObservedState, Owner};

/// How long a container may run after the steps of its pod before it is reported. Most such containers end soon.
const UNREPORTED: SignedDuration = SignedDuration::from_secs(5);

/// The maximum number of pods in the message.
const NAMED_MAX: usize = 5;

/// Deletes the pods that only such containers keep running, after `--sidecar-grace`, and reports it. Containers that
/// the kubelet ends with the pod do not count.
pub fn end_pods(plan: &Plan, decision: &mut Decision, state: &ObservedState) {
    let steps = &decision.status.steps;
    let kept =
        |task: usize, pod: &ObservedPod| Kept::of(&steps_in_pod(plan, task, steps, &pod.name), pod);
    let pods = state.pods.iter().filter(|(task, pod)| {
        pod.owner == Owner::Workplan && !decision.actions.contains(&Action::DeletePod(**task))
    });
    let kept: Vec<(usize, Kept)> = pods
        .filter_map(|(task, pod)| Some((*task, kept(*task, pod)?)))
        .collect();
    let (due, early): (Vec<_>, Vec<_>) = kept
        .into_iter()
        .partition(|(_, kept)| kept.since + state.sidecar_grace <= state.now);
    let is_reported = |kept: &Kept| kept.since + UNREPORTED <= state.now;
    for (_, kept) in &early {
        let until = kept.since + state.sidecar_grace;
        wake_at(
            decision,
            if is_reported(kept) {
                until
            } else {
                until.min(kept.since + UNREPORTED)
            },
        );
    }
    let early: Vec<_> = early
        .iter()
        .map(|(_, kept)| kept)
        .filter(|it| is_reported(it))
        .collect();
    if !early.is_empty() {
        let pods = listed(early.iter().map(|kept| {
            let until = kept.since + state.sidecar_grace;
            format!(
                "{1} keeps the pod {0} running until {until:.0}",
                kept.pod, kept.by
            )
        }));
        let message = format!(
            "{pods}. The steps of the pod have ended, and these containers are not steps. The pod is then deleted, with its \
             logs"
        );
        conditions::pods_kept(&mut decision.status, state.now, &message);
    } else if !due.is_empty() {
        let pods = listed(due.iter().map(|(_, kept)| {
            format!(
                "the pod {} was deleted, because {} kept it running",
                kept.pod, kept.by
            )
        }));
        let message = format!(
            "{pods}. The steps of the pod had ended {:#} before, and these containers are not steps",
            state.sidecar_grace
        );
        conditions::pods_ended(&mut decision.status, state.now, "PodDeleted", &message);
    } else if conditions::has_kept_pods(&decision.status) {
        let message = "the containers that kept pods running have ended";
        conditions::pods_ended(&mut decision.status, state.now, "Ended", message);
    }
    let deleted = due.into_iter().map(|(task, _)| Action::DeletePod(task));
    decision.actions.extend(deleted);
}

/// A pod that runs after its steps have ended.
struct Kept {
    pod: String,
    by: String,
    since: Timestamp,
}

impl Kept {
    fn of(steps: &[StepStatus], pod: &ObservedPod) -> Option<Self> {
        let over = !steps.is_empty() && steps.iter().all(|step| step.phase.is_final());
        if !over || pod.deleting || pod.is_quiet() {
            return None;
        }
        let by = others(steps, pod).filter(|it| it.runs_once() && !it.has_ended());
        let by: Vec<&str> = by.map(|it| it.name.as_str()).collect();
        let ran = |name: &str| {
            let mut steps = steps.iter().filter(|step| step.name == name);
            steps.any(|step| step.phase != StepPhase::Skipped)
        };
        let ends = pod.containers.iter().filter(|it| ran(&it.name));
        let ends = ends.filter_map(|it| match &it.state {
            ContainerState::Ended(end) => end.finished,
            _ => None,
        });
        let since = ends.max().or(pod.last_progress())?;
        (!by.is_empty()).then(|| Self {
            pod: pod.name.clone(),
            by: by.join(", "),
            since,
        })
    }
}

/// The containers that are not steps.
fn others<'a>(
    steps: &'a [StepStatus],
    pod: &'a ObservedPod,
) -> impl Iterator<Item = &'a ObservedContainer> {
    let is_step = |name: &str| steps.iter().any(|step| step.name == name);
    pod.containers.iter().filter(move |it| !is_step(&it.name))
}

fn wake_at(decision: &mut Decision, at: Timestamp) {
    decision.wake_at = Some(decision.wake_at.map_or(at, |known| known.min(at)));
}

fn listed(pods: impl ExactSizeIterator<Item = String>) -> String {
    let more = pods.len().saturating_sub(NAMED_MAX);
    let named: Vec<String> = pods.take(NAMED_MAX).collect();
    let named = named.join(", ");
    match more {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
