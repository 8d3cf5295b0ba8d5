//! Steps that wait for an approval: what users have written about them, and how a user approves.

use kube::ResourceExt;
use kubeci_api::{Approval as Asked, StepApproval, Task, Workplan};
use kubeci_engine::{
    Answer, Approval, Cause, Observation, PlanObservation, Steps, TaskObservation,
};
use kubeci_plan::Plan;

/// The reason of a plan that only waits for approvals.
pub const AWAITING_APPROVAL: &str = "AwaitingApproval";

/// The maximum number of steps that a message names.
const NAMED_MAX: usize = 5;

/// Adds what is observed of the approvals. In a suspended plan no approval begins to wait.
pub fn observe(workplan: &Workplan, plan: &Plan, steps: &Steps, observed: &mut PlanObservation) {
    let written = workplan.spec.tasks.iter().flat_map(Task::steps);
    for (at, step) in written.enumerate() {
        let Some(asked) = &step.approval else {
            continue;
        };
        let approval = Approval {
            message: waits_for(asked),
            answer: entry(workplan, &step.name).map(answer),
        };
        let begins_later = workplan.spec.suspend && !steps.all()[at].awaits_approval();
        let observation = (!begins_later).then_some((at, Observation::Approval(approval)));
        observed.tasks[plan.steps[at].task] = TaskObservation {
            steps: observation.into_iter().collect(),
            ..TaskObservation::default()
        };
    }
}

fn waits_for(asked: &Asked) -> String {
    match &asked.message {
        Some(message) => format!("waits for approval: {message}"),
        None => "waits for approval".into(),
    }
}

fn entries(workplan: &Workplan) -> &[StepApproval] {
    let status = workplan.status.as_ref();
    status.map_or(&[], |status| &status.approvals)
}

fn entry<'a>(workplan: &'a Workplan, step: &str) -> Option<&'a StepApproval> {
    entries(workplan).iter().find(|entry| entry.step == step)
}

fn answer(entry: &StepApproval) -> Answer {
    Answer {
        approved: entry.approved,
        by: entry.by.clone(),
        at: entry.at.as_ref().map(|at| at.0),
        message: entry.message.clone(),
    }
}

/// Why a plan waits that only waits for these approvals: what they are about, and the command that approves the first.
pub fn awaited(workplan: &Workplan, approvals: &[(&str, &str)]) -> Option<Cause> {
    let (first, message) = approvals.first()?;
    let subject = if approvals.len() == 1 {
        format!("the step {first} {message}")
    } else {
        let names = approvals.iter().map(|(name, _)| *name);
        format!("the steps {} wait for approval", named(names))
    };
    let namespace = workplan.namespace().unwrap_or_default();
    let name = workplan.name_any();
    let entry = format!(r#"{{"status":{{"approvals":[{{"step":"{first}","by":"YOUR-NAME"}}]}}}}"#);
    let message = format!(
        "{subject}. To approve {first}: kubectl -n {namespace} patch workplan {name} --subresource=status \
         --type=merge -p '{entry}'{}",
        strangers(workplan)
    );
    Some(Cause::new(AWAITING_APPROVAL, message))
}

/// Names the entries that have no effect, because they name no approval.
fn strangers(workplan: &Workplan) -> String {
    let is_approval = |name: &str| {
        let mut steps = workplan.spec.tasks.iter().flat_map(Task::steps);
        steps.any(|step| step.name == name && step.approval.is_some())
    };
    let names = entries(workplan).iter().map(|entry| entry.step.as_str());
    let strangers: Vec<&str> = names.filter(|name| !is_approval(name)).collect();
    if strangers.is_empty() {
        return String::new();
    }
    format!(
        ". These entries of status.approvals have no effect, because no step with `approval` has the name: {}",
        named(strangers.into_iter())
    )
}

fn named<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let first: Vec<&str> = names.take(NAMED_MAX).collect();
    let first = first.join(", ");
    match more {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
