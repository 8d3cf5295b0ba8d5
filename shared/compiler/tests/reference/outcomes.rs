//! How each step of a Workflow ends, by the definition alone: what plans of any kind are compared with.

use std::collections::BTreeMap;

use kubeci_api::{Step, StepPhase};

#[path = "conditions.rs"]
pub mod conditions;

use conditions::{Ended, Verdict, verdict};

/// Each step's last phase, given which steps fail if they run.
pub fn outcomes(steps: &[Step], fails: impl Fn(&Step) -> bool) -> BTreeMap<String, StepPhase> {
    let mut outcomes = BTreeMap::new();
    let mut exit_codes = BTreeMap::new();
    while outcomes.len() < steps.len() {
        for step in steps {
            let waits_for = [&step.dependency, &step.on_failure, &step.after];
            let mut waits_for = waits_for.into_iter().flatten();
            if !waits_for.all(|name| outcomes.contains_key(name)) {
                continue;
            }
            let failure_allowed = |name: &String| {
                let mut steps = steps.iter();
                steps.any(|step| step.name == *name && step.allow_failure)
            };
            let succeeded = |name: &String| match outcomes[name] {
                StepPhase::Completed => true,
                StepPhase::Failed => failure_allowed(name),
                _ => false,
            };
            let failed = |name: &String| outcomes[name] == StepPhase::Failed;
            let holds = step.dependency.iter().all(succeeded) && step.on_failure.iter().all(failed);
            let ended = |name: &str| Ended {
                phase: phase(outcomes[name]),
                exit_code: exit_codes.get(name).copied(),
            };
            let decided = if holds {
                verdict(step, ended)
            } else {
                Verdict::IsSkipped
            };
            let phase = match decided {
                Verdict::IsSkipped => StepPhase::Skipped,
                Verdict::Fails => StepPhase::Failed,
                Verdict::Runs => {
                    exit_codes.insert(step.name.clone(), i32::from(fails(step)));
                    if fails(step) {
                        StepPhase::Failed
                    } else {
                        StepPhase::Completed
                    }
                }
            };
            outcomes.insert(step.name.clone(), phase);
        }
    }
    outcomes
}

/// The phase as expressions compare it.
pub fn phase(phase: StepPhase) -> &'static str {
    match phase {
        StepPhase::Completed => "completed",
        StepPhase::Failed => "failed",
        _ => "skipped",
    }
}
