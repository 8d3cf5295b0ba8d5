//! Why the steps of a pod failed.

use kube::core::Duration;
use kubeci_api::names::RUNNER_CONTAINER;
use kubeci_engine::{Cause, STOPPED};
use kubeci_plan::FailureKind;

use crate::observed::{Ended, ObservedPod, PodPhase};

/// The maximum number of characters of the end of a log in a status.
const LOG_TAIL: usize = 400;

/// The kubelet has lost the container, and does not know how it ended.
pub const UNKNOWN_END: &str = "ContainerStatusUnknown";

/// The same of the container runtime, which was restarted after the end of the container.
pub const UNKNOWN_TO_RUNTIME: &str = "Unknown";

/// The reason for a container whose process could not be started.
const START_ERROR: &str = "StartError";

/// Why a container ended with an exit code other than 0.
#[must_use]
pub fn of_end(end: &Ended) -> Cause {
    let log = tail(&end.message);
    match end.reason.as_str() {
        "OOMKilled" => {
            let message =
                "the container used more memory than its limit; raise resources.limits.memory";
            Cause::new("OOMKilled", message).of_kind(FailureKind::OomKilled)
        }
        UNKNOWN_END | UNKNOWN_TO_RUNTIME => of_unknown_end(&log),
        START_ERROR if log.contains("memory limit") => {
            let advice = "the container cannot start with its limit of memory; raise resources.limits.memory";
            Cause::new(START_ERROR, format!("{advice}: {log}"))
        }
        "" | Cause::ERROR | "Completed" => Cause::new(Cause::ERROR, log),
        reason => Cause::new(reason, log),
    }
}

fn of_unknown_end(log: &str) -> Cause {
    let message = "the node does not know how the container ended, for example because the node was restarted";
    let message = match log {
        "" => message.to_owned(),
        log => format!("{message}: {log}"),
    };
    Cause::new(UNKNOWN_END, message).of_kind(FailureKind::Infrastructure)
}

/// Why a step has ended whose step runner was killed. The processes of the step itself cannot do that.
#[must_use]
pub fn of_killed_runner() -> Cause {
    let message = "something on the node killed the step runner with SIGKILL before the step had ended; check \
                   whether the node is out of memory";
    Cause::new("RunnerKilled", message).of_kind(FailureKind::Infrastructure)
}

/// Why a step failed whose condition, or an environment variable that is an expression, has no value.
#[must_use]
pub fn of_expression(message: &str) -> Cause {
    let message = match printable(message).as_str() {
        "" => "the message does not fit into the termination message of the container; it is in the log of the step".into(),
        message => message.to_owned(),
    };
    Cause::new(Cause::EXPRESSION_FAILED, message)
}

/// Why a step runner has left its step to the next pod.
#[must_use]
pub fn of_postponed(message: &str) -> Cause {
    let message = format!(
        "the step was not started in this pod, because {}",
        tail(message)
    );
    Cause::new("Postponed", message).of_kind(FailureKind::Infrastructure)
}

/// Why a container ended in a pod that the operator has stopped; none if it did not. The steps that were to be
/// stopped have a cause of their own.
#[must_use]
pub fn of_stop(pod: &ObservedPod) -> Option<Cause> {
    let message = || format!("the pod {} was stopped, because of another step", pod.name);
    is_stopped(pod).then(|| Cause::new(STOPPED, message()))
}

fn is_stopped(pod: &ObservedPod) -> bool {
    pod.stopped && pod.reason.as_deref() == Some("DeadlineExceeded")
}

/// Why a command failed that its step runner stopped after its time limit.
#[must_use]
pub fn of_timeout(limit: Duration, message: &str) -> Cause {
    let cause = Cause::timeout(limit.into());
    match tail(message).as_str() {
        "" => cause,
        log => Cause {
            message: format!("{}: {log}", cause.message),
            ..cause
        },
    }
}

/// Why an attempt failed whose details are not known.
#[must_use]
pub fn of_cut_attempt() -> Cause {
    let message = "the attempt failed; its times and exit code did not fit into the termination message of its container";
    Cause::new("RecordCut", message)
}

/// Why the containers of a pod are stopped before their steps have ended; none if they are not.
#[must_use]
pub fn of_removal(pod: &ObservedPod) -> Option<Cause> {
    let has_failed = pod.phase == PodPhase::Failed && pod.reason.is_some() && !is_stopped(pod);
    let message = pod.message.as_ref();
    let message = message.map(|message| format!(": {message}"));
    (pod.deleting || has_failed).then(|| {
        let message = message.unwrap_or_default();
        of_loss(
            pod,
            format!(
                "the pod {} was removed while its steps ran{message}",
                pod.name
            ),
        )
    })
}

