//! The outputs of a step whose termination message they are.

use kubeci_engine::{Cause, Observation, Run};
use step_runner::outputs::{KUBELET_BYTES, Outputs, Refusal, Size};

use super::cause;
use crate::observed::{ContainerState, Ended, ObservedContainer, ObservedPod};
use crate::output_bounds::kept_bytes;

/// The message of a failed step that wrote outputs.
const NO_LOG_TAIL: &str = "the step wrote outputs, which take the place of the end of its log here";

/// Observes the container of a step by `observe`, and adds the outputs of the step. Without an exit code the message
/// is not the step's own.
pub fn observe(
    container: &ObservedContainer,
    pod: &ObservedPod,
    most: impl Fn() -> usize,
    observe: impl Fn(&ObservedContainer) -> Observation,
) -> Observation {
    let ContainerState::Ended(end) = &container.state else {
        return observe(container);
    };
    if !may_be_outputs(&end.message) {
        return observe(container);
    }
    let size = size(&end.message, pod);
    if end.exit_code == 0 {
        let outputs = Outputs::of_completed(&end.message, size, most());
        return match (observe(container), outputs) {
            (Observation::Completed(run), Ok(outputs)) => {
                Observation::Completed(with(run, outputs))
            }
            (Observation::Completed(run), Err(error)) => {
                Observation::Failed(refused(error.refusal(), &error.to_string()), run)
            }
            (other, _) => other,
        };
    }
    let Some(outputs) = Outputs::of_failed(&end.message, size, most()) else {
        return observe(container);
    };
    match observe(&without_log_tail(container, end)) {
        Observation::Failed(cause, run) if run.exit_code.is_some() => {
            Observation::Failed(cause, with(run, outputs))
        }
        other => other,
    }
}

/// The bounds of other messages are not computed.
fn may_be_outputs(message: &str) -> bool {
    message.len() >= KUBELET_BYTES || message.contains('=') || message.contains("<<")
}

/// The size of a message, as far as the kubelet leaves it.
fn size(message: &str, pod: &ObservedPod) -> Size {
    let bytes = message.len();
    if bytes < kept_bytes(pod.containers.len()) {
        Size::Exactly(bytes)
    } else {
        Size::AtLeast(bytes)
    }
}

fn without_log_tail(container: &ObservedContainer, end: &Ended) -> ObservedContainer {
    let end = Ended {
        message: NO_LOG_TAIL.into(),
        ..end.clone()
    };
    ObservedContainer {
        state: ContainerState::Ended(end),
        ..container.clone()
    }
}

/// The run of a step, with its outputs.
pub fn with(run: Run, outputs: Outputs) -> Run {
    Run {
        outputs: outputs.into_map(),
        ..run
    }
}

/// Why a step failed whose command has completed.
pub fn refused(refusal: Refusal, message: &str) -> Cause {
    let message = match message {
        "" => {
            "the outputs of the step have another form than key=value, or are larger than the kubelet keeps of a \
               container in this pod; write large results to a file in /kubeci"
        }
        message => message,
    };
    Cause::new(refusal.reason(), cause::tail(message))
}
