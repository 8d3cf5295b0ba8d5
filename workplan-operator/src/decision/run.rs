//! A plan that runs: its steps brought up to date, its next pods.

use jiff::Timestamp;
use kubeci_api::{StepPhase, StepStatus, Workplan, WorkplanStatus};
use kubeci_plan::Plan;

use super::failure::{Failure, PATIENCE};
use super::settle::settle;
use super::trouble::{Notice, Trouble};
use super::{
    Action, Certainty, Decision, Facts, NodeState, earlier_status, has_finalizer, holds_folder,
    home, order, relay, report, unprepared,
};
use crate::observed::{ContainerFacts, Owner, PodFacts};
use crate::refusal::Verdict;

pub fn decide(workplan: &Workplan, plan: &Plan, prior: WorkplanStatus, facts: &Facts) -> Decision {
    let mut run = Run {
        plan,
        facts,
        steps: steps(plan, &prior),
        notice: Notice::default(),
        actions: Vec::new(),
    };
    let node = home(workplan, &facts.pods);
    run.settle_all(workplan, node);
    run.give_up();
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
    /// Brings all steps up to date, again until none changes: what a relay's containers do follows from steps that
    /// may be in pods after theirs, and nothing is said of what waits for a step that is over by then.
    fn settle_all(&mut self, workplan: &Workplan, node: Option<&str>) {
        loop {
            self.notice = Notice::default();
            let before: Vec<StepPhase> = self.steps.iter().map(|step| step.phase).collect();
            for task in 0..self.plan.tasks.len() {
                self.settle(workplan, task);
            }
            if let Some(node) = node {
                self.mind_the_node(node);
            }
            self.skip();
            self.fail_what_no_pod_has();
            self.skip();
            if self.steps.iter().map(|step| step.phase).eq(before) {
                return;
            }
        }
    }

    fn settle(&mut self, workplan: &Workplan, task: usize) {
        if let Some(refusal) = self.facts.refusals.get(&task) {
            match refusal.verdict {
                Verdict::Never => {
                    self.end_rest(task, &Failure::new(refusal.reason, &refusal.message), None);
                }
                Verdict::Perhaps if self.is_refused_for_good() => {
                    self.end_rest(task, &Failure::new(refusal.reason, &refusal.message), None);
                }
                Verdict::Perhaps | Verdict::Later => {
                    self.notice.trouble(Trouble::refused(refusal));
                }
                Verdict::Over => {}
            }
            return;
        }
        let steps = &self.steps[self.plan.tasks[task].clone()];
        match self.facts.pods.get(&task) {
            Some(pod) if pod.owner == Owner::Ours => {
                settle(
                    self.plan,
                    &mut self.steps,
                    task,
                    pod,
                    self.facts,
                    &mut self.notice,
                );
            }
            Some(pod) if pod.owner == Owner::Former || pod.deleting => {
                self.notice.trouble(Trouble::name_in_use(&pod.name));
            }
            Some(pod) => {
                let text = format!(
                    "there is a pod {} that does not belong to this Workplan; delete it or rename the Workplan",
                    pod.name
                );
                self.end_rest(task, &Failure::new("PodNameTaken", text), None);
            }
            None if !was_started(steps) => {}
            None if self.facts.certainty == Certainty::Asked => {
                let name = crate::pod_builder::name(workplan, task);
                self.end_rest(task, &Failure::of_missing_pod(&name), Some(self.facts.now));
            }
            None => {
                let is_open = steps.iter().any(|step| !step.phase.is_final());
                if is_open && !self.actions.contains(&Action::Ask) {
                    self.actions.push(Action::Ask);
                }
            }
        }
    }

    /// Whether the API server has refused pods for as long as an image is waited for.
    fn is_refused_for_good(&mut self) -> bool {
        let now = self.facts.now;
        let until = self.facts.refused_since.unwrap_or(now) + PATIENCE;
        if now < until {
            self.notice.wake_at(until);
        }
        until <= now
    }

    fn end_rest(&mut self, task: usize, failure: &Failure, now: Option<Timestamp>) {
        let range = self.plan.tasks[task].clone();
        order::end_rest(self.plan, &mut self.steps, range, failure, now);
    }

    fn mind_the_node(&mut self, node: &str) {
        let unfinished = self.steps.iter().any(|step| !step.phase.is_final());
        match self.facts.node {
            NodeState::Gone => {
                let text = format!("the node {node}, on which the plan's folder lies, is no more");
                let failure = Failure::new("NodeGone", text);
                let (all, now) = (0..self.steps.len(), Some(self.facts.now));
                order::end_rest(self.plan, &mut self.steps, all, &failure, now);
            }
            NodeState::NotReady if unfinished => self.notice.trouble(Trouble::node_not_ready(node)),
            NodeState::NotReady | NodeState::Ready => {}
        }
    }

    /// Skips what no pod will run; in a pod that goes on, its containers see to that.
    fn skip(&mut self) {
        let facts = self.facts;
        let ours = |task: usize| facts.pods.get(&task).filter(|pod| pod.owner == Owner::Ours);
        let mut deaf = Vec::new();
        for task in 0..self.plan.tasks.len() {
            let now = facts.now;
            if let Some(pod) = ours(task)
                && relay::is_deaf(self.plan, &self.steps, task, pod, now, &mut self.notice)
            {
                deaf.push(task);
            }
        }
        order::skip(self.plan, &mut self.steps, |step| {
            let pod = ours(step.task).filter(|_| !deaf.contains(&step.task));
            pod.is_some_and(|pod| pod.has(step.name))
        });
    }

    /// A pod is made of all steps that are left of its task; who changed that has lost the others.
    fn fail_what_no_pod_has(&mut self) {
        let quiet = |pod: &PodFacts| pod.owner == Owner::Ours && pod.is_quiet();
        for (&task, pod) in self.facts.pods.iter().filter(|(_, pod)| quiet(pod)) {
            let Some(range) = self.plan.tasks.get(task) else {
                continue;
            };
            if !unprepared::is_to_be_made_again(&self.steps[range.clone()], pod) {
                let text = format!("the pod {} has ended without a container for it", pod.name);
                self.end_rest(task, &Failure::new("PodAltered", text), None);
            }
        }
    }

    /// Deletes the pods that wait in vain.
    fn give_up(&mut self) {
        for (task, pod) in &self.facts.pods {
            let range = self.plan.tasks.get(*task).cloned();
            let steps = range.map(|range| &self.steps[range]);
            let is_ours = pod.owner == Owner::Ours && !self.facts.refusals.contains_key(task);
            let is_vain = |steps| {
                let again = || unprepared::is_to_be_made_again(steps, pod) && !pod.deleting;
                given_up(steps, pod) || again()
            };
            if is_ours && steps.is_some_and(is_vain) {
                self.actions.push(Action::DeletePod(*task));
            }
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
                && self
                    .plan
                    .task_may_start(*task, |step| self.steps[step].phase.is_final())
        };
        let mut ready = (0..self.plan.tasks.len()).filter(waits).collect::<Vec<_>>();
        if node.is_none() {
            ready.truncate(usize::from(!self.awaits_a_node()));
        }
        ready.retain(|task| !facts.refusals.contains_key(task));
        if ready.is_empty() {
            return;
        }
        if has_finalizer(workplan) || !holds_folder(workplan) {
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
        let name = step.name;
        let recorded = prior.steps.get(at).filter(|step| step.name == name);
        let unrecorded = || StepStatus {
            name: name.to_owned(),
            ..StepStatus::default()
        };
        recorded.map_or_else(unrecorded, earlier_status::with_reason)
    });
    steps.collect()
}

/// Whether a step of the task is known to have run, so that its pod must not be created again.
fn was_started(steps: &[StepStatus]) -> bool {
    steps.iter().any(|step| step.phase.has_started())
}

/// Whether a pod waits for containers whose steps are over already, or for one of ours that comes before
/// them, and nothing else is left in it.
pub fn given_up(steps: &[StepStatus], pod: &PodFacts) -> bool {
    let over = |step: &StepStatus| matches!(step.phase, StepPhase::Failed | StepPhase::Skipped);
    let ended = steps.iter().all(|step| step.phase.is_final());
    let is_vain = |container: &ContainerFacts| {
        let step = steps.iter().find(|step| step.name == container.name);
        let is_over = match step {
            Some(step) => over(step),
            None => unprepared::is_ours(container) && steps.iter().any(over),
        };
        is_over && !container.has_ended()
    };
    ended && !pod.is_quiet() && !pod.deleting && pod.containers.iter().any(is_vain)
}
