//! The difference between two statuses: the steps that change, and all other fields.

use kubeci_api::{StepStatus, WorkplanStatus};
use serde_json::{Map, Value, json};

/// A change from one status to the next. It leaves the approvals as they are, which users write.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusChange {
    /// All fields but the steps and the approvals.
    head: WorkplanStatus,
    steps: Steps,
}

#[derive(Clone, Debug, PartialEq)]
enum Steps {
    /// The steps that change, by index.
    Some(Vec<(usize, StepStatus)>),
    All(Vec<StepStatus>),
}

impl StatusChange {
    pub fn between(before: &WorkplanStatus, after: &WorkplanStatus) -> Self {
        let (old, new) = (&before.steps, &after.steps);
        let steps = if old.len() == new.len() {
            let pairs = old.iter().zip(new).enumerate();
            let changed = pairs.filter(|(_, (old, new))| old != new);
            Steps::Some(changed.map(|(at, (_, new))| (at, new.clone())).collect())
        } else {
            Steps::All(new.clone())
        };
        let head = head(after);
        Self { head, steps }
    }

    /// The status after the change. What users have written since stays.
    pub fn apply(&self, before: &WorkplanStatus) -> WorkplanStatus {
        let steps = match &self.steps {
            Steps::All(steps) => steps.clone(),
            Steps::Some(changed) => {
                let mut steps = before.steps.clone();
                for (at, step) in changed {
                    if let Some(known) = steps.get_mut(*at) {
                        known.clone_from(step);
                    }
                }
                steps
            }
        };
        WorkplanStatus {
            steps,
            approvals: before.approvals.clone(),
            ..self.head.clone()
        }
    }

    /// The operations of a JSON patch from the stored status.
    pub fn operations(&self, before: &WorkplanStatus) -> Result<Vec<Value>, serde_json::Error> {
        let (old, mut new) = (fields(&head(before))?, fields(&self.head)?);
        if old.is_empty() && before.steps.is_empty() && before.approvals.is_empty() {
            // There may be no status.
            if let Steps::All(steps) = &self.steps {
                new.insert("steps".into(), serde_json::to_value(steps)?);
            }
            return Ok(vec![json!({"op": "add", "path": "/status", "value": new})]);
        }
        let removed = old.keys().filter(|field| !new.contains_key(*field));
        let removed =
            removed.map(|field| json!({"op": "remove", "path": format!("/status/{field}")}));
        let set = new
            .iter()
            .filter(|(field, value)| old.get(*field) != Some(value));
        let set = set.map(|(field, value)| {
            json!({"op": "add", "path": format!("/status/{field}"), "value": value})
        });
        let mut operations: Vec<Value> = removed.chain(set).collect();
        match &self.steps {
            Steps::All(steps) => {
                operations.push(json!({"op": "add", "path": "/status/steps", "value": steps}));
            }
            Steps::Some(changed) => operations.extend(changed.iter().map(|(at, step)| {
                json!({"op": "replace", "path": format!("/status/steps/{at}"), "value": step})
            })),
        }
        Ok(operations)
    }
}

fn head(status: &WorkplanStatus) -> WorkplanStatus {
    WorkplanStatus {
        phase: status.phase,
        reason: status.reason.clone(),
        summary: status.summary.clone(),
        task_index: status.task_index,
        message: status.message.clone(),
        node: status.node.clone(),
        folder: status.folder.clone(),
        started_at: status.started_at.clone(),
        finished_at: status.finished_at.clone(),
        finally_at: status.finally_at.clone(),
        progress: status.progress.clone(),
        steps: Vec::new(),
        conditions: status.conditions.clone(),
        approvals: Vec::new(),
        observed_generation: status.observed_generation,
    }
}

fn fields(status: &WorkplanStatus) -> Result<Map<String, Value>, serde_json::Error> {
    match serde_json::to_value(status)? {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use kubeci_api::{Phase, StepApproval, StepPhase};
    use proptest::prelude::*;

    use super::*;

    fn any_status() -> impl Strategy<Value = WorkplanStatus> {
        let step = (0..2_usize, prop::option::of("[ab]")).prop_map(|(phase, message)| StepStatus {
            phase: [StepPhase::Pending, StepPhase::Completed][phase],
            message,
            ..StepStatus::default()
        });
        let phase = prop::option::of(Just(Phase::Running));
        let words = prop::option::of("[ab]");
        let steps = prop::collection::vec(step, 0..4);
        (phase, words.clone(), words, steps).prop_map(|(phase, reason, node, steps)| {
            WorkplanStatus {
                phase,
                reason,
                node,
                steps,
                ..WorkplanStatus::default()
            }
        })
    }

    /// Applies the operations as the API server does; a missing status is absent or empty.
    fn patched(stored: &WorkplanStatus, operations: &[Value]) -> WorkplanStatus {
        let mut object = json!({"status": stored});
        for operation in operations {
            let path: Vec<&str> = operation["path"].as_str().unwrap()[1..]
                .split('/')
                .collect();
            let value = operation["value"].clone();
            match (operation["op"].as_str().unwrap(), &path[..]) {
                ("add", ["status"]) => object["status"] = value,
                ("add", ["status", field]) => object["status"][field] = value,
                ("remove", ["status", field]) => {
                    let fields = object["status"].as_object_mut().unwrap();
                    assert!(fields.remove(*field).is_some(), "{field} is not there");
                }
                ("replace", ["status", "steps", at]) => {
                    let at: usize = at.parse().unwrap();
                    *object["status"]["steps"].get_mut(at).unwrap() = value;
                }
                other => panic!("{other:?}"),
            }
        }
        serde_json::from_value(object["status"].take()).unwrap()
    }

    proptest! {
        #[test]
        fn change_leads_from_one_status_to_another(before in any_status(), after in any_status()) {
            let change = StatusChange::between(&before, &after);
            prop_assert_eq!(&change.apply(&before), &after);
            let operations = change.operations(&before).unwrap();
            prop_assert_eq!(patched(&before, &operations), after);
        }
    }

    fn approved(step: &str) -> StepApproval {
        StepApproval {
            step: step.into(),
            approved: true,
            by: None,
            at: None,
            message: None,
        }
    }

    proptest! {
        /// A user has approved a step, of which the next status knows nothing.
        #[test]
        fn change_keeps_what_users_have_approved(before in any_status(), after in any_status()) {
            let stored = WorkplanStatus {
                approvals: vec![approved("a"), approved("b")],
                ..before.clone()
            };
            let expected = WorkplanStatus {
                approvals: stored.approvals.clone(),
                ..after.clone()
            };
            for known in [&before, &stored] {
                let change = StatusChange::between(known, &after);
                prop_assert_eq!(&change.apply(&stored), &expected);
                let operations = change.operations(&stored).unwrap();
                prop_assert_eq!(&patched(&stored, &operations), &expected);
            }
        }
    }

    #[test]
    fn one_step_of_many_is_a_small_change() {
        let steps = vec![StepStatus::default(); 500];
        let before = WorkplanStatus {
            phase: Some(Phase::Running),
            steps,
            ..WorkplanStatus::default()
        };
        let mut after = before.clone();
        after.steps[17].phase = StepPhase::Completed;
        after.progress = Some("1/500".into());
        let operations = StatusChange::between(&before, &after).operations(&before);
        let operations = operations.unwrap();
        let paths: Vec<_> = operations.iter().map(|it| &it["path"]).collect();
        assert_eq!(paths, ["/status/progress", "/status/steps/17"]);
    }
}
