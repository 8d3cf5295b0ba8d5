//! The observation of a task: from its pod, from the refusal of the pod, or from its absence.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kubeci_api::Workplan;
use kubeci_engine::{
    Cause, Lost, Observation, PATIENCE, Place, PlanObservation, Severity, Step, Steps,
    TaskObservation, Waiting, WaitingCause,
};
use kubeci_plan::{FailureKind, Plan};

use super::preparation::{self, Unprepared};
use super::task_steps::TaskSteps;
use super::{cause, native, other_containers, relay, waiting};
use crate::observed::{Certainty, NodeState, ObservedPod, ObservedState, Owner};
use crate::pod_builder;
use crate::refusal::{Refusal, Verdict};

/// The observation of a plan whose folder is on `node`, from one pod of each task, and from refusals of the next one.
pub fn observe(
    workplan: &Workplan,
    plan: &Plan,
    steps: &Steps,
    pods: &BTreeMap<usize, &ObservedPod>,
    refusals: &BTreeMap<usize, Refusal>,
    state: &ObservedState,
    node: Option<&str>,
) -> PlanObservation {
    let reader = Reader {
        workplan,
        plan,
        steps,
        pods,
        refusals,
        state,
    };
    let mut observed = PlanObservation {
        tasks: (0..plan.tasks.len()).map(|it| reader.task(it)).collect(),
        is_folder_in_executor: workplan.spec.workspace.is_empty_dir(),
        ..PlanObservation::default()
    };
    match (state.node, node) {
        (NodeState::Gone, Some(node)) => {
            let message = format!(
                "the node {node} was deleted, and the shared folder of the plan with it; to run the plan again, create a new \
                 Workplan"
            );
            observed.lost = Some(Lost {
                cause: Cause::new("NodeGone", message).of_kind(FailureKind::Infrastructure),
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
    pods: &'a BTreeMap<usize, &'a ObservedPod>,
    refusals: &'a BTreeMap<usize, Refusal>,
    state: &'a ObservedState,
}

impl Reader<'_> {
    fn task(&self, task: usize) -> TaskObservation {
        if let Some(refusal) = self.refusals.get(&task) {
            return self.refused(refusal);
        }
        if let Some(name) = self.missing(task) {
            let mut observed = lost(cause::of_missing_pod(name), Some(self.state.now));
            observed.executor = Some(name.to_owned());
            return observed;
        }
        let Some(pod) = self.pods.get(&task) else {
            return TaskObservation::default();
        };
        let mut observed = self.pod(task, pod);
        let last = self.state.pods.get(&task).unwrap_or(pod);
        if last.name != pod.name {
            observed = self.earlier_pod(pod, last, observed.steps);
        }
        if last.owner == Owner::Workplan {
            self.add_held(task, last, &mut observed);
        }
        observed
    }

    /// The pod that the steps of an open task name, if it does not exist any more. A later pod of the task is only
    /// created after that.
    fn missing(&self, task: usize) -> Option<&str> {
        let name = self.steps.executor(task)?;
        let number = |name| pod_builder::parse(self.workplan, name).map(|(_, number)| number);
        let last = self.state.pods.get(&task);
        let is_replaced = last.is_some_and(|pod| number(&pod.name) > number(name));
        let is_certain = self.state.certainty == Certainty::Listed || is_replaced;
        let is_there = last.is_some_and(|pod| pod.is_or_succeeds(name));
        (self.steps.is_open(task) && is_certain && !is_there).then_some(name)
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
            Owner::Workplan => TaskObservation {
                executor: Some(pod.name.clone()),
                is_stopped: pod.stopped,
                ..self.own_pod(task, pod)
            },
            Owner::Foreign if !pod.deleting => lost(name_taken(&pod.name), None),
            Owner::Former | Owner::Foreign => {
                let mut observed = TaskObservation::default();
                observed.waiting.add(name_in_use(&pod.name));
                observed
            }
        }
    }

    /// A pod with a later one: it only counts for the steps that have run in it, or that no later pod has.
    fn earlier_pod(
        &self,
        pod: &ObservedPod,
        last: &ObservedPod,
        mut steps: Vec<(usize, Observation)>,
    ) -> TaskObservation {
        steps.retain(|(at, observation)| {
            let Some(step) = self.steps.all().get(*at) else {
                return false;
            };
            let pods = last.earlier.iter().chain([last]);
            let mut later = pods.skip_while(|it| it.name != pod.name).skip(1);
            match step.attempt().executor() {
                Some(executor) => executor == pod.name,
                None => has_run(observation) || !later.any(|it| it.has(step.name())),
            }
        });
        TaskObservation {
            executor: Some(pod.name.clone()),
            steps,
            is_stopped: pod.stopped,
            ..TaskObservation::default()
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
            Some(Unprepared::Fails(cause) | Unprepared::Lost(cause)) => {
                return lost(cause, Some(now));
            }
            Some(Unprepared::Waits) => observed.steps = held_steps(steps),
            Some(Unprepared::Removed(cause)) => observed.steps = removed_steps(steps, pod, &cause),
            None if is_relay => {
                let task = &self.workplan.spec.tasks[task];
                observed.steps = relay::observe(steps, task, pod, now);
            }
            None => observed.steps = native::observe(self.workplan, steps, pod, now),
        }
        if self.steps.goes_on_after(task, &pod.name) {
            return observed;
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
        let is_last = !self.steps.goes_on_after(task, &pod.name);
        // Those that go on in the next pod are held here only as long as they run, and can skip their step.
        let is_held = |step: &Step| {
            let mut containers = pod.containers.iter();
            containers.any(|it| it.name == step.name() && (is_last || it.runs()))
        };
        let held = steps.iter().filter(|(_, step)| is_held(step));
        observed.held = held.map(|(at, _)| at).collect();
        observed.is_live = !pod.is_quiet();
        if self.plan.is_relay(task) {
            observed.hand_over = relay::hand_over(steps, pod, self.state.now);
        }
        if pod.is_quiet() && is_last {
            let message = format!(
                "the pod {} has ended and has no container for the step; check the webhooks that change pods",
                pod.name
            );
            observed.left_open = Some(Cause::new("PodAltered", message));
        }
    }
}

fn has_run(observation: &Observation) -> bool {
    match observation {
        Observation::Running { .. } | Observation::Completed(_) => true,
        Observation::Failed(_, run) => run.exit_code.is_some(),
        _ => false,
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

fn removed_steps(steps: TaskSteps, pod: &ObservedPod, cause: &Cause) -> Vec<(usize, Observation)> {
    let removed = |step: &Step| Observation::Removed {
        place: Place {
            pod: pod.name.clone(),
            container: step.name().to_owned(),
        },
        cause: cause.clone(),
    };
    steps.iter().map(|(at, step)| (at, removed(step))).collect()
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
