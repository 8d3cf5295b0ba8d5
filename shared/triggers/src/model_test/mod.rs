//! The laws of the design, on random histories: objects come, change and go while the operator is killed,
//! loses its watch, and has creations refused or left without an answer.

mod simulation;

use std::collections::BTreeMap;

use kubeci_api::{Phase, TriggerEvent, Workplan, names};
use proptest::prelude::*;
use serde_json::json;

use crate::object::Uid;
use simulation::{Act, Answer, Object, World, run};

/// What should fire for an object by the letter of the design, if nothing breaks.
fn expected(world: &World, uid: &Uid) -> Vec<(TriggerEvent, String)> {
    let mut events = Vec::new();
    let mut known: Option<String> = None;
    for (_, object, exists) in world
        .cluster
        .history
        .iter()
        .filter(|(_, object, _)| object.uid == *uid)
    {
        let token = object.token();
        match (&known, exists, object.labelled) {
            (Some(last), false, _) => events.push((TriggerEvent::Delete, last.clone())),
            _ if object.deleting => {}
            (None, true, true) => events.push((TriggerEvent::Add, token.clone())),
            (Some(last), true, true) if *last != token => {
                events.push((TriggerEvent::Update, token.clone()));
            }
            _ => {}
        }
        known = (*exists && object.labelled).then_some(token);
    }
    events
}

fn acts(kills: bool) -> impl Strategy<Value = Vec<Act>> {
    let answer = prop_oneof![
        4 => Just(Answer::Done),
        1 => Just(Answer::DoneButUnheard),
        1 => Just(Answer::Refused),
        1 => Just(Answer::Lost),
    ];
    let tell = prop_oneof![
        2 => Just(Act::Tell),
        1 => any::<bool>().prop_map(|done| Act::TellUnheard { done }),
    ];
    let breaks = u32::from(kills);
    let change = prop_oneof![
        6 => (0..3_usize, 0..3_u8).prop_map(|(object, content)| Act::Write { object, content }),
        2 => (0..3_usize, any::<bool>()).prop_map(|(object, on)| Act::Label { object, on }),
        1 => (0..3_usize).prop_map(|object| Act::End { object }),
        2 => (0..3_usize).prop_map(|object| Act::Delete { object }),
    ];
    let act = prop_oneof![
        11 => change,
        6 => (1..4_usize).prop_map(|events| Act::Show { events }),
        8 => (0..8_usize, answer).prop_map(|(creation, answer)| Act::Answer { creation, answer }),
        2 => Just(Act::Retry),
        3 => tell,
        2 => (0..8_usize, any::<u64>()).prop_map(|(creation, sequence)| Act::Forge { creation, sequence }),
        2 * breaks => Just(Act::Lose),
        2 * breaks => any::<u32>().prop_map(|through| Act::Kill { through }),
    ];
    proptest::collection::vec(act, 1..80)
}

