//! Pods and observed states in short, for the tables of cases.

use std::collections::BTreeMap;

use super::*;
use crate::observed::{ContainerKind, Ended, ObservedContainer};

pub fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

pub fn observed(pods: impl IntoIterator<Item = (usize, ObservedPod)>) -> ObservedState {
    ObservedState {
        pods: pods.into_iter().collect(),
        certainty: Certainty::Watched,
        refusals: BTreeMap::new(),
        refused_since: None,
        warnings: BTreeMap::new(),
        node: NodeState::Ready,
        sweep: SweepState::NotAsked,
        origin: None,
        holder: None,
        user: crate::observed::FolderUse::Unused,
        admission: Admission::UNLIMITED,
        limits: Limits::NONE,
        sidecar_grace: jiff::SignedDuration::from_secs(30),
        pending_timeout: jiff::SignedDuration::from_hours(1),
        now: now(),
    }
}

/// A pod of the task on the node `n1`, in short: `"a"` is an init container, `"|"` begins the others, and
/// after `=` comes its state: `run`, `0` or another exit code, `wait:Reason`. A name with `*` is a native
/// sidecar's.
pub fn pod(task: usize, containers: &str) -> ObservedPod {
    let (init, main) = containers.split_once('|').unwrap_or(("", containers));
    let parse = |text: &str, init| -> Vec<ObservedContainer> {
        text.split_whitespace()
            .map(|text| container(text, init))
            .collect()
    };
    ObservedPod {
        name: format!("plan-{task}"),
        uid: None,
        version: None,
        owner: Owner::Workplan,
        node: Some("n1".into()),
        deleting: false,
        stopped: false,
        phase: PodPhase::Pending,
        reason: None,
        message: None,
        created: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        started: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        prepared: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        gates: Vec::new(),
        unschedulable: None,
        containers: [parse(init, true), parse(main, false)].concat(),
        earlier: Vec::new(),
    }
}

pub fn container(text: &str, init: bool) -> ObservedContainer {
    let (name, state) = text.split_once('=').unwrap_or((text, ""));
    let (name, kind) = match (name.strip_prefix('*'), init) {
        (Some(name), _) => (name, ContainerKind::Sidecar),
        (None, true) => (name, ContainerKind::Init),
        (None, false) => (name, ContainerKind::Main),
    };
    let second = |text: &str| Some(text.parse().unwrap());
    let state = match state {
        "" => ContainerState::Unknown,
        "run" => ContainerState::Running {
            since: second("2026-01-01T00:00:01Z"),
        },
        waits if waits.starts_with("wait:") => ContainerState::Waiting {
            reason: waits["wait:".len()..].into(),
            message: "not found".into(),
        },
        code => ContainerState::Ended(Ended {
            exit_code: code.parse().unwrap(),
            reason: String::new(),
            message: String::new(),
            started: second("2026-01-01T00:00:01Z"),
            finished: second("2026-01-01T00:00:02Z"),
        }),
    };
    ObservedContainer {
        name: name.into(),
        image: "alpine".into(),
        kind,
        state,
    }
}

/// A time of the day on which the pods run. Their containers run since 00:00:01; the kubelet cuts this time to whole
/// seconds.
pub fn at(second: i64) -> Timestamp {
    let midnight: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    midnight + jiff::SignedDuration::from_secs(second)
}

pub fn listed(second: i64, pods: impl IntoIterator<Item = (usize, ObservedPod)>) -> ObservedState {
    ObservedState {
        certainty: Certainty::Listed,
        now: at(second),
        ..observed(pods)
    }
}

pub fn cancelled(mut workplan: Workplan) -> Workplan {
    workplan.spec.cancel = true;
    workplan
}

/// The pod, which the kubelet has stopped because the operator told it to.
pub fn stopped(mut pod: ObservedPod) -> ObservedPod {
    pod.stopped = true;
    (pod.phase, pod.reason) = (PodPhase::Failed, Some("DeadlineExceeded".into()));
    pod
}

/// The phases of the steps by their first letters, running steps as `r`.
pub fn phases(status: &WorkplanStatus) -> String {
    let words = status
        .steps
        .iter()
        .map(|step| serde_json::to_value(step.phase).unwrap());
    words
        .map(|word| word.as_str().unwrap().chars().next().unwrap())
        .collect()
}

pub fn summary(decision: &Decision) -> &str {
    decision.status.summary.as_deref().unwrap_or_default()
}

pub fn reason(decision: &Decision) -> &str {
    decision.status.reason.as_deref().unwrap_or_default()
}

pub fn message(decision: &Decision) -> &str {
    decision.status.message.as_deref().unwrap_or_default()
}

/// The Workplan with the status that was decided.
pub fn after(mut workplan: Workplan, decision: &Decision) -> Workplan {
    workplan.status = Some(decision.status.clone());
    workplan
}

pub fn decided(workplan: &Workplan, state: &ObservedState) -> Decision {
    let decision = decide(workplan, state);
    let again = decide(&after(workplan.clone(), &decision), state);
    assert_eq!(
        again.status, decision.status,
        "the same state is decided alike again"
    );
    decision
}

pub fn cleaned(decision: &Decision) -> Option<(&str, &str)> {
    let mut conditions = decision.status.conditions.iter();
    let condition = conditions.find(|condition| condition.type_ == "WorkspaceCleaned")?;
    Some((condition.status.as_str(), condition.reason.as_str()))
}
