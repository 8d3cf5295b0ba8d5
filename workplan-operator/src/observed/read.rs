//! Reads pods of the API.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{self, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::{Resource, ResourceExt};
use kubeci_api::Workplan;

use super::pod::{
    ContainerKind, ContainerState, Ended, ObservedContainer, ObservedPod, Owner, PodPhase,
};

/// The `activeDeadlineSeconds` of a pod that the operator has stopped. It can be set on a pod that runs: the kubelet
/// then stops the containers, and keeps the pod and its logs.
pub const STOPPED_SECONDS: i64 = 1;

impl ObservedPod {
    /// A pod, which may be one of the Workplan.
    #[must_use]
    pub fn of(pod: &Pod, workplan: &Workplan) -> Self {
        let status = pod.status.as_ref();
        let (reason, message) = reason(status);
        Self {
            name: pod.name_any(),
            uid: pod.uid(),
            version: pod.resource_version(),
            owner: owner(pod, workplan),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            stopped: is_stopped(pod),
            phase: phase(status),
            reason,
            message,
            created: at(pod.metadata.creation_timestamp.as_ref()),
            started: status.and_then(|status| at(status.start_time.as_ref())),
            prepared: status.and_then(prepared),
            gates: gates(pod),
            unschedulable: unschedulable(status),
            containers: containers(pod),
            earlier: Vec::new(),
        }
    }
}

fn is_stopped(pod: &Pod) -> bool {
    let deadline = pod.spec.as_ref().and_then(|it| it.active_deadline_seconds);
    deadline == Some(STOPPED_SECONDS)
}

fn owner(pod: &Pod, workplan: &Workplan) -> Owner {
    let is_controller = |owner: &&OwnerReference| owner.controller == Some(true);
    let Some(owner) = pod.owner_references().iter().find(is_controller) else {
        return Owner::Foreign;
    };
    if Some(&owner.uid) == workplan.meta().uid.as_ref() {
        Owner::Workplan
    } else if owner.kind == Workplan::kind(&()) && owner.name == workplan.name_any() {
        Owner::Former
    } else {
        Owner::Foreign
    }
}

fn phase(status: Option<&v1::PodStatus>) -> PodPhase {
    match status.and_then(|status| status.phase.as_deref()) {
        Some("Succeeded") => PodPhase::Succeeded,
        Some("Failed") => PodPhase::Failed,
        Some("Pending") | None => PodPhase::Pending,
        Some(_) => PodPhase::Running,
    }
}

/// The pod's own reason, or the one for which it is about to be removed.
fn reason(status: Option<&v1::PodStatus>) -> (Option<String>, Option<String>) {
    let Some(status) = status else {
        return (None, None);
    };
    if status.reason.is_some() {
        return (status.reason.clone(), status.message.clone());
    }
    let disruption = condition(status, "DisruptionTarget", "True");
    disruption.map_or((None, status.message.clone()), |disruption| {
        (disruption.reason.clone(), disruption.message.clone())
    })
}

fn unschedulable(status: Option<&v1::PodStatus>) -> Option<String> {
    let condition = condition(status?, "PodScheduled", "False")?;
    (condition.reason.as_deref() != Some("SchedulingGated"))
        .then(|| condition.message.clone().unwrap_or_default())
}

fn prepared(status: &v1::PodStatus) -> Option<Timestamp> {
    let condition = condition(status, "PodReadyToStartContainers", "True")?;
    at(condition.last_transition_time.as_ref())
}

fn gates(pod: &Pod) -> Vec<String> {
    let gates = pod
        .spec
        .iter()
        .flat_map(|spec| spec.scheduling_gates.iter());
    gates.flatten().map(|gate| gate.name.clone()).collect()
}

fn condition<'a>(
    status: &'a v1::PodStatus,
    kind: &str,
    value: &str,
) -> Option<&'a v1::PodCondition> {
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == kind && condition.status == value)
}