/// A Workplan that whoever may write in the Workflow's own namespace makes up.
fn made_up() -> impl Strategy<Value = Workplan> {
    let heads = || prop_oneof!["", "[abc]", "[a-z2-7]{10}"];
    let sequence = prop_oneof![
        (0..9_i64).prop_map(|at| at.to_string()),
        Just(i64::MAX.to_string()),
        any::<u64>().prop_map(|at| at.to_string()),
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

fn lived(acts: &[Act]) -> World {
    let mut world = World::new();
    for act in acts {
        world.act(act);
    }
    world.settle();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn law_3_once_each_state_that_is_shown_fires_once_in_order(acts in acts(false)) {
        let world = lived(&acts);
        prop_assert!(world.unbroken);
        for uid in world.uids() {
            let fired = world.fired(&uid).into_iter().map(|trigger| (trigger.event, trigger.token));
            prop_assert_eq!(fired.collect::<Vec<_>>(), expected(&world, &uid));
        }
    }

    #[test]
    fn law_3_once_the_latest_state_fires_and_none_twice_whatever_breaks(acts in acts(true)) {
        let world = lived(&acts);
        let live: BTreeMap<&Uid, &Object> =
            world.cluster.objects.values().map(|object| (&object.uid, object)).collect();
        for uid in world.uids() {
            let fired = world.fired(&uid);
            for (one, next) in fired.iter().zip(fired.iter().skip(1)) {
                prop_assert_ne!(one.event, TriggerEvent::Delete, "something follows a deletion");
                let again = next.event == TriggerEvent::Update && one.token == next.token;
                prop_assert!(!again, "a state fired twice");
            }
            let last = fired.last();
            match live.get(&uid) {
                Some(object) if object.labelled && !object.deleting => {
                    prop_assert_eq!(last.map(|last| last.token.clone()), Some(object.token()));
                    prop_assert_ne!(last.map(|last| last.event), Some(TriggerEvent::Delete));
                }
                Some(_) => prop_assert_ne!(last.map(|last| last.event), Some(TriggerEvent::Delete)),
                None => {
                    let matched = world.last_shown.get(&uid).is_some_and(|object| object.labelled);
                    let deleted = last.map(|last| last.event == TriggerEvent::Delete);
                    prop_assert!(!matched || deleted != Some(false), "a deletion did not fire");
                }
            }
        }
    }

    #[test]
    fn law_3_once_what_older_tokens_say_does_not_fire_again(acts in acts(true)) {
        let mut world = lived(&acts);
        let before = world.cluster.workplans.len();
        world.remember_as_before();
        world.act(&Act::Kill { through: 0 });
        world.settle();
        prop_assert_eq!(world.cluster.workplans.len(), before);
        world.act(&Act::Write { object: 7, content: 7 });
        world.settle();
        world.remember_as_before();
        world.act(&Act::Write { object: 7, content: 8 });
        world.act(&Act::Kill { through: 0 });
        world.settle();
        prop_assert_eq!(world.cluster.workplans.len(), before + 2);
    }

    #[test]
    fn law_6_killable_a_restart_fires_nothing_that_has_fired(acts in acts(true)) {
        let mut world = lived(&acts);
        let before: Vec<String> = world.cluster.workplans.keys().cloned().collect();
        world.act(&Act::Kill { through: 0 });
        world.settle();
        let after: Vec<String> = world.cluster.workplans.keys().cloned().collect();
        prop_assert_eq!(before, after);
    }

    #[test]
    fn whatever_somebody_makes_up_the_operator_comes_to_rest_and_fires_what_happens_then(
        acts in acts(true), made_up in proptest::collection::vec(made_up(), 1..30),
    ) {
        let mut world = lived(&acts);
        let named = |workplan: Workplan| (workplan.metadata.name.clone().unwrap(), workplan);
        world.cluster.workplans.extend(made_up.into_iter().map(named));
        world.act(&Act::Kill { through: 0 });
        world.settle();
        let before = world.cluster.workplans.len();
        world.act(&Act::Write { object: 7, content: 7 });
        world.settle();
        prop_assert_eq!(world.cluster.workplans.len(), before + 1);
    }
}

#[test]
fn law_3_once_a_return_to_an_earlier_state_is_a_new_event() {
    let write = |content| Act::Write { object: 0, content };
    let world = lived(&[write(1), write(2), write(1)]);
    let tokens: Vec<String> = world
        .fired("uid-1")
        .into_iter()
        .map(|trigger| trigger.token)
        .collect();
    assert_eq!(tokens, ["h1", "h2", "h1"]);
}

#[test]
fn law_3_once_a_label_that_comes_back_while_its_object_stays_the_same_is_an_add_under_a_new_name() {
    let write = Act::Write {
        object: 0,
        content: 1,
    };
    let [off, on] = [false, true].map(|on| Act::Label { object: 0, on });
    let world = lived(&[write, off, on]);
    let events: Vec<TriggerEvent> = world
        .fired("uid-1")
        .into_iter()
        .map(|trigger| trigger.event)
        .collect();
    assert_eq!(events, [TriggerEvent::Add, TriggerEvent::Add]);
}

#[test]
fn law_3_once_a_deletion_fires_when_it_is_done() {
    use TriggerEvent::{Add, Delete};
    let write = |content| Act::Write { object: 0, content };
    let [end, gone] = [Act::End { object: 0 }, Act::Delete { object: 0 }];
    let [kill, show] = [Act::Kill { through: 0 }, Act::Show { events: 9 }];
    let [off, on] = [false, true].map(|on| Act::Label { object: 0, on });
    let answer = Act::Answer {
        creation: 0,
        answer: Answer::Done,
    };
    let known = [write(1), show.clone(), answer, Act::Tell];
    let ends = |more: &[&Act]| -> Vec<Act> {
        let more = more.iter().copied().cloned();
        known.iter().chain([&end]).cloned().chain(more).collect()
    };
    let unseen = [write(1), end.clone(), kill.clone(), gone.clone()];
    let cases: [(&str, Vec<Act>, &[TriggerEvent]); 7] = [
        ("waits", ends(&[]), &[Add]),
        (
            "waits and changes",
            ends(&[&write(2), &off, &show, &on]),
            &[Add],
        ),
        ("is done", ends(&[&show, &gone]), &[Add, Delete]),
        (
            "is done while no operator runs",
            ends(&[&gone, &kill]),
            &[Add, Delete],
        ),
        (
            "waits through a restart",
            ends(&[&show, &kill, &gone]),
            &[Add, Delete],
        ),
        ("no longer matches", ends(&[&off, &show, &gone]), &[Add]),
        ("began before it was seen", unseen.to_vec(), &[Delete]),
    ];
    for (case, acts, events) in cases {
        let fired = lived(&acts).fired("uid-1").into_iter();
        let fired: Vec<TriggerEvent> = fired.map(|trigger| trigger.event).collect();
        assert_eq!(fired, events, "it {case}");
    }
}

#[test]
fn law_3_once_the_forgotten_is_not_brought_back_by_its_old_workplans() {
    let mut world = World::new();
    world.act(&Act::Write {
        object: 0,
        content: 1,
    });
    world.settle();
    world.act(&Act::Label {
        object: 0,
        on: false,
    });
    world.settle();
    world.act(&Act::Delete { object: 0 });
    world.settle();
    assert_eq!(world.cluster.workplans.len(), 1);
    world.act(&Act::Kill { through: 0 });
    world.settle();
    assert_eq!(
        world.cluster.workplans.len(),
        1,
        "a deletion fired for what no longer matched"
    );
}

#[test]
fn counts_are_of_all_workplans() {
    let mut world = World::new();
    world.act(&Act::Write {
        object: 0,
        content: 1,
    });
    world.settle();
    let workplan = world.cluster.workplans.values().next().unwrap();
    let mut run = run(workplan);
    for (phase, counts) in [
        (Phase::Pending, (Some(1), Some(0), Some(0))),
        (Phase::Running, (Some(1), Some(0), Some(0))),
        (Phase::Completed, (Some(0), Some(1), Some(0))),
    ] {
        run.state.phase = phase;
        world.engine.workplan_applied(run.clone());
        world.tell();
        let status = &world.cluster.status;
        assert_eq!((status.active, status.succeeded, status.failed), counts);
    }
}

#[test]
fn what_somebody_forges_in_another_namespace_neither_fires_nor_counts() {
    let mut world = World::new();
    world.act(&Act::Write {
        object: 0,
        content: 1,
    });
    world.act(&Act::Show { events: 1 });
    world.act(&Act::Forge {
        creation: 0,
        sequence: 1,
    });
    world.tell();
    assert_eq!(world.cluster.status.active, Some(0));
    world.act(&Act::Kill { through: 0 });
    world.settle();
    assert_eq!(world.cluster.workplans.len(), 1, "the event does not fire");
    assert_eq!(world.cluster.status.active, Some(0));
    assert_eq!(world.cluster.status.last_sequence, Some(1));
    let forged = run(&world.cluster.forged[0]);
    world.engine.take_untold();
    world.engine.workplan_deleted(&forged);
    assert!(world.engine.take_untold().is_empty());
}

#[test]
fn no_number_that_somebody_forges_ends_the_counting() {
    for sequence in [u64::MAX, u64::MAX / 2, u64::MAX / 2 - 1] {
        let mut world = World::new();
        let write = |content| Act::Write { object: 0, content };
        let workplan = |world: &mut World| world.creations.remove(0).workplan();
        world.act(&write(1));
        world.act(&Act::Show { events: 1 });
        let mut forged = workplan(&mut world);
        let labels = forged.metadata.labels.as_mut().unwrap();
        labels.insert(names::SEQUENCE_LABEL.to_owned(), sequence.to_string());
        world.cluster.workplans.insert("forged".to_owned(), forged);
        world.act(&Act::Kill { through: 0 });
        world.settle();
        world.act(&write(2));
        world.act(&Act::Show { events: 1 });
        world.act(&Act::Kill { through: 1 });
        world.act(&write(3));
        world.settle();
        let chain = world.cluster.workplans.len();
        world.act(&Act::Kill { through: 0 });
        world.settle();
        assert_eq!(world.cluster.workplans.len(), chain, "after {sequence}");
        let last = world.cluster.status.last_sequence;
        assert!(
            last.is_some_and(|last| last > 0),
            "{last:?} after {sequence}"
        );
    }
}
