//! The observation of a task: from its pod, from the refusal of the pod, or from its absence.

use jiff::Timestamp;
use kubeci_api::Workplan;
use kubeci_engine::{
    Cause, Lost, Observation, PATIENCE, PlanObservation, Severity, Steps, TaskObservation, Waiting,
    WaitingCause,
};
use kubeci_plan::Plan;

use super::preparation::{self, Unprepared};
use super::task_steps::TaskSteps;
use super::{cause, native, other_containers, relay, waiting};
use crate::observed::{Certainty, NodeState, ObservedPod, ObservedState, Owner};
use crate::pod_builder;
use crate::refusal::{Refusal, Verdict};

/// The observation of a plan whose folder is on `node`.
pub fn observe(
    workplan: &Workplan,
    plan: &Plan,
    steps: &Steps,
    state: &ObservedState,
    node: Option<&str>,
) -> PlanObservation {
    let reader = Reader {
        workplan,
        plan,
        steps,
        state,
    };
    let mut observed = PlanObservation {
        tasks: (0..plan.tasks.len()).map(|it| reader.task(it)).collect(),
        ..PlanObservation::default()
    };
    match (state.node, node) {
        (NodeState::Gone, Some(node)) => {
            let message = format!(
                "the node {node} was deleted, and the shared folder of the plan with it; to run the plan again, create a new \
                 Workplan"
            );
            observed.lost = Some(Lost {
                cause: Cause::new("NodeGone", message),
                ended: Some(state.now),
            });
        }
        (NodeState::NotReady, Some(node)) => observed.waiting.add(node_not_ready(node)),
        (NodeState::Ready, _) | (_, None) => {}
    }
    observed
}

struct Reader<'a> {
    workplan: &'a Workplan,
    plan: &'a Plan<'a>,
    steps: &'a Steps<'a>,
    state: &'a ObservedState,
}

impl Reader<'_> {
    fn task(&self, task: usize) -> TaskObservation {
        let pod = self.state.pods.get(&task);
        let mut observed = match (self.state.refusals.get(&task), pod) {
            (Some(refusal), _) => self.refused(refusal),
            (None, Some(pod)) => self.pod(task, pod),
            (None, None) if self.is_missing(task) => {
                let name = pod_builder::name(self.workplan, task);
                lost(cause::of_missing_pod(&name), Some(self.state.now))
            }
            (None, None) => TaskObservation::default(),
        };
        if let Some(pod) = pod.filter(|pod| pod.owner == Owner::Workplan) {
            self.add_held(task, pod, &mut observed);
        }
        observed
    }

    fn is_missing(&self, task: usize) -> bool {
        self.steps.was_started(task) && self.state.certainty == Certainty::Listed
    }

    fn refused(&self, refusal: &Refusal) -> TaskObservation {
        let cause = Cause::new(refusal.reason, &refusal.message);
        let now = self.state.now;
        let until = self.state.refused_since.unwrap_or(now) + PATIENCE;
        let mut waiting = Waiting::default();
        match refusal.verdict {
            Verdict::Over => {}
            Verdict::Never => return lost(cause, None),
            Verdict::Perhaps if until <= now => return lost(cause, None),
            Verdict::Perhaps => {
                waiting.wake_at(until);
                waiting.add(WaitingCause::given_up(Severity::Refused, cause));
            }
            Verdict::Later => waiting.add(WaitingCause::new(Severity::Refused, cause)),
        }
        TaskObservation {
            waiting,
            ..TaskObservation::default()
        }
    }

    fn pod(&self, task: usize, pod: &ObservedPod) -> TaskObservation {
        match pod.owner {
            Owner::Workplan => self.own_pod(task, pod),
            Owner::Foreign if !pod.deleting => lost(name_taken(&pod.name), None),
            Owner::Former | Owner::Foreign => {
                let mut observed = TaskObservation::default();
                observed.waiting.add(name_in_use(&pod.name));
                observed
            }
        }
    }

    fn own_pod(&self, task: usize, pod: &ObservedPod) -> TaskObservation {
        let steps = TaskSteps::new(self.plan, self.steps, task);
        let is_relay = self.plan.is_relay(task);
        let now = self.state.now;
        if let Some(cause) = other_containers::failed_init(steps, pod) {
            let mut observed = lost(cause, Some(now));
            if !is_relay {
                observed.steps = native::observe_containers(self.workplan, steps, pod, now);
            }
            return observed;
        }
        let mut observed = TaskObservation::default();
        match preparation::observe(steps, pod, now, &mut observed.waiting) {
            Some(Unprepared::Fails(cause)) => return lost(cause, Some(now)),
            Some(Unprepared::Waits) => observed.steps = held_steps(steps),
            None if is_relay => observed.steps = relay::observe(steps, pod, now),
            None => observed.steps = native::observe(self.workplan, steps, pod, now),
        }
        let warning = self.state.warnings.get(&task);
        let given_up = waiting::observe(steps, pod, warning, now, &mut observed.waiting);
        observed.lost = given_up.map(|cause| Lost {
            cause,
            ended: Some(now),
        });
        observed
    }

    /// A pod has a container for each open step of its task. If something removed a container, its step is lost.
    fn add_held(&self, task: usize, pod: &ObservedPod, observed: &mut TaskObservation) {
        let steps = TaskSteps::new(self.plan, self.steps, task);
        let held = steps.iter().filter(|(_, step)| pod.has(step.name()));
        observed.held = held.map(|(at, _)| at).collect();
        observed.is_live = !pod.is_quiet();
        if self.plan.is_relay(task) {
            observed.hand_over = relay::hand_over(steps, pod, self.state.now);
        }
        let is_step = |name: &str| steps.has(name);
        if pod.is_quiet() && !preparation::must_be_recreated(is_step, pod) {
            let message = format!(
                "the pod {} has ended and has no container for the step; check the webhooks that change pods",
                pod.name
            );
            observed.left_open = Some(Cause::new("PodAltered", message));
        }
    }
}

fn lost(cause: Cause, ended: Option<Timestamp>) -> TaskObservation {
    TaskObservation {
        lost: Some(Lost { cause, ended }),
        ..TaskObservation::default()
    }
}

fn held_steps(steps: TaskSteps) -> Vec<(usize, Observation)> {
    let held = || Observation::Held(cause::without_runner());
    steps.iter().map(|(at, _)| (at, held())).collect()
}

fn node_not_ready(node: &str) -> WaitingCause {
    let message = format!(
        "the node {node} of the plan is not ready; the plan continues when the node is ready again"
    );
    WaitingCause::new(Severity::Away, Cause::new("NodeNotReady", message))
}

fn name_in_use(pod: &str) -> WaitingCause {
    let message = format!(
        "the pod {pod} of an earlier Workplan of the same name is still being removed; the plan starts after that"
    );
    WaitingCause::new(Severity::NotYetFree, Cause::new("PodNameInUse", message))
}

fn name_taken(pod: &str) -> Cause {
    let message = format!(
        "the pod {pod} exists and does not belong to this Workplan; delete the pod, or rename the Workplan"
    );
    Cause::new("PodNameTaken", message)
}
