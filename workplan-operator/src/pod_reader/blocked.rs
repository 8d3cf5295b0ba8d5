//! Containers that the kubelet cannot create.

use jiff::Timestamp;
use kubeci_engine::{Cause, PATIENCE};

use crate::observed::{ContainerState, ObservedContainer, ObservedPod};

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

/// A container that the kubelet cannot create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub cause: Cause,
    /// When it is given up; at once if absent.
    pub until: Option<Timestamp>,
}

impl Blocked {
    /// Reads why a container waits; none where it waits for its turn.
    #[must_use]
    pub fn of(container: &ObservedContainer, pod: &ObservedPod, now: Timestamp) -> Option<Self> {
        let ContainerState::Waiting { reason, message } = &container.state else {
            return None;
        };
        let reason = reason.as_str();
        let image = &container.image;
        let why = without_wrapping(message);
        if HOPELESS.contains(&reason) {
            let message = format!("the image {image:?} cannot be used: {why}. Correct it");
            return Some(Self {
                cause: Cause::new(reason, message),
                until: None,
            });
        }
        if !is_blocked(&container.state) {
            return None;
        }
        let cause = match reason {
            // The kubelet goes to and fro between the pull and the pause after it.
            reason if OF_IMAGE.contains(&reason) => {
                let message = format!(
                    "the image {image:?} cannot be pulled: {why}. Correct its name, or give credentials in imagePullSecrets"
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

/// Whether the kubelet gives a reason why it does not create a container whose turn it is.
#[must_use]
pub fn is_blocked(state: &ContainerState) -> bool {
    matches!(state, ContainerState::Waiting { reason, .. } if !IN_TURN.contains(&reason.as_str()))
}

/// Whether a reason is about one container, not about its whole pod.
#[must_use]
pub fn is_of_container(reason: &str) -> bool {
    let mut of_container = CURABLE.iter().chain(&OF_IMAGE).chain(&HOPELESS);
    of_container.any(|known| *known == reason)
}

/// The kubelet's message without what it wraps around the cause.
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
