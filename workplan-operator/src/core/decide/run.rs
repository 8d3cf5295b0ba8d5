//! A plan that runs: its steps brought up to date, its next pods.

use kubeci_api::{StepPhase, StepStatus, Workplan, WorkplanStatus};

use super::failure::Failure;
use super::settle::{fail_rest, settle};
use super::trouble::{Notice, Trouble};
use super::{Action, Certainty, Decision, Facts, NodeState, has_finalizer, home, order, report};
use crate::core::observe::{Owner, PodFacts};
use crate::core::plan::Plan;
use crate::core::refusal::Verdict;

pub fn decide(workplan: &Workplan, plan: &Plan, prior: WorkplanStatus, facts: &Facts) -> Decision {
    let mut run = Run {
        plan,
        facts,
        steps: steps(plan, &prior),
        notice: Notice::default(),
        actions: Vec::new(),
    };
    let node = home(workplan, &facts.pods);
    for task in 0..plan.tasks.len() {
        run.settle(workplan, task);
    }
    if let Some(node) = node {
        run.mind_the_node(node);
    }
    run.skip();
    run.fail_what_no_pod_has();
    run.skip();
    if facts
        .refusals
        .values()
        .all(|refusal| refusal.verdict != Verdict::Over)
    {
        run.start(workplan, node);
    }
    let Run {
        steps,
        notice,
        actions,
        ..
    } = run;
    let wake_at = notice.wake_at;
    let status = report::running(workplan, plan, prior, steps, notice.trouble, facts);
    Decision {
        status,
        actions,
        wake_at,
    }
}

struct Run<'a> {
    plan: &'a Plan<'a>,
    facts: &'a Facts,
    steps: Vec<StepStatus>,
    notice: Notice,
    actions: Vec<Action>,
}

impl Run<'_> {
    fn settle(&mut self, workplan: &Workplan, task: usize) {
        let steps = &mut self.steps[self.plan.tasks[task].clone()];
        if let Some(refusal) = self.facts.refusals.get(&task) {
            match refusal.verdict {
                Verdict::Never => {
                    fail_rest(steps, &Failure::new(refusal.reason, &refusal.message), None);
                }
                Verdict::Later => self.notice.trouble(Trouble::refused(refusal)),
                Verdict::Over => {}
            }
            return;
        }
        let now = self.facts.now;
        match self.facts.pods.get(&task) {
            Some(pod) if pod.owner == Owner::Ours => {
                settle(steps, pod, now, &mut self.notice);
                if given_up(steps, pod) {
                    self.actions.push(Action::DeletePod(task));
                }
            }
            Some(pod) if pod.owner == Owner::Former || pod.deleting => {
                self.notice.trouble(Trouble::name_in_use(&pod.name));
            }
            Some(pod) => {
                let text = format!(
                    "there is a pod {} that does not belong to this Workplan; delete it or rename the Workplan",
                    pod.name
                );
                fail_rest(steps, &Failure::new("PodNameTaken", text), None);
            }
            None if !was_started(steps) => {}
            None if self.facts.certainty == Certainty::Asked => {
                let name = crate::core::pod::name(workplan, task);
                fail_rest(steps, &Failure::of_missing_pod(&name), Some(now));
            }
            None if steps.iter().any(|step| !step.phase.is_final()) => {
                self.actions.push(Action::Ask);
            }
            None => {}
        }
    }

    fn mind_the_node(&mut self, node: &str) {
        let unfinished = self.steps.iter().any(|step| !step.phase.is_final());
        match self.facts.node {
            NodeState::Gone => {
                let text = format!("the node {node}, on which the plan's folder lies, is no more");
                fail_rest(
                    &mut self.steps,
                    &Failure::new("NodeGone", text),
                    Some(self.facts.now),
                );
            }
            NodeState::NotReady if unfinished => self.notice.trouble(Trouble::node_not_ready(node)),
            NodeState::NotReady | NodeState::Ready => {}
        }
    }

    fn skip(&mut self) {
        let pods = &self.facts.pods;
        order::skip(self.plan, &mut self.steps, |step| {
            let pod = pods.get(&step.task);
            pod.is_some_and(|pod| pod.owner == Owner::Ours && pod.has(&step.step.name))
        });
    }

    /// A pod is made of all steps that are left of its task; who changed that has lost the others.
    fn fail_what_no_pod_has(&mut self) {
        for (task, pod) in &self.facts.pods {
            let steps = self
                .plan
                .tasks
                .get(*task)
                .map(|range| &mut self.steps[range.clone()]);
            let Some(steps) = steps.filter(|_| pod.owner == Owner::Ours && pod.is_quiet()) else {
                continue;
            };
            let text = format!("the pod {} has ended without a container for it", pod.name);
            fail_rest(steps, &Failure::new("PodAltered", text), None);
        }
    }

    /// Creates the pods of all tasks that may start; before the first is placed only that one.
    fn start(&mut self, workplan: &Workplan, node: Option<&str>) {
        let facts = self.facts;
        let waits = |task: &usize| {
            let range = &self.plan.tasks[*task];
            !facts.pods.contains_key(task)
                && !was_started(&self.steps[range.clone()])
                && self.steps[range.clone()]
                    .iter()
                    .any(|step| !step.phase.is_final())
                && order::may_start(self.plan, &self.steps, *task)
        };
        let mut ready = (0..self.plan.tasks.len()).filter(waits).collect::<Vec<_>>();
        if node.is_none() {
            ready.truncate(usize::from(!self.awaits_a_node()));
        }
        ready.retain(|task| !facts.refusals.contains_key(task));
        if ready.is_empty() {
            return;
        }
        if has_finalizer(workplan) {
            self.actions
                .extend(ready.into_iter().map(Action::CreatePod));
        } else {
            self.actions.push(Action::AddFinalizer);
        }
    }

    fn awaits_a_node(&self) -> bool {
        let mut pods = self
            .facts
            .pods
            .iter()
            .filter(|(_, pod)| pod.owner == Owner::Ours);
        pods.any(|(task, _)| {
            let range = self.plan.tasks[*task].clone();
            self.steps[range].iter().any(|step| !step.phase.is_final())
        })
    }
}

/// The steps as they were last recorded, in the plan's order.
fn steps(plan: &Plan, prior: &WorkplanStatus) -> Vec<StepStatus> {
    let steps = plan.steps.iter().enumerate().map(|(at, step)| {
        let name = &step.step.name;
        let recorded = prior.steps.get(at).filter(|step| step.name == *name);
        recorded.cloned().unwrap_or_else(|| StepStatus {
            name: name.clone(),
            ..StepStatus::default()
        })
    });
    steps.collect()
}

/// Whether a step of the task is known to have run, so that its pod must not be created again.
fn was_started(steps: &[StepStatus]) -> bool {
    let ran = |step: &StepStatus| match step.phase {
        StepPhase::Pending | StepPhase::Skipped => false,
        StepPhase::Running | StepPhase::Completed | StepPhase::Failed => true,
    };
    steps.iter().any(ran)
}

/// Whether a pod waits for a container whose step has failed already, and nothing else is left in it.
pub fn given_up(steps: &[StepStatus], pod: &PodFacts) -> bool {
    let ended = steps.iter().all(|step| step.phase.is_final());
    let mut failed = steps.iter().filter(|step| step.phase == StepPhase::Failed);
    ended && !pod.is_quiet() && !pod.deleting && failed.any(|step| pod.may_run(&step.name))
}
