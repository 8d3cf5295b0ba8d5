//! Containers that the kubelet cannot create.

use jiff::Timestamp;
use kubeci_engine::{Cause, PATIENCE};

use crate::observed::{ContainerState, ObservedContainer, ObservedPod};

/// Reasons of a container that waits for its turn, or is being created.
const IN_TURN: [&str; 3] = ["", "PodInitializing", "ContainerCreating"];
/// Reasons of a container whose problem may disappear. Unknown reasons of the kubelet are treated like these.
const CURABLE: [&str; 4] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CreatePodSandboxError",
];
/// Reasons of this kind that concern the image.
const OF_IMAGE: [&str; 5] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "RegistryUnavailable",
    "ImageInspectError",
    "SignatureValidationFailed",
];
/// Reasons of a container that never starts.
const HOPELESS: [&str; 2] = ["InvalidImageName", "ErrImageNeverPull"];

/// A container that the kubelet cannot create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub cause: Cause,
    /// When the operator stops waiting; at once if absent.
    pub until: Option<Timestamp>,
}

impl Blocked {
    /// Reads why the container of a step waits, as [`Blocked::of`] does. The pod is deleted when its steps have
    /// ended, because Kubernetes does not end it; the message states that the logs of other steps are deleted, too.
    #[must_use]
    pub fn of_step(
        container: &ObservedContainer,
        pod: &ObservedPod,
        now: Timestamp,
    ) -> Option<Self> {
        let mut blocked = Self::of(container, pod, now)?;
        let steps = pod.containers.iter();
        let steps = steps.filter(|it| it.runs_once() && !it.is_own());
        if steps.count() > 1 {
            blocked.cause.message += ". When its steps have ended, the pod is deleted, with the logs of its completed \
                                      steps";
        }
        Some(blocked)
    }

    /// Reads why a container waits; none if it waits for its turn.
    #[must_use]
    pub fn of(container: &ObservedContainer, pod: &ObservedPod, now: Timestamp) -> Option<Self> {
        let ContainerState::Waiting { reason, message } = &container.state else {
            return None;
        };
        let reason = reason.as_str();
        let image = &container.image;
        let why = without_wrapping(message);
        if HOPELESS.contains(&reason) {
            let advice = match reason {
                "ErrImageNeverPull" => "Correct its name, or imagePullPolicy",
                _ => "Correct its name",
            };
            let message = format!("the image {image:?} cannot be used: {why}. {advice}");
            return Some(Self {
                cause: Cause::new(reason, message),
                until: None,
            });
        }
        if !is_blocked(&container.state) {
            return None;
        }
        let cause = match reason {
            // The kubelet alternates between the pull and the pause after it.
            reason if OF_IMAGE.contains(&reason) => {
                let message = format!(
                    "the image {image:?} cannot be pulled: {why}. Correct its name, or add credentials to imagePullSecrets"
                );
                Cause::new("ImagePullBackOff", message)
            }
            _ => Cause::new(reason, format!("the container cannot be created: {why}")),
        };
        let until = pod.last_progress().unwrap_or(now) + PATIENCE;
        Some(Self {
            cause,
            until: Some(until),
        })
    }

    #[must_use]
    pub fn is_given_up(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

/// Whether the kubelet reports why it does not create the container.
#[must_use]
pub fn is_blocked(state: &ContainerState) -> bool {
    matches!(state, ContainerState::Waiting { reason, .. } if !IN_TURN.contains(&reason.as_str()))
}

/// Whether a reason concerns one container, not its whole pod.
#[must_use]
pub fn is_of_container(reason: &str) -> bool {
    let of_container = CURABLE.iter().chain(&OF_IMAGE).chain(&HOPELESS);
    let mut of_container = of_container.chain(&[Cause::END_NOT_OBSERVED]);
    of_container.any(|known| *known == reason)
}

/// The cause in the kubelet's message.
fn without_wrapping(message: &str) -> &str {
    match message.strip_prefix("Back-off pulling image ") {
        Some(rest) => rest
            .split_once("ErrImagePull: ")
            .map_or("not found, or not allowed", |(_, cause)| cause),
        None => message,
    }
    .trim_end_matches(['.', '\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_and_the_pause_after_it_read_alike() {
        let pull = "failed to pull and unpack image: not found";
        let pause = format!("Back-off pulling image \"nope\": ErrImagePull: {pull}");
        assert_eq!(without_wrapping(pull), without_wrapping(&pause));
        assert_eq!(
            without_wrapping("Back-off pulling image \"nope\""),
            "not found, or not allowed"
        );
    }
}
