//! Why a pod is on no node, and what to do about it.

use super::failure::Failure;
use super::waiting::Wait;
use crate::observed::PodFacts;

/// What the scheduler says of nodes, and what helps. It has no structure but its words.
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
/// and a volume claim are things that somebody must do.
pub fn wait(pod: &PodFacts, is_slow: bool) -> Option<Wait> {
    if !pod.gates.is_empty() {
        return Some(Wait::wrong(gated(pod)));
    }
    match &pod.unschedulable {
        Some(said) => Some(unschedulable(pod, said.trim_end_matches('.'))),
        None => is_slow.then(|| {
            let text = format!(
                "no scheduler has said anything of the pod {} yet; see to the scheduler if this lasts",
                pod.name
            );
            Wait::slow(Failure::new("NotScheduled", text))
        }),
    }
}

fn gated(pod: &PodFacts) -> Failure {
    let text = format!(
        "the pod {} is held back by the scheduling gates {}; whoever added them must remove them",
        pod.name,
        pod.gates.join(", ")
    );
    Failure::new("SchedulingGated", text)
}

fn unschedulable(pod: &PodFacts, said: &str) -> Wait {
    let name = &pod.name;
    if said.contains("persistentvolumeclaim") && said.contains("not found") {
        let text = format!(
            "the pod {name} names a volume that is not there: {said}. Create the PersistentVolumeClaim, or correct \
             the Workflow's volumes"
        );
        return Wait::wrong(Failure::new("VolumeClaimNotFound", text));
    }
    if said.contains("unbound immediate PersistentVolumeClaims") {
        let text = format!(
            "the pod {name} waits for a volume: {said}. Its PersistentVolumeClaim is not bound: see to its \
             StorageClass, or create a PersistentVolume for it"
        );
        return Wait::wrong(Failure::new("VolumeClaimNotBound", text));
    }
    // What follows is about making room by ending other pods.
    let nodes = said.split(" preemption: ").next().unwrap_or(said);
    let fitting = ADVICE.iter().filter(|(word, _)| nodes.contains(word));
    let fitting: Vec<&str> = fitting.map(|(_, advice)| *advice).collect();
    let advice = if fitting.is_empty() {
        ANY.to_owned()
    } else {
        fitting.join("; ")
    };
    let text =
        format!("the pod {name} fits on no node: {said}. It starts once one has room; {advice}");
    Wait::slow(Failure::new("Unschedulable", text))
}
