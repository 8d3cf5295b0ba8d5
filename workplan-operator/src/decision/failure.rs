//! Why a step did not complete, as it is written in its status.

use jiff::{SignedDuration, Timestamp};
use kubeci_api::StepStatus;
use kubeci_api::names::RUNNER_CONTAINER;

use crate::observed::{ContainerFacts, ContainerState, Ended, PodFacts, PodPhase};

/// How long a container may fail to be created before its step fails.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// The most characters of a container's last log lines that a status repeats.
const LOG_TAIL: usize = 400;

/// The kubelet's own reason for the end of a command whose exit code is not 0.
const ERROR: &str = "Error";

/// Reasons for which a container waits its turn, or is being created.
const IN_TURN: [&str; 3] = ["", "PodInitializing", "ContainerCreating"];
/// Reasons for which a container waits that time may cure. Others that the kubelet gives count as they do.
const CURABLE: [&str; 4] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CreatePodSandboxError",
];
/// Such reasons that are the image's.
const OF_IMAGE: [&str; 5] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "RegistryUnavailable",
    "ImageInspectError",
    "SignatureValidationFailed",
];
/// Reasons for which a container waits in vain.
const HOPELESS: [&str; 2] = ["InvalidImageName", "ErrImageNeverPull"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: String,
    pub text: String,
}

/// A container that the kubelet cannot create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    pub failure: Failure,
    /// When it is given up; at once if absent.
    pub until: Option<Timestamp>,
}

impl Failure {
    #[must_use]
    pub fn new(reason: &str, text: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            text: text.into(),
        }
    }

    /// What a container says that ended otherwise than with exit code 0.
    #[must_use]
    pub fn of_end(end: &Ended) -> Self {
        let log = tail(&end.message);
        match end.reason.as_str() {
            "OOMKilled" => {
                let text = "it used more memory than its limit; raise resources.limits.memory";
                Self::new("OOMKilled", text)
            }
            "" | "Error" | "Completed" => Self::new(ERROR, log),
            reason => Self::new(reason, log),
        }
    }

    /// Why a pod whose containers are stopped ends their steps; none where it runs as it should.
    #[must_use]
    pub fn of_removal(pod: &PodFacts) -> Option<Self> {
        let failed = pod.phase == PodPhase::Failed && pod.reason.is_some();
        let said = pod
            .message
            .as_ref()
            .map(|message| format!(": {message}"))
            .unwrap_or_default();
        let reason = pod.reason.as_deref().unwrap_or("PodDeleted");
        (pod.deleting || failed).then(|| {
            Self::new(
                reason,
                format!("the pod {} was removed while it ran{said}", pod.name),
            )
        })
    }

    /// What a pod says that failed as a whole.
    #[must_use]
    pub fn of_pod(pod: &PodFacts) -> Self {
        let reason = pod.reason.as_deref().unwrap_or("PodFailed");
        let said = pod.message.as_deref().unwrap_or("it says no more");
        Self::new(
            reason,
            format!("the pod {} failed on its node: {said}", pod.name),
        )
    }

    /// Why no step of a pod can run in which a container of ours failed.
    #[must_use]
    pub fn unprepared(container: &str, failure: &Self, exit_code: Option<i32>) -> Self {
        let (reason, does, undone) = if container == RUNNER_CONTAINER {
            let undone = "the step runner could not be installed in the pod";
            ("RunnerNotInstalled", "brings the step runner", undone)
        } else {
            let undone = "the shared folder could not be opened for all users";
            (
                "WorkspaceNotOpened",
                "opens the shared folder for all users",
                undone,
            )
        };
        match failure.reason.as_str() {
            "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
                let text = &failure.text;
                Self::new(
                    reason,
                    format!("the operator's own image, which {does}, does not start: {text}"),
                )
            }
            _ => Self::new(reason, format!("{undone}: {}", failure.in_full(exit_code))),
        }
    }

    /// Why steps wait that have been started without the step runner. It may be many of them, so the Workplan
    /// itself says more.
    #[must_use]
    pub fn without_runner() -> Self {
        let text = "it waits for the step runner; the Workplan's own message says why";
        Self::new("RunnerNotInstalled", text)
    }

    #[must_use]
    pub fn of_missing_pod(name: &str) -> Self {
        let text = format!(
            "the pod {name} was deleted before its steps had ended; create the Workplan anew to run it again"
        );
        Self::new("PodDeleted", text)
    }

    /// What is written in a step's status.
    #[must_use]
    pub fn recorded(step: &StepStatus) -> Self {
        let reason = step.reason.as_deref().unwrap_or("Unknown");
        Self::new(reason, step.message.as_deref().unwrap_or_default())
    }

    /// Writes it into a step's status.
    pub fn record(&self, step: &mut StepStatus) {
        step.reason = Some(self.reason.clone());
        step.message = (!self.text.is_empty()).then(|| self.text.clone());
    }

    /// As [`Self::record`], but the message of the same reason stays: the kubelet words each attempt a little anew.
    pub fn record_again(&self, step: &mut StepStatus) {
        if step.reason.as_ref() != Some(&self.reason) {
            self.record(step);
        }
    }

    /// The reason in a few words; that of a command that failed is its exit code.
    #[must_use]
    pub fn in_short(&self, exit_code: Option<i32>) -> String {
        match exit_code {
            Some(code) if self.reason == ERROR => format!("exit code {code}"),
            _ => self.reason.clone(),
        }
    }

    /// The reason and the text in one sentence.
    #[must_use]
    pub fn in_full(&self, exit_code: Option<i32>) -> String {
        let short = self.in_short(exit_code);
        if self.text.is_empty() {
            short
        } else {
            format!("{short}: {}", self.text)
        }
    }

    /// Whether it is a matter of the container alone, not of its whole pod.
    #[must_use]
    pub fn is_of_container(&self, step: &StepStatus) -> bool {
        let reason = self.reason.as_str();
        let of_container = [&CURABLE[..], &OF_IMAGE, &HOPELESS].concat();
        step.exit_code.is_some() || of_container.contains(&reason)
    }
}

