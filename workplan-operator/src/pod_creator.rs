//! Creates the pods of a Workplan.

use std::collections::HashSet;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kubeci_api::{StepStatus, Task};
use kubeci_compiler::first_pod_requests;

use crate::decision::{Action, Decision};
use crate::metrics::Metrics;
use crate::observed::assigned_node;
use crate::pod_builder::{self, Placement};
use crate::reconciliation::Reconciliation;
use crate::workplan_requests::{Created, RequestError};

pub struct PodCreator {
    pub metrics: Metrics,
    /// The image of this operator.
    pub image: String,
}

impl PodCreator {
    /// Creates the pods that are due in parallel; returns whether the observed state has changed.
    pub async fn create(&self, run: &mut Reconciliation, decision: &Decision) -> bool {
        let tasks = decision.actions.iter().filter_map(|action| match action {
            Action::CreatePod(task) if !run.created.contains(task) => Some(*task),
            _ => None,
        });
        let pods: Vec<_> = tasks
            .map(|task| (task, self.build(run, decision, task)))
            .collect();
        let creations = pods.iter().map(|(_, pod)| {
            run.requests
                .create_pod(&run.workplan, pod, &run.observed.limits)
        });
        let results = join_all(creations).await;
        let mut changed = false;
        for ((task, pod), result) in pods.iter().zip(results) {
            changed |= self.record(run, *task, pod, result);
        }
        changed
    }

    /// Records the result of a creation; returns whether the observed state has changed.
    fn record(
        &self,
        run: &mut Reconciliation,
        task: usize,
        pod: &Pod,
        result: Result<Created, RequestError>,
    ) -> bool {
        run.created.insert(task);
        let (namespace, name) = (pod.namespace(), pod.name_any());
        match result {
            Ok(Created::Yes) => {
                self.metrics.pods_created.inc();
                tracing::info!(namespace, pod = name, "pod created");
                false
            }
            Ok(Created::Exists(observed)) => {
                let mut observed = *observed;
                if let Some(before) = run.observed.pods.remove(&task) {
                    observed.succeed(before);
                }
                run.observed.pods.insert(task, observed);
                true
            }
            Ok(Created::Refused(refusal)) => {
                tracing::info!(namespace, pod = name, refusal.message, "pod refused");
                run.observed.refusals.insert(task, refusal);
                true
            }
            Err(error) => {
                run.error = Some(error);
                false
            }
        }
    }

    fn build(&self, run: &Reconciliation, decision: &Decision, task: usize) -> Pod {
        let node = assigned_node(&run.workplan, &run.observed.pods);
        let limits = &run.observed.limits;
        let room = || {
            let (spec, steps) = (&run.workplan.spec, &decision.status.steps);
            let tasks = open_tasks(&spec.tasks, steps).map(|task| limits.complete(task));
            let first = open_tasks(&spec.tasks[..task], steps).count();
            let max_parallel = spec.max_parallel.map(Into::into);
            let tasks: Vec<_> = tasks.collect();
            first_pod_requests(spec.order, &tasks, &spec.finally, first, max_parallel)
        };
        // Later pods follow the first one, unless only final steps are left.
        let finally = &run.workplan.spec.finally;
        let steps = &decision.status.steps;
        let is_left = |step: &StepStatus| !step.phase.is_final() && !finally.contains(&step.name);
        let others_follow = steps.is_empty() || steps.iter().any(is_left);
        let mut steps = decision.status.steps.iter();
        let placement = Placement {
            node,
            number: pod_builder::number(&run.workplan, task, &decision.status.steps),
            steps: &decision.status.steps,
            nothing_has_run: !steps.any(has_run),
            room: (node.is_none() && others_follow).then(room).flatten(),
            limits,
            image: &self.image,
        };
        let ended: HashSet<&str> = decision
            .status
            .steps
            .iter()
            .filter(|step| step.phase.is_final())
            .map(|step| step.name.as_str())
            .collect();
        pod_builder::build(
            &run.workplan,
            task,
            |step| !ended.contains(step.name.as_str()),
            placement,
        )
    }
}

/// Whether a container of a step may have run in this Workplan. An approval has none; that of a step that is taken over
/// has run in another one.
pub fn has_run(step: &StepStatus) -> bool {
    step.phase.has_started() && step.pod.is_some()
}

/// Whether a step of the task was not taken over.
fn is_open(task: &Task, steps: &[StepStatus]) -> bool {
    let taken_over = taken_over(steps);
    task.steps()
        .any(|step| !taken_over.contains(step.name.as_str()))
}

/// The tasks without the steps that are taken over, and without edges to them.
fn open_tasks<'a>(tasks: &'a [Task], steps: &'a [StepStatus]) -> impl Iterator<Item = Task> + 'a {
    let taken_over = taken_over(steps);
    let open = tasks.iter().filter(|task| is_open(task, steps)).cloned();
    open.map(move |mut task| {
        let is_own = |name: &String| !taken_over.contains(name.as_str());
        for list in [&mut task.serial_steps, &mut task.parallel_steps] {
            list.retain(|step| is_own(&step.name));
            for step in list {
                step.dependency.retain(is_own);
                step.on_failure.retain(is_own);
                step.after.retain(is_own);
            }
        }
        task
    })
}

fn taken_over(steps: &[StepStatus]) -> HashSet<&str> {
    let taken_over = steps.iter().filter(|it| it.taken_over_from.is_some());
    taken_over.map(|it| it.name.as_str()).collect()
}