fn containers(pod: &Pod) -> Vec<ObservedContainer> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let main = status.and_then(|status| status.container_statuses.as_ref());
    let ephemeral = status.and_then(|status| status.ephemeral_container_statuses.as_ref());
    let known = |container: &v1::Container, statuses: Option<&Vec<v1::ContainerStatus>>| {
        let mut statuses = statuses.into_iter().flatten();
        let status = statuses.find(|status| status.name == container.name)?;
        status.state.as_ref().map(state)
    };
    let observed = |container: &v1::Container, statuses, kind| ObservedContainer {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        kind,
        state: known(container, statuses).unwrap_or(ContainerState::Unknown),
    };
    let kind = |container: &v1::Container| match container.restart_policy.as_deref() {
        Some("Always") => ContainerKind::Sidecar,
        _ => ContainerKind::Init,
    };
    let inits = spec.init_containers.iter().flatten();
    let inits = inits.map(|container| observed(container, init, kind(container)));
    let mains = spec.containers.iter();
    let mains = mains.map(|container| observed(container, main, ContainerKind::Main));
    let ephemerals = ephemeral
        .into_iter()
        .flatten()
        .map(|status| ObservedContainer {
            name: status.name.clone(),
            image: status.image.clone(),
            kind: ContainerKind::Ephemeral,
            state: status.state.as_ref().map_or(ContainerState::Unknown, state),
        });
    inits.chain(mains).chain(ephemerals).collect()
}

fn state(state: &v1::ContainerState) -> ContainerState {
    if let Some(end) = &state.terminated {
        ContainerState::Ended(Ended {
            exit_code: end.exit_code,
            reason: end.reason.clone().unwrap_or_default(),
            message: end.message.clone().unwrap_or_default(),
            started: at(end.started_at.as_ref()),
            finished: at(end.finished_at.as_ref()),
        })
    } else if let Some(running) = &state.running {
        ContainerState::Running {
            since: at(running.started_at.as_ref()),
        }
    } else if let Some(waiting) = &state.waiting {
        ContainerState::Waiting {
            reason: waiting.reason.clone().unwrap_or_default(),
            message: waiting.message.clone().unwrap_or_default(),
        }
    } else {
        ContainerState::Unknown
    }
}

