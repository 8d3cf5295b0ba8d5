//! Workplans that users write must not stop or mislead the operator.

use kubeci_api::{Workplan, names};
use proptest::prelude::*;
use serde_json::json;

use super::{
    action::{Action, actions},
    cluster::observed_workplan,
    simulate,
    simulation::Simulation,
};

/// A Workplan that a user writes in the Workflow's own namespace.
fn forged_workplan() -> impl Strategy<Value = Workplan> {
    let heads = || prop_oneof!["", "[abc]", "[a-z2-7]{10}"];
    let sequence = prop_oneof![
        (0..9_i64).prop_map(|sequence| sequence.to_string()),
        Just(i64::MAX.to_string()),
        any::<u64>().prop_map(|sequence| sequence.to_string()),
        "[a-z0-9]{0,9}",
    ];
    let event = prop_oneof![Just("add"), Just("update"), Just("delete")];
    let object = (
        "uid-[1-4]",
        "v1|a/b/c|",
        "ConfigMap|[a-zA-Z]{0,2}",
        event,
        "[0-3]",
    );
    (sequence, heads(), heads(), object).prop_map(|(sequence, previous, head, object)| {
        let (uid, api_version, kind, event, token) = object;
        let workplan = json!({
            "apiVersion": "kube.ci/v1alpha1", "kind": "Workplan",
            "metadata": {
                "name": format!("{sequence}-{previous}-{head}"), "namespace": "own",
                "ownerReferences": [{
                    "apiVersion": "kube.ci/v1alpha1", "kind": "Workflow", "name": "w", "uid": "workflow", "controller": true,
                }],
                "labels": {"kube.ci/sequence": sequence, "kube.ci/previous-head": previous, "kube.ci/head": head},
            },
            "spec": {"tasks": [], "trigger": {
                "apiVersion": api_version, "kind": kind, "namespace": "own", "name": "object-0",
                "uid": uid, "event": event, "token": token,
            }},
        });
        serde_json::from_value(workplan).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn forged_workplans_do_not_stop_later_events(
        actions in actions(true), forged in proptest::collection::vec(forged_workplan(), 1..30),
    ) {
        let mut simulation = simulate(&actions);
        let named = |workplan: Workplan| (workplan.metadata.name.clone().unwrap(), workplan);
        simulation.cluster.workplans.extend(forged.into_iter().map(named));
        simulation.apply(&Action::Kill { executed: 0 });
        simulation.settle();
        let before = simulation.cluster.workplans.len();
        simulation.apply(&Action::Write { object: 7, content: 7 });
        simulation.settle();
        prop_assert_eq!(simulation.cluster.workplans.len(), before + 1);
    }
}

#[test]
fn workplan_in_another_namespace_is_ignored() {
    let mut simulation = Simulation::new();
    simulation.apply(&Action::Write {
        object: 0,
        content: 1,
    });
    simulation.apply(&Action::Deliver { events: 1 });
    simulation.apply(&Action::Forge {
        creation: 0,
        sequence: 1,
    });
    simulation.apply(&Action::WriteStatus);
    assert_eq!(simulation.cluster.status.active, Some(0));
    simulation.apply(&Action::Kill { executed: 0 });
    simulation.settle();
    let workplans = simulation.cluster.workplans.len();
    assert_eq!(workplans, 1, "the event does not fire");
    assert_eq!(simulation.cluster.status.active, Some(0));
    assert_eq!(simulation.cluster.status.last_sequence, Some(1));
    let forged = observed_workplan(&simulation.cluster.forged[0]);
    simulation.engine.take_dirty();
    simulation.engine.workplan_deleted(&forged);
    assert!(simulation.engine.take_dirty().is_empty());
}

#[test]
fn forged_sequence_does_not_end_the_numbering() {
    for sequence in [u64::MAX, u64::MAX / 2, u64::MAX / 2 - 1] {
        let mut simulation = Simulation::new();
        let write = |content| Action::Write { object: 0, content };
        simulation.apply(&write(1));
        simulation.apply(&Action::Deliver { events: 1 });
        let mut forged = simulation.creations.remove(0).workplan();
        let labels = forged.metadata.labels.as_mut().unwrap();
        labels.insert(names::SEQUENCE_LABEL.to_owned(), sequence.to_string());
        let workplans = &mut simulation.cluster.workplans;
        workplans.insert("forged".to_owned(), forged);
        simulation.apply(&Action::Kill { executed: 0 });
        simulation.settle();
        simulation.apply(&write(2));
        simulation.apply(&Action::Deliver { events: 1 });
        simulation.apply(&Action::Kill { executed: 1 });
        simulation.apply(&write(3));
        simulation.settle();
        let chain = simulation.cluster.workplans.len();
        simulation.apply(&Action::Kill { executed: 0 });
        simulation.settle();
        let workplans = simulation.cluster.workplans.len();
        assert_eq!(workplans, chain, "after {sequence}");
        let last = simulation.cluster.status.last_sequence;
        assert!(
            last.is_some_and(|last| last > 0),
            "{last:?} after {sequence}"
        );
    }
}
