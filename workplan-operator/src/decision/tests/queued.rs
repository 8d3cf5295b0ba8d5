//! Workplans that wait because of the caps of the operator.

use std::num::NonZeroUsize;

use kubeci_api::Order;

use super::fixtures::*;
use super::*;
use crate::admission::{Caps, Place, QUEUED};
use crate::testing::{spec, workplan, workplan_of};

fn waiting() -> ObservedState {
    let caps = Caps {
        workplans: NonZeroUsize::new(10),
        pods: None,
    };
    let place = Place {
        number: 7,
        count: 40,
        caps,
    };
    let mut state = observed([]);
    state.admission = Admission::Queued(Some(place));
    state
}

#[test]
fn queued_plan_states_its_place() {
    let plan = workplan(Order::Linear, &["a"]);
    let decision = decided(&plan, &waiting());
    assert_eq!(decision.actions, []);
    let status = decision.status;
    assert_eq!(status.phase, Some(Phase::Pending));
    assert_eq!(status.reason.as_deref(), Some(QUEUED));
    let expected = "waits at place 7 of 40 in the queue, because at most 10 Workplans run at a time \
                    (--max-running-workplans). The place is written again when it has halved";
    assert_eq!(status.message.as_deref(), Some(expected));
}

#[test]
fn queued_plan_without_place_writes_nothing() {
    let plan = workplan(Order::Linear, &["a"]);
    let mut state = waiting();
    state.admission = Admission::Queued(None);
    let decision = decided(&plan, &state);
    assert_eq!(
        (decision.actions, decision.status),
        (vec![], WorkplanStatus::default())
    );
}

#[test]
fn admitted_plan_no_longer_states_a_place() {
    let mut plan = workplan(Order::Linear, &["a"]);
    plan.status = Some(decided(&plan, &waiting()).status);
    let decision = decided(&plan, &observed([]));
    assert_eq!(decision.actions, [Action::CreatePod(0)]);
    let status = decision.status;
    assert_eq!((status.phase, status.reason), (Some(Phase::Pending), None));
}

#[test]
fn invalid_plan_fails_in_the_queue() {
    let plan = workplan(Order::Linear, &["a:absent"]);
    let status = decided(&plan, &waiting()).status;
    assert_eq!(status.reason.as_deref(), Some("InvalidPlan"));
}

#[test]
fn deletion_of_a_queued_plan_is_not_held() {
    let mut plan = workplan(Order::Linear, &["a"]);
    let deleted = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now());
    plan.meta_mut().deletion_timestamp = Some(deleted);
    let mut state = waiting();
    state.certainty = Certainty::Listed;
    let decision = decided(&plan, &state);
    assert_eq!(decision.actions, [Action::RemoveFinalizer]);
}

#[test]
fn wide_plan_keeps_to_its_pods() {
    let plan = workplan_of(spec(Order::Graph, &["a", "b", "c"]));
    let mut state = observed([(0, pod(0, "| a=run"))]);
    state.admission = Admission::Admitted { pods: 2 };
    assert_eq!(decided(&plan, &state).actions, [Action::CreatePod(1)]);
    state.admission = Admission::Admitted { pods: 1 };
    assert_eq!(decided(&plan, &state).actions, []);
    let ended = observed([(0, pod(0, "| a=0"))]);
    let state = ObservedState {
        admission: state.admission,
        ..ended
    };
    assert_eq!(decided(&plan, &state).actions, [Action::CreatePod(1)]);
}
