//! Law 3, Once: each observed state fires once, the latest always, none twice.

use std::collections::BTreeMap;

use kubeci_api::TriggerEvent::{Add, Delete, Update};
use kubeci_api::{TriggerEvent, TriggeredBy};
use proptest::prelude::*;

use super::{
    action::{Action, Response, actions},
    cluster::Object,
    expected::expected_events,
    fired_events, simulate,
    simulation::Simulation,
};
use crate::uid::Uid;

/// Each state of each object fires once, in order.
pub fn all_fire_in_order(simulation: &Simulation) -> Result<(), TestCaseError> {
    for uid in simulation.uids() {
        let fired = simulation.fired(&uid).into_iter();
        let fired: Vec<_> = fired
            .map(|trigger| (trigger.event, trigger.token))
            .collect();
        prop_assert_eq!(fired, expected_events(simulation, &uid));
    }
    Ok(())
}

/// The latest state of each object fires, and none fires twice.
pub fn latest_fire_and_none_twice(simulation: &Simulation) -> Result<(), TestCaseError> {
    let objects = simulation.cluster.objects.values();
    let live: BTreeMap<&Uid, &Object> = objects.map(|object| (&object.uid, object)).collect();
    for uid in simulation.uids() {
        let fired = simulation.fired(&uid);
        none_fires_twice(&fired)?;
        latest_fires(simulation, &uid, fired.last(), live.get(&uid).copied())?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn observed_state_fires_once_in_order(actions in actions(false)) {
        let simulation = simulate(&actions);
        prop_assert!(simulation.uninterrupted);
        all_fire_in_order(&simulation)?;
    }

    #[test]
    fn latest_state_fires_and_none_twice_despite_interruptions(actions in actions(true)) {
        let simulation = simulate(&actions);
        latest_fire_and_none_twice(&simulation)?;
    }

    #[test]
    fn generations_of_older_ledgers_do_not_fire(actions in actions(true)) {
        let mut simulation = simulate(&actions);
        let before = simulation.cluster.workplans.len();
        simulation.downgrade_ledger();
        simulation.apply(&Action::Kill { executed: 0 });
        simulation.settle();
        prop_assert_eq!(simulation.cluster.workplans.len(), before);
        simulation.apply(&Action::Write { object: 7, content: 7 });
        simulation.settle();
        simulation.downgrade_ledger();
        simulation.apply(&Action::Write { object: 7, content: 8 });
        simulation.apply(&Action::Kill { executed: 0 });
        simulation.settle();
        prop_assert_eq!(simulation.cluster.workplans.len(), before + 2);
    }
}

fn none_fires_twice(fired: &[TriggeredBy]) -> Result<(), TestCaseError> {
    for (one, next) in fired.iter().zip(fired.iter().skip(1)) {
        prop_assert_ne!(one.event, Delete, "an event follows a deletion");
        let again = next.event == Update && one.token == next.token;
        prop_assert!(!again, "a state fired twice");
    }
    Ok(())
}

fn latest_fires(
    simulation: &Simulation,
    uid: &Uid,
    last: Option<&TriggeredBy>,
    live: Option<&Object>,
) -> Result<(), TestCaseError> {
    let event = last.map(|last| last.event);
    match live {
        Some(object) if object.labelled && !object.deleting => {
            prop_assert_eq!(last.map(|last| last.token.clone()), Some(object.hash()));
            prop_assert_ne!(event, Some(Delete));
        }
        Some(_) => prop_assert_ne!(event, Some(Delete)),
        None => {
            let observed = simulation.last_observed.get(uid);
            let matched = observed.is_some_and(|object| object.labelled)
                && !began_to_match_while_deleted(simulation, uid);
            let deleted = event.map(|event| event == Delete);
            prop_assert!(
                !matched || deleted != Some(false),
                "a deletion did not fire"
            );
        }
    }
    Ok(())
}

/// Such a state fires nothing, so that only the status has it, within a second. A kill before that loses it.
fn began_to_match_while_deleted(simulation: &Simulation, uid: &Uid) -> bool {
    let history = simulation.cluster.history.iter();
    let mut versions = history.filter(|change| change.object.uid == *uid);
    versions.any(|change| change.object.deleting && !change.object.labelled)
}

#[test]
fn return_to_earlier_state_fires_update() {
    let write = |content| Action::Write { object: 0, content };
    let simulation = simulate(&[write(1), write(2), write(1)]);
    let fired = simulation.fired("uid-1").into_iter();
    let hashes: Vec<String> = fired.map(|trigger| trigger.token).collect();
    assert_eq!(hashes, ["h1", "h2", "h1"]);
}

#[test]
fn relabeled_object_fires_add() {
    let write = Action::Write {
        object: 0,
        content: 1,
    };
    let [off, on] = [false, true].map(|on| Action::Label { object: 0, on });
    let simulation = simulate(&[write, off, on]);
    assert_eq!(fired_events(&simulation, "uid-1"), [Add, Add]);
}

#[test]
fn deletion_fires_when_object_is_gone() {
    let write = |content| Action::Write { object: 0, content };
    let begin = Action::BeginDeletion { object: 0 };
    let delete = Action::Delete { object: 0 };
    let (kill, deliver) = (Action::Kill { executed: 0 }, Action::Deliver { events: 9 });
    let [off, on] = [false, true].map(|on| Action::Label { object: 0, on });
    let respond = Action::Respond {
        creation: 0,
        response: Response::Created,
    };
    let recorded = [write(1), deliver.clone(), respond, Action::WriteStatus];
    let begins = |more: &[&Action]| -> Vec<Action> {
        let more = more.iter().copied().cloned();
        recorded
            .iter()
            .chain([&begin])
            .cloned()
            .chain(more)
            .collect()
    };
    let unobserved = vec![write(1), begin.clone(), kill.clone(), delete.clone()];
    let cases: [(&str, Vec<Action>, &[TriggerEvent]); 7] = [
        ("waits", begins(&[]), &[Add]),
        (
            "waits and changes",
            begins(&[&write(2), &off, &deliver, &on]),
            &[Add],
        ),
        ("is gone", begins(&[&deliver, &delete]), &[Add, Delete]),
        (
            "is gone while no operator runs",
            begins(&[&delete, &kill]),
            &[Add, Delete],
        ),
        (
            "waits through a restart",
            begins(&[&deliver, &kill, &delete]),
            &[Add, Delete],
        ),
        (
            "no longer matches",
            begins(&[&off, &deliver, &delete]),
            &[Add],
        ),
        ("began before the first observation", unobserved, &[Delete]),
    ];
    for (case, actions, events) in cases {
        let simulation = simulate(&actions);
        assert_eq!(fired_events(&simulation, "uid-1"), events, "it {case}");
    }
}

#[test]
fn removed_entry_is_not_restored_by_old_workplans() {
    let mut simulation = Simulation::new();
    let unlabel = Action::Label {
        object: 0,
        on: false,
    };
    let write = Action::Write {
        object: 0,
        content: 1,
    };
    for action in [write, unlabel, Action::Delete { object: 0 }] {
        simulation.apply(&action);
        simulation.settle();
    }
    assert_eq!(simulation.cluster.workplans.len(), 1);
    simulation.apply(&Action::Kill { executed: 0 });
    simulation.settle();
    let workplans = simulation.cluster.workplans.len();
    assert_eq!(workplans, 1, "an unmatched object fired delete");
}