/// A time that was set: a container that never ran has the epoch as its start.
fn at(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
        .filter(|time| *time > Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use kubeci_api::Order;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::workplan;

    fn observed(change: &Value) -> ObservedPod {
        let mut pod = json!({
            "metadata": {"name": "plan-0", "ownerReferences": [
                {"apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "name": "plan", "uid": "uid", "controller": true},
            ]},
            "spec": {"initContainers": [{"name": "a", "image": "i"}], "containers": [{"name": "b", "image": "i"}]},
        });
        for (key, value) in change.as_object().unwrap() {
            *pod.pointer_mut("")
                .unwrap()
                .as_object_mut()
                .unwrap()
                .entry(key)
                .or_insert(json!({})) = value.clone();
        }
        let pod = serde_json::from_value(pod).unwrap();
        ObservedPod::of(&pod, &workplan(Order::Linear, &["a | b"]))
    }

    #[test]
    fn pod_without_status_has_unknown_containers() {
        let pod = observed(&json!({}));
        assert_eq!(pod.owner, Owner::Workplan);
        assert_eq!(pod.phase, PodPhase::Pending);
        assert_eq!(pod.containers[0].state, ContainerState::Unknown);
        let kinds: Vec<_> = pod.containers.iter().map(|it| it.kind).collect();
        assert_eq!(kinds, [ContainerKind::Init, ContainerKind::Main]);
        assert!(!pod.is_quiet());
    }

    #[rstest]
    #[case::none(json!({"containers": []}), false)]
    #[case::of_a_webhook(json!({"containers": [], "activeDeadlineSeconds": 3600}), false)]
    #[case::of_the_operator(json!({"containers": [], "activeDeadlineSeconds": 1}), true)]
    fn deadline_of_one_second_stops_a_pod(#[case] spec: Value, #[case] stopped: bool) {
        assert_eq!(observed(&json!({ "spec": spec })).stopped, stopped);
    }

    #[test]
    fn containers_are_matched_by_name() {
        let pod = observed(&json!({"status": {
            "initContainerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": 0, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}}}],
            "containerStatuses": [{"name": "b", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-01T00:00:02Z"}}}],
        }}));
        assert!(
            matches!(&pod.containers[0].state, ContainerState::Ended(end) if end.exit_code == 0)
        );
        assert!(matches!(
            pod.containers[1].state,
            ContainerState::Running { since: Some(_) }
        ));
        assert_eq!(
            pod.last_progress(),
            Some("2026-01-01T00:00:01Z".parse().unwrap())
        );
        assert!(!pod.is_quiet());
    }

    #[test]
    fn failed_init_container_ends_the_pod_early() {
        let pod = observed(&json!({"status": {"phase": "Pending",
            "initContainerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": 1}}}],
            "containerStatuses": [{"name": "b", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "PodInitializing"}}}],
        }}));
        assert!(pod.is_quiet());
    }

    /// As long as steps run the kubelet starts it again, and its end is none of the pod's.
    #[test]
    fn failed_native_sidecar_ends_no_pod() {
        let pod = observed(&json!({
            "spec": {
                "initContainers": [{"name": "mesh", "image": "i", "restartPolicy": "Always"}],
                "containers": [{"name": "b", "image": "i"}],
            },
            "status": {
                "initContainerStatuses": [{"name": "mesh", "image": "", "imageID": "", "ready": false, "restartCount": 4,
                    "state": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:00:09Z"}}}],
                "containerStatuses": [{"name": "b", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"waiting": {"reason": "PodInitializing"}}}],
            },
        }));
        assert_eq!(pod.containers[0].kind, ContainerKind::Sidecar);
        assert!(!pod.is_quiet());
        assert_eq!(pod.last_progress(), None);
    }

    #[test]
    fn ephemeral_container_keeps_a_pod() {
        let pod = |state: Value| {
            observed(&json!({
                "spec": {"containers": [{"name": "a", "image": "i"}]},
                "status": {
                    "containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                        "state": {"terminated": {"exitCode": 0}}}],
                    "ephemeralContainerStatuses": [{"name": "debug", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                        "state": state}],
                },
            }))
        };
        assert!(!pod(json!({"running": {}})).is_quiet());
        assert!(pod(json!({"terminated": {"exitCode": 137}})).is_quiet());
    }

    #[rstest]
    #[case::evicted(json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}), Some("Evicted"))]
    #[case::preempted(json!({"phase": "Running", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}), Some("PreemptionByScheduler"))]
    #[case::none(json!({"phase": "Running"}), None)]
    fn pod_reason_is_kept(#[case] status: Value, #[case] expected: Option<&str>) {
        assert_eq!(
            observed(&json!({ "status": status })).reason.as_deref(),
            expected
        );
    }

    #[rstest]
    #[case::placed(json!([{"type": "PodScheduled", "status": "True"}]), false)]
    #[case::not_yet_looked_at(json!([]), false)]
    #[case::refused(json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}]), true)]
    fn unschedulable_condition_is_read(#[case] conditions: Value, #[case] expected: bool) {
        let pod = observed(&json!({"status": {"conditions": conditions}}));
        assert_eq!(pod.unschedulable.is_some(), expected);
    }

    #[rstest]
    #[case::none(json!([]), Owner::Foreign)]
    #[case::other(json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "plan", "uid": "x", "controller": true}]), Owner::Foreign)]
    #[case::earlier(json!([{"apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "name": "plan", "uid": "old", "controller": true}]), Owner::Former)]
    fn foreign_pods_are_recognized(#[case] owners: Value, #[case] expected: Owner) {
        let pod = observed(&json!({"metadata": {"name": "plan-0", "ownerReferences": owners}}));
        assert_eq!(pod.owner, expected);
    }
}
