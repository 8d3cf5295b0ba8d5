use std::collections::BTreeMap;

use kube::ResourceExt;
use kubeci_api::{Workplan, names};

/// What fired, as `NAME EVENT` of each Workplan, sorted.
pub fn fired(plans: &[Workplan]) -> Vec<String> {
    let mut fired: Vec<_> = plans.iter().map(event).collect();
    fired.sort();
    fired
}

fn event(plan: &Workplan) -> String {
    let trigger = plan.spec.trigger.as_ref().expect("a trigger");
    format!("{} {}", trigger.name, trigger.event.as_str())
}

/// One Workflow's Workplans by the uid of the object that fired them, each object's in the order of its events.
///
/// # Panics
/// When an object's Workplans are not one chain: a link is missing, or there are two.
pub fn chains(plans: &[Workplan]) -> BTreeMap<String, Vec<&Workplan>> {
    let mut by_object = BTreeMap::<String, Vec<&Workplan>>::new();
    for plan in plans {
        let uid = label(plan, names::TRIGGER_UID_LABEL);
        let trigger = plan.spec.trigger.as_ref().expect("a trigger");
        assert_eq!(uid, trigger.uid, "{}", plan.name_any());
        by_object.entry(uid.to_owned()).or_default().push(plan);
    }
    let ordered = by_object.into_iter().map(|(uid, plans)| {
        let chain = chain(&uid, &plans);
        (uid, chain)
    });
    ordered.collect()
}

fn chain<'a>(uid: &str, plans: &[&'a Workplan]) -> Vec<&'a Workplan> {
    let mut by_previous = BTreeMap::new();
    for plan in plans {
        let previous = label(plan, names::PREVIOUS_HEAD_LABEL);
        if let Some(other) = by_previous.insert(previous, *plan) {
            let (one, two) = (event(other), event(plan));
            panic!("two Workplans of {uid} follow {previous:?}: {one} and {two}");
        }
    }
    let mut chain = Vec::new();
    let mut head = "";
    while let Some(plan) = by_previous.remove(head) {
        head = label(plan, names::HEAD_LABEL);
        chain.push(plan);
    }
    assert!(
        by_previous.is_empty(),
        "the chain of {uid} ends at {head:?}; not in it: {by_previous:?}"
    );
    chain
}

fn label<'a>(plan: &'a Workplan, key: &str) -> &'a str {
    let value = plan.labels().get(key);
    value.unwrap_or_else(|| panic!("{} has no label {key}", plan.name_any()))
}
