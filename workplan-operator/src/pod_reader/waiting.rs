//! Why a pod does not start its next container, as found by the scheduler, the conditions of the pod, its containers
//! or its Events. It is reported within ten seconds. A problem fails the steps after the same time as a missing image;
//! a slow start does not.

use jiff::{SignedDuration, Timestamp};
use kubeci_engine::{Cause, PATIENCE, Severity, Waiting, WaitingCause};

use super::blocked::{Blocked, is_blocked};
use super::scheduling::{self, Wait};
use super::task_steps::TaskSteps;
use crate::observed::{
    ContainerKind, ContainerState, ObservedContainer, ObservedPod, Owner, PodWarning,
};

/// How long a pod does not change before its Events are read.
const STILL: SignedDuration = SignedDuration::from_secs(3);
/// How long a pod does not change before the wait is reported without a known cause.
const SLOW: SignedDuration = SignedDuration::from_secs(8);
/// The minimum time between two reads of its Events. It grows with the time without a change.
const READS_APART: SignedDuration = SignedDuration::from_secs(5);

/// Adds why a pod waits. Returns the cause if the wait has lasted too long.
pub fn observe(
    steps: TaskSteps,
    pod: &ObservedPod,
    warning: Option<&PodWarning>,
    now: Timestamp,
    waiting: &mut Waiting,
) -> Option<Cause> {
    let is_other = |it: &ObservedContainer| !steps.has(&it.name) && !it.is_own();
    let waits_for = waits_for(pod)?;
    let since = last_change(pod).unwrap_or(now);
    let is_slow = now >= since + SLOW;
    if pod.node.is_some() {
        waiting.wake_at(next_read(since, now));
    } else if !is_slow {
        waiting.wake_at(since + SLOW);
    }
    let wait = match waits_for {
        WaitsFor::Scheduler => scheduling::wait(pod, is_slow),
        WaitsFor::Kubelet => wait_for_kubelet(pod, warning, is_slow),
        WaitsFor::Start(container) if is_other(container) => {
            wait_for_other(container, pod, warning, is_slow, now)
        }
        WaitsFor::Start(_) => wait_for_start(pod, warning, is_slow),
        WaitsFor::End(container) if is_other(container) => {
            is_slow.then(|| Wait::Wrong(never_ends(container, pod)))
        }
        WaitsFor::End(_) => None,
    }?;
    let until = since + PATIENCE;
    match wait {
        Wait::Wrong(cause) if until <= now => return Some(cause),
        Wait::Wrong(cause) => {
            waiting.wake_at(until);
            waiting.add(WaitingCause::given_up(Severity::Blocked, cause));
        }
        Wait::Slow(cause) => waiting.add(WaitingCause::new(Severity::Slow, cause)),
    }
    None
}

/// Whether a pod has not changed for a while for a reason that may be in its Events.
pub fn is_stalled(pod: &ObservedPod, now: Timestamp) -> bool {
    let waits = pod.node.is_some() && waits_for(pod).is_some();
    waits && last_change(pod).is_some_and(|since| since + STILL <= now)
}

/// The next change of a pod that has not ended.
enum WaitsFor<'a> {
    Scheduler,
    Kubelet,
    Start(&'a ObservedContainer),
    /// An init container runs.
    End(&'a ObservedContainer),
}

fn waits_for(pod: &ObservedPod) -> Option<WaitsFor<'_>> {
    if pod.owner != Owner::Workplan || pod.deleting || pod.is_quiet() {
        return None;
    }
    if pod.node.is_none() {
        return Some(WaitsFor::Scheduler);
    }
    if pod.started.is_none() {
        return Some(WaitsFor::Kubelet);
    }
    let of_kind = |kind| pod.containers.iter().filter(move |it| it.kind == kind);
    if let Some(init) = of_kind(ContainerKind::Init).find(|it| !it.has_ended()) {
        return Some(if init.runs() {
            WaitsFor::End(init)
        } else {
            WaitsFor::Start(init)
        });
    }
    let mut mains = of_kind(ContainerKind::Main);
    mains
        .find(|it| !it.has_ended() && !it.runs())
        .map(WaitsFor::Start)
}

/// The last change of a pod.
fn last_change(pod: &ObservedPod) -> Option<Timestamp> {
    let once = pod.containers.iter().filter(|it| it.runs_once());
    let starts = once.filter_map(|it| match it.state {
        ContainerState::Running { since } => since,
        _ => None,
    });
    let last = starts.chain(pod.last_progress()).chain(pod.prepared).max();
    last.or(pod.created)
}

