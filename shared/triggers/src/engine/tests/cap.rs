//! A cap on the Workplans that are pending or running.

use std::num::NonZeroUsize;

use kubeci_api::{Phase, Workplan};
use serde_json::json;

use super::*;
use crate::dispatch_queue::CreateError;
use crate::engine::{Creation, Settings};
use crate::observed_workplan::ObservedWorkplan;
use crate::uid::Uids;

/// A Workflow that watches its own namespace.
fn workflow_in(namespace: &str, uid: &str) -> Workflow {
    let mut workflow = workflow(1, &json!([config_maps(&json!({}))]));
    workflow.metadata.namespace = Some(namespace.to_owned());
    workflow.metadata.name = Some(uid.to_owned());
    workflow.metadata.uid = Some(uid.to_owned());
    workflow
}

/// An engine with a cap, and the watches of these Workflows in these namespaces.
fn capped(max: usize, workflows: &[(&str, &str)]) -> (Engine, Vec<(WatchKey, u64)>) {
    let mut engine = Engine::new(Settings {
        max_active: NonZeroUsize::new(max),
        ..Settings::default()
    });
    for (namespace, uid) in workflows {
        engine.workflow_applied(workflow_in(namespace, uid));
    }
    engine.kind_discovered(&kind(), served());
    let watches = started_watches(&mut engine);
    for (key, epoch) in &watches {
        engine.objects_listed(key, *epoch, &Uids::default());
    }
    (engine, watches)
}

fn flood(engine: &mut Engine, watches: &[(WatchKey, u64)], namespace: &str, count: usize) {
    let scope = crate::watch_key::Scope::Namespace(namespace.to_owned());
    let watch = watches.iter().find(|(key, _)| key.scope == scope).unwrap();
    for at in 0..count {
        let name = format!("{namespace}-{at}");
        observe_in(engine, watch, &name, namespace, "1");
    }
}

fn create(engine: &mut Engine, creation: &Creation) -> Workplan {
    let workplan = creation.workplan();
    let name = workplan.metadata.name.clone().unwrap();
    engine.created(&creation.workflow, &creation.object, name, NOW);
    workplan
}

fn observe_workplan(engine: &mut Engine, workplan: &Workplan, phase: Phase) {
    let partial = serde_json::from_value(serde_json::to_value(workplan).unwrap()).unwrap();
    let mut observed = ObservedWorkplan::new(&partial).unwrap();
    observed.state.phase = phase;
    engine.workplan_applied(observed);
}

fn workflows_of(creations: &[Creation]) -> Vec<&str> {
    creations
        .iter()
        .map(|creation| &*creation.workflow)
        .collect()
}

#[test]
fn workplans_over_the_cap_wait_for_an_end() {
    let (mut engine, watches) = capped(2, &[("own", "workflow")]);
    flood(&mut engine, &watches, "own", 5);
    let creations = engine.take_creations();
    assert_eq!(creations.len(), 2);
    let workplans: Vec<_> = creations.iter().map(|it| create(&mut engine, it)).collect();
    assert_eq!(engine.take_creations().len(), 0, "not observed yet");
    for workplan in &workplans {
        observe_workplan(&mut engine, workplan, Phase::Running);
    }
    assert_eq!(engine.take_creations().len(), 0);
    assert_eq!(status(&mut engine).queued, Some(3));
    let (ready, reason, message) = condition(&mut engine, "Ready");
    assert_eq!((ready.as_str(), reason.as_str()), ("True", "EventsQueued"));
    let expected = "3 events wait for their Workplans, because at most 2 Workplans are pending or running \
                    (--max-active-workplans)";
    assert!(message.starts_with(expected), "{message}");
    observe_workplan(&mut engine, &workplans[0], Phase::Failed);
    assert_eq!(engine.take_creations().len(), 1);
    assert_eq!(status(&mut engine).queued, Some(2));
}

#[test]
fn namespaces_and_workflows_are_served_fairly() {
    let workflows = [("one", "flood"), ("one", "small"), ("two", "other")];
    let (mut engine, watches) = capped(4, &workflows);
    flood(&mut engine, &watches, "one", 100);
    flood(&mut engine, &watches, "two", 100);
    let creations = engine.take_creations();
    let mut workflows = workflows_of(&creations);
    workflows.sort_unstable();
    assert_eq!(workflows, ["flood", "other", "other", "small"]);
}

#[test]
fn workflows_take_turns_with_the_smallest_cap() {
    let (mut engine, watches) = capped(1, &[("one", "first"), ("two", "second")]);
    flood(&mut engine, &watches, "one", 9);
    flood(&mut engine, &watches, "two", 9);
    let mut served = Vec::new();
    for _ in 0..6 {
        let creation = engine.take_creations().remove(0);
        served.push(creation.workflow.to_string());
        let workplan = create(&mut engine, &creation);
        observe_workplan(&mut engine, &workplan, Phase::Completed);
    }
    let expected = ["first", "second"].into_iter().cycle();
    assert_eq!(served, expected.take(6).collect::<Vec<_>>());
}

#[test]
fn failing_creations_do_not_use_the_cap() {
    let (mut engine, watches) = capped(1, &[("one", "refused"), ("two", "other")]);
    flood(&mut engine, &watches, "one", 1);
    let refused = engine.take_creations().remove(0);
    flood(&mut engine, &watches, "two", 1);
    assert_eq!(engine.take_creations().len(), 0);
    let error = CreateError::Rejected("quota".to_owned());
    engine.failed(&refused.workflow, &refused.object, error);
    let creations = engine.take_creations();
    assert_eq!(workflows_of(&creations), ["other"]);
    engine.retry(&refused.workflow, &refused.object);
    assert_eq!(engine.take_creations().len(), 0);
    let workplan = create(&mut engine, &creations[0]);
    observe_workplan(&mut engine, &workplan, Phase::Completed);
    assert_eq!(workflows_of(&engine.take_creations()), ["refused"]);
}

#[test]
fn unobserved_workplan_is_forgotten_in_time() {
    let (mut engine, watches) = capped(1, &[("own", "workflow")]);
    flood(&mut engine, &watches, "own", 2);
    let creation = engine.take_creations().remove(0);
    create(&mut engine, &creation);
    engine.expire(NOW);
    assert_eq!(engine.take_creations().len(), 0);
    let later = NOW + k8s_openapi::jiff::SignedDuration::from_mins(2);
    engine.expire(later);
    assert_eq!(engine.take_creations().len(), 1, "it was deleted unseen");
}

#[test]
fn dropped_states_are_counted_in_the_status() {
    let (mut engine, watches) = capped(1, &[("own", "workflow")]);
    observe(&mut engine, &watches[0], "blocks", "1");
    for hash in 0..100 {
        observe(&mut engine, &watches[0], "changes", &hash.to_string());
    }
    let creation = engine.take_creations().remove(0);
    let stored = status(&mut engine);
    assert_eq!((stored.queued, stored.dropped), (Some(65), Some(35)));
    let (_, _, message) = condition(&mut engine, "Ready");
    assert!(message.contains("35 states were dropped"), "{message}");
    create(&mut engine, &creation);

    let mut restarted = Engine::default();
    let mut workflow = workflow_in("own", "workflow");
    workflow.status = Some(stored);
    restarted.workflow_applied(workflow);
    assert_eq!(status(&mut restarted).dropped, Some(35));
}
