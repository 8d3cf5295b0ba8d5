//! What expressions name besides steps.

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt};
use kubeci_api::{TriggeredBy, Workflow, Workplan};
use kubeci_expression::{Context, Value};

use crate::workspace::workflow;

/// The values, by their names. Those of a Workplan that a user has written have no fields for its Workflow and event.
#[must_use]
pub fn values(workplan: &Workplan) -> BTreeMap<&'static str, Value> {
    let event = workplan.spec.trigger.as_ref();
    BTreeMap::from([
        ("event", event.map_or_else(none, of_event)),
        ("workflow", of_workflow(workplan).unwrap_or_else(none)),
        ("workplan", of_workplan(workplan)),
    ])
}

/// The values as the context of expressions.
#[must_use]
pub fn context(workplan: &Workplan) -> Context {
    let add = |context: Context, (name, value)| context.with(name, value);
    values(workplan).into_iter().fold(Context::new(), add)
}

fn none() -> Value {
    Value::Map(BTreeMap::new())
}

fn of_event(trigger: &TriggeredBy) -> Value {
    let namespace = trigger.namespace.as_deref();
    let fields = [
        ("event", trigger.event.as_str()),
        ("apiVersion", &trigger.api_version),
        ("kind", &trigger.kind),
        ("name", &trigger.name),
        ("uid", &trigger.uid),
    ];
    let namespace = namespace.map(|it| ("namespace", it));
    fields.into_iter().chain(namespace).collect()
}

fn of_workflow(workplan: &Workplan) -> Option<Value> {
    let name = workflow(workplan)?.to_owned();
    let kind = Workflow::kind(&());
    let mut owners = workplan.owner_references().iter();
    let owner = owners.find(|owner| owner.kind == kind && owner.name == name);
    let namespace = workplan.namespace().unwrap_or_default();
    let fields = [("name", name), ("namespace", namespace)];
    let uid = owner.map(|owner| ("uid", owner.uid.clone()));
    Some(fields.into_iter().chain(uid).collect())
}

fn of_workplan(workplan: &Workplan) -> Value {
    let namespace = workplan.namespace().unwrap_or_default();
    [("name", workplan.name_any()), ("namespace", namespace)]
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use kubeci_api::{Order, TriggerEvent};

    use super::*;
    use crate::testing::workplan;

    #[test]
    fn workplan_by_hand_has_no_event() {
        let values = values(&workplan(Order::Linear, &["a"]));
        let texts = ["event", "workflow", "workplan"].map(|name| values[name].to_string());
        assert_eq!(
            texts,
            ["{}", "{}", r#"{"name": "plan", "namespace": "ns"}"#]
        );
    }

    #[test]
    fn event_has_the_fields_of_the_trigger() {
        let mut workplan = workplan(Order::Linear, &["a"]);
        workplan.spec.trigger = Some(TriggeredBy {
            api_version: "v1".into(),
            kind: "Node".into(),
            namespace: None,
            name: "n1".into(),
            uid: "u".into(),
            event: TriggerEvent::Add,
            token: "t".into(),
            generation: None,
            summary: None,
        });
        let expected =
            r#"{"apiVersion": "v1", "event": "add", "kind": "Node", "name": "n1", "uid": "u"}"#;
        assert_eq!(values(&workplan)["event"].to_string(), expected);
    }
}
