//! How each step of a Workflow ends, by the definition alone: what plans of any kind are compared with.

use std::collections::BTreeMap;

use kubeci_api::{Step, StepPhase};

/// Each step's last phase, given which steps fail if they run.
pub fn outcomes(steps: &[Step], fails: impl Fn(&Step) -> bool) -> BTreeMap<String, StepPhase> {
    let mut outcomes = BTreeMap::new();
    while outcomes.len() < steps.len() {
        for step in steps {
            let dependencies = step
                .dependency
                .iter()
                .map(|name| outcomes.get(name).copied());
            let Some(dependencies) = dependencies.collect::<Option<Vec<_>>>() else {
                continue;
            };
            let runs = dependencies
                .iter()
                .all(|&phase| phase == StepPhase::Completed);
            let phase = match (runs, fails(step)) {
                (false, _) => StepPhase::Skipped,
                (true, true) => StepPhase::Failed,
                (true, false) => StepPhase::Completed,
            };
            outcomes.insert(step.name.clone(), phase);
        }
    }
    outcomes
}
