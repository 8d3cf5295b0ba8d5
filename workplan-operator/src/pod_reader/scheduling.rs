//! Why a pod has no node, and what to do about it.

use kubeci_engine::Cause;

use crate::observed::ObservedPod;

/// A reason to wait.
pub enum Wait {
    /// A problem that needs intervention.
    Wrong(Cause),
    /// No known problem, but the wait is long.
    Slow(Cause),
}

/// Parts of the scheduler's message, each with advice. The message has no structure.
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
        "use another host port, or wait until the other pod has ended",
    ),
    (
        "volume",
        "check the volumes: each must be available on the node of the plan",
    ),
];
const ANY: &str = "lower the steps' resources.requests, correct nodeSelector, affinity or tolerations, or add a node";

/// Why a pod without a node waits. The wait for free resources has no time limit, because they may become free at any
/// time. Scheduling gates and missing volume claims need intervention.
pub fn wait(pod: &ObservedPod, is_slow: bool) -> Option<Wait> {
    if !pod.gates.is_empty() {
        return Some(Wait::Wrong(gated(pod)));
    }
    match &pod.unschedulable {
        Some(condition) => Some(unschedulable(pod, condition.trim_end_matches('.'))),
        None => is_slow.then(|| {
            let message = format!(
                "no scheduler has reported on the pod {}; if this lasts, check the scheduler",
                pod.name
            );
            Wait::Slow(Cause::new("NotScheduled", message))
        }),
    }
}

fn gated(pod: &ObservedPod) -> Cause {
    let message = format!(
        "the pod {} has the scheduling gates {}; it is scheduled after they are removed. Check the controller that \
         removes them",
        pod.name,
        pod.gates.join(", ")
    );
    Cause::new("SchedulingGated", message)
}

fn unschedulable(pod: &ObservedPod, condition: &str) -> Wait {
    let name = &pod.name;
    if condition.contains("persistentvolumeclaim") && condition.contains("not found") {
        let message = format!(
            "a volume of the pod {name} does not exist: {condition}. Create the PersistentVolumeClaim, or correct \
             spec.volumes"
        );
        return Wait::Wrong(Cause::new("VolumeClaimNotFound", message));
    }
    if condition.contains("unbound immediate PersistentVolumeClaims") {
        let message = format!(
            "the pod {name} waits for a volume: {condition}. Its PersistentVolumeClaim is not bound: check its \
             StorageClass, or create a PersistentVolume"
        );
        return Wait::Wrong(Cause::new("VolumeClaimNotBound", message));
    }
    // The rest of the message is about preemption.
    let nodes = condition.split(" preemption: ").next().unwrap_or(condition);
    let fitting = ADVICE.iter().filter(|(part, _)| nodes.contains(part));
    let fitting: Vec<&str> = fitting.map(|(_, advice)| *advice).collect();
    let advice = if fitting.is_empty() {
        ANY.to_owned()
    } else {
        fitting.join("; ")
    };
    let message = format!(
        "no node fits the pod {name}: {condition}. The pod starts when a node has room; {advice}"
    );
    Wait::Slow(Cause::new("Unschedulable", message))
}