impl Stuck {
    /// Whether a container says why it waits.
    #[must_use]
    pub fn says(state: &ContainerState) -> bool {
        matches!(state, ContainerState::Waiting { reason, .. } if !IN_TURN.contains(&reason.as_str()))
    }

    /// Reads why a container waits; none where it waits for its turn.
    #[must_use]
    pub fn of(container: &ContainerFacts, pod: &PodFacts, now: Timestamp) -> Option<Self> {
        let ContainerState::Waiting { reason, message } = &container.state else {
            return None;
        };
        let reason = reason.as_str();
        let image = &container.image;
        let said = cause(message);
        if HOPELESS.contains(&reason) {
            let text = format!("the image {image:?} cannot be used: {said}. Correct it");
            return Some(Self {
                failure: Failure::new(reason, text),
                until: None,
            });
        }
        if !Self::says(&container.state) {
            return None;
        }
        let failure = match reason {
            // The kubelet goes to and fro between the pull and the pause after it.
            reason if OF_IMAGE.contains(&reason) => {
                let text = format!(
                    "the image {image:?} cannot be pulled: {said}. Correct its name, or give credentials in imagePullSecrets"
                );
                Failure::new("ImagePullBackOff", text)
            }
            _ => Failure::new(reason, format!("the container cannot be created: {said}")),
        };
        let until = pod.last_progress().unwrap_or(now) + PATIENCE;
        Some(Self {
            failure,
            until: Some(until),
        })
    }

    #[must_use]
    pub fn is_given_up(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

/// The kubelet's message without what it wraps around the cause.
fn cause(message: &str) -> &str {
    match message.strip_prefix("Back-off pulling image ") {
        Some(rest) => rest
            .split_once("ErrImagePull: ")
            .map_or("not found, or not allowed", |(_, cause)| cause),
        None => message,
    }
    .trim_end_matches(['.', '\n'])
}

/// The end of a log, cut at a line where possible, without what could take hold of a reader's terminal.
fn tail(log: &str) -> String {
    let is_text = |char: &char| !char.is_control() || matches!(char, '\n' | '\t');
    let log: String = log.chars().filter(is_text).collect();
    let log = log.trim();
    let Some((start, _)) = log.char_indices().rev().nth(LOG_TAIL) else {
        return log.to_owned();
    };
    let cut = &log[start..];
    let cut = cut.split_once('\n').map_or(cut, |(_, lines)| lines);
    format!("… {cut}")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Error", "boom: no such file")]
    #[case("Error", "")]
    #[case("Evicted", "the pod p failed on its node: low on memory")]
    fn a_failure_is_read_back_from_the_status(#[case] reason: &str, #[case] text: &str) {
        let failure = Failure::new(reason, text);
        let mut step = StepStatus::default();
        failure.record(&mut step);
        assert_eq!(Failure::recorded(&step), failure);
    }

    #[test]
    fn only_the_end_of_a_log_is_repeated() {
        assert_eq!(tail(" short\n"), "short");
        let long = "x".repeat(1000) + "\nlast line é";
        assert_eq!(tail(&long), "… last line é");
        assert_eq!(tail(&"é".repeat(1000)).chars().count(), LOG_TAIL + 3);
    }

    #[test]
    fn a_log_cannot_take_hold_of_a_terminal() {
        let log = "50 %\r\u{1b}[2J\u{9b}2Ja\tb\u{0}\u{7}\nend";
        assert_eq!(tail(log), "50 %[2J2Ja\tb\nend");
    }

    #[test]
    fn a_pull_and_the_pause_after_it_read_alike() {
        let pull = "failed to pull and unpack image: not found";
        let pause = format!("Back-off pulling image \"nope\": ErrImagePull: {pull}");
        assert_eq!(cause(pull), cause(&pause));
        assert_eq!(
            cause("Back-off pulling image \"nope\""),
            "not found, or not allowed"
        );
    }
}
