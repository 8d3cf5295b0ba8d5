//! Why a pod is on no node, and what to do about it.

use kubeci_engine::Cause;

use crate::observed::ObservedPod;

/// A reason to wait.
pub enum Wait {
    /// It does not pass by itself.
    Wrong(Cause),
    /// Nothing is wrong, but it takes long.
    Slow(Cause),
}

/// Parts of the scheduler's message about nodes, and what helps. The message has no structure.
const ADVICE: [(&str, &str); 6] = [
    (
        "Insufficient",
        "lower the steps' resources.requests, or add a node",
    ),
    ("Too many pods", "add a node"),
    ("taint", "add tolerations, or remove the taint from a node"),
    (
        "node affinity",
        "correct nodeSelector or affinity, or label a node",
    ),
    (
        "free ports",
        "use another host port, or wait for the pod that has it",
    ),
    (
        "volume",
        "see to the volumes: each must be usable on the node on which the plan runs",
    ),
];
const ANY: &str = "lower the steps' resources.requests, correct nodeSelector, affinity or tolerations, or add a node";

/// What a pod waits for that is on no node. Room may come at any time, so it is waited for without end; a gate
/// must be removed and a volume claim created by someone.
pub fn wait(pod: &ObservedPod, is_slow: bool) -> Option<Wait> {
    if !pod.gates.is_empty() {
        return Some(Wait::Wrong(gated(pod)));
    }
    match &pod.unschedulable {
        Some(condition) => Some(unschedulable(pod, condition.trim_end_matches('.'))),
        None => is_slow.then(|| {
            let message = format!(
                "no scheduler has said anything of the pod {} yet; see to the scheduler if this lasts",
                pod.name
            );
            Wait::Slow(Cause::new("NotScheduled", message))
        }),
    }
}

fn gated(pod: &ObservedPod) -> Cause {
    let message = format!(
        "the pod {} is held back by the scheduling gates {}; whoever added them must remove them",
        pod.name,
        pod.gates.join(", ")
    );
    Cause::new("SchedulingGated", message)
}

fn unschedulable(pod: &ObservedPod, condition: &str) -> Wait {
    let name = &pod.name;
    if condition.contains("persistentvolumeclaim") && condition.contains("not found") {
        let message = format!(
            "the pod {name} names a volume that is not there: {condition}. Create the PersistentVolumeClaim, or correct \
             the Workflow's volumes"
        );
        return Wait::Wrong(Cause::new("VolumeClaimNotFound", message));
    }
    if condition.contains("unbound immediate PersistentVolumeClaims") {
        let message = format!(
            "the pod {name} waits for a volume: {condition}. Its PersistentVolumeClaim is not bound: see to its \
             StorageClass, or create a PersistentVolume for it"
        );
        return Wait::Wrong(Cause::new("VolumeClaimNotBound", message));
    }
    // What follows is about making room by ending other pods.
    let nodes = condition.split(" preemption: ").next().unwrap_or(condition);
    let fitting = ADVICE.iter().filter(|(part, _)| nodes.contains(part));
    let fitting: Vec<&str> = fitting.map(|(_, advice)| *advice).collect();
    let advice = if fitting.is_empty() {
        ANY.to_owned()
    } else {
        fitting.join("; ")
    };
    let message = format!(
        "the pod {name} fits on no node: {condition}. It starts once one has room; {advice}"
    );
    Wait::Slow(Cause::new("Unschedulable", message))
}