fn next_read(since: Timestamp, now: Timestamp) -> Timestamp {
    let still = now.duration_since(since);
    if still < STILL {
        since + STILL
    } else if still < SLOW {
        since + SLOW
    } else {
        now + READS_APART.max(still / 2)
    }
}

fn wait_for_kubelet(
    pod: &ObservedPod,
    warning: Option<&PodWarning>,
    is_slow: bool,
) -> Option<Wait> {
    if let Some(warning) = warning {
        return Some(Wait::Wrong(warned(pod, warning)));
    }
    let node = pod.node.as_deref().unwrap_or_default();
    let message = format!(
        "the kubelet of the node {node} has not started the pod {}; if this lasts, check the node",
        pod.name
    );
    is_slow.then(|| Wait::Slow(Cause::new("PodNotTaken", message)))
}

/// The wait of a step's own container is observed as that of the step.
fn wait_for_start(pod: &ObservedPod, warning: Option<&PodWarning>, is_slow: bool) -> Option<Wait> {
    if pod.containers.iter().any(|it| is_blocked(&it.state)) {
        return None;
    }
    let is_idle = !pod.containers.iter().any(ObservedContainer::runs);
    match warning.filter(|warning| is_idle && is_of_now(pod, warning)) {
        Some(warning) => Some(Wait::Wrong(warned(pod, warning))),
        None => is_slow.then(|| Wait::Slow(starting(pod))),
    }
}

/// An init container that is not a step.
fn wait_for_other(
    container: &ObservedContainer,
    pod: &ObservedPod,
    warning: Option<&PodWarning>,
    is_slow: bool,
    now: Timestamp,
) -> Option<Wait> {
    let is_first = container.kind == ContainerKind::Init;
    match Blocked::of(container, pod, now).filter(|_| is_first) {
        Some(blocked) => Some(Wait::Wrong(Cause::new(
            &blocked.cause.reason,
            format!(
                "the steps of the pod {1} wait for the container {0}, which is not a step: {2}",
                container.name, pod.name, blocked.cause.message
            ),
        ))),
        None => wait_for_start(pod, warning, is_slow),
    }
}

fn never_ends(container: &ObservedContainer, pod: &ObservedPod) -> Cause {
    let message = format!(
        "the steps of the pod {1} start after the init container {0}, which is not a step and has not ended; \
         correct the webhook or controller that adds it",
        container.name, pod.name
    );
    Cause::new("InitContainerRuns", message)
}

/// Whether a warning is about the current wait. Times of the kubelet have whole seconds.
fn is_of_now(pod: &ObservedPod, warning: &PodWarning) -> bool {
    let since = pod.last_progress().max(pod.prepared);
    since <= pod.started || since.is_none_or(|since| since < warning.at)
}

fn warned(pod: &ObservedPod, warning: &PodWarning) -> Cause {
    let advice = match warning.reason.as_str() {
        "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" => {
            "Create the object that the volume names, or correct spec.volumes; for the volume kubeci-workspace, make \
             /kubeci writable on the node, or exclude the node with nodeSelector"
        }
        "FailedCreatePodSandBox" | "NetworkNotReady" => {
            "Check the network and the container runtime of the node"
        }
        _ => "Correct the object that the message names",
    };
    let node = pod.node.as_deref().unwrap_or_default();
    let text = warning.message.trim_end_matches(['.', '\n']);
    let message = format!(
        "the pod {} does not start on the node {node}: {text}. {advice}",
        pod.name
    );
    Cause::new(&warning.reason, message)
}

fn starting(pod: &ObservedPod) -> Cause {
    let waiting = pod.containers.iter().filter(|it| it.runs_once());
    let mut waiting = waiting.filter(|it| !it.has_ended() && !it.runs());
    let next = waiting.next().map_or("", |it| it.name.as_str());
    let node = pod.node.as_deref().unwrap_or_default();
    let message = if pod.prepared.is_some() {
        format!(
            "the container {next} of the pod {} has not started on the node {node}: its image is being pulled, or it \
             is being created",
            pod.name
        )
    } else {
        format!(
            "the pod {} is being prepared on the node {node}: its volumes are being mounted, or its network is \
             being set up",
            pod.name
        )
    };
    Cause::new("PodStarting", message)
}