/// Why a step does not start in a pod that is being removed.
#[must_use]
pub fn of_early_removal(pod: &ObservedPod) -> Cause {
    let message = format!(
        "the pod {} is being removed before the step has started",
        pod.name
    );
    of_loss(pod, message)
}

/// The loss of a whole pod.
fn of_loss(pod: &ObservedPod, message: String) -> Cause {
    let without_reason = if pod.deleting {
        "PodDeleted"
    } else {
        "PodFailed"
    };
    let reason = pod.reason.as_deref().unwrap_or(without_reason);
    let kind = match reason {
        // Something has limited the time of the pod.
        "DeadlineExceeded" => FailureKind::Failure,
        _ => FailureKind::Infrastructure,
    };
    Cause::new(reason, message).of_kind(kind)
}

/// Why a pod failed as a whole.
#[must_use]
pub fn of_pod(pod: &ObservedPod) -> Cause {
    if let Some(stopped) = of_stop(pod) {
        return stopped;
    }
    let message = pod
        .message
        .as_deref()
        .unwrap_or("Kubernetes gives no cause");
    let message = format!("the pod {} failed on its node: {message}", pod.name);
    of_loss(pod, message)
}

/// Why a pod is missing whose steps had started.
#[must_use]
pub fn of_missing_pod(name: &str) -> Cause {
    let message = format!(
        "the pod {name} was deleted before its steps had ended; to run the plan again, create a new Workplan"
    );
    Cause::new("PodDeleted", message).of_kind(FailureKind::Infrastructure)
}

/// Why the steps of a pod have not run whose step runner was installed too late. Its image is on the node for the next
/// pod.
#[must_use]
pub fn late_runner(pod: &str) -> Cause {
    let message = format!(
        "the containers of the steps in the pod {pod} started without the step runner, because its image could not be \
         pulled at first"
    );
    Cause::new("RunnerNotInstalled", message).of_kind(FailureKind::Infrastructure)
}

/// Why no step of a pod can run after one of kubeci's own containers failed. The exit code is that of the container,
/// if it ran.
#[must_use]
pub fn unprepared(container: &str, cause: &Cause, exit_code: Option<i32>) -> Cause {
    let (reason, does, undone) = if container == RUNNER_CONTAINER {
        let undone = "the step runner could not be installed in the pod";
        ("RunnerNotInstalled", "contains the step runner", undone)
    } else {
        let undone = "the shared folder could not be made writable for all users";
        (
            "WorkspaceNotOpened",
            "makes the shared folder writable for all users",
            undone,
        )
    };
    let message = match cause.reason.as_str() {
        "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            let why = &cause.message;
            format!("the image of the workplan operator, which {does}, does not start: {why}")
        }
        _ => format!("{undone}: {}", cause.sentence(exit_code)),
    };
    Cause::new(reason, message)
}

/// Why steps wait that were started without the step runner. There may be many such steps, so only the message of the
/// Workplan has the details.
#[must_use]
pub fn without_runner() -> Cause {
    let message = "the step waits for the step runner; see status.message of the Workplan";
    Cause::new("RunnerNotInstalled", message)
}

/// The end of a log, cut at a line if possible, without control characters.
pub fn tail(log: &str) -> String {
    let log = printable(log);
    let Some((start, _)) = log.char_indices().rev().nth(LOG_TAIL) else {
        return log;
    };
    let cut = &log[start..];
    let cut = cut.split_once('\n').map_or(cut, |(_, lines)| lines);
    format!("… {cut}")
}

/// A text without control characters.
pub fn printable(text: &str) -> String {
    let is_text = |char: &char| !char.is_control() || matches!(char, '\n' | '\t');
    let text: String = text.chars().filter(is_text).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_is_cut_to_its_end() {
        assert_eq!(tail(" short\n"), "short");
        let long = "x".repeat(1000) + "\nlast line é";
        assert_eq!(tail(&long), "… last line é");
        assert_eq!(tail(&"é".repeat(1000)).chars().count(), LOG_TAIL + 3);
    }

    #[test]
    fn log_loses_its_control_characters() {
        let log = "50 %\r\u{1b}[2J\u{9b}2Ja\tb\u{0}\u{7}\nend";
        assert_eq!(tail(log), "50 %[2J2Ja\tb\nend");
    }
}
