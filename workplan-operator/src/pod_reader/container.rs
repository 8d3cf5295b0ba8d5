//! A container that runs one step: the step starts and ends with it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kubeci_engine::{Observation, Place, Run, Start};

use super::blocked::Blocked;
use super::cause;
use crate::observed::{ContainerState, Ended, ObservedContainer, ObservedPod};

pub fn observe(container: &ObservedContainer, pod: &ObservedPod, now: Timestamp) -> Observation {
    let place = place(container, pod);
    match &container.state {
        ContainerState::Unknown if pod.deleting && !pod.has_ended() => removed(place, pod),
        ContainerState::Unknown => Observation::Waiting,
        ContainerState::Running { since } => Observation::Running {
            place,
            start: start(*since),
        },
        ContainerState::Ended(end) if end.exit_code == 0 => {
            Observation::Completed(run(place, end, Some(0)))
        }
        // If the container was stopped, its exit code is not that of its step.
        ContainerState::Ended(end) => {
            let removal = cause::of_removal(pod);
            let exit_code = Some(end.exit_code).filter(|_| removal.is_none());
            let cause = removal.or_else(|| cause::of_stop(pod));
            let cause = cause.unwrap_or_else(|| cause::of_end(end));
            Observation::Failed(cause, run(place, end, exit_code))
        }
        ContainerState::Waiting { .. } if pod.has_ended() => Observation::Waiting,
        ContainerState::Waiting { .. } if pod.deleting => removed(place, pod),
        ContainerState::Waiting { .. } => match blocked(container, pod, now) {
            None => Observation::Waiting,
            Some(blocked) if blocked.is_given_up(now) => {
                Observation::Failed(blocked.cause, never_started(place))
            }
            Some(Blocked { cause, until }) => Observation::Blocked {
                place,
                cause,
                until,
            },
        },
    }
}

/// A container that does not start, because its pod is being removed.
pub fn removed(place: Place, pod: &ObservedPod) -> Observation {
    let cause = cause::of_early_removal(pod);
    Observation::Removed { place, cause }
}

fn blocked(container: &ObservedContainer, pod: &ObservedPod, now: Timestamp) -> Option<Blocked> {
    if container.is_own() {
        Blocked::of(container, pod, now)
    } else {
        Blocked::of_step(container, pod, now)
    }
}

pub fn place(container: &ObservedContainer, pod: &ObservedPod) -> Place {
    Place {
        pod: pod.name.clone(),
        container: container.name.clone(),
    }
}

fn run(place: Place, end: &Ended, exit_code: Option<i32>) -> Run {
    Run {
        place,
        start: start(end.started),
        ended: end.finished,
        exit_code,
        outputs: BTreeMap::new(),
        repeated: Vec::new(),
    }
}

fn never_started(place: Place) -> Run {
    Run {
        place,
        start: Start::Never,
        ended: None,
        exit_code: None,
        outputs: BTreeMap::new(),
        repeated: Vec::new(),
    }
}

fn start(time: Option<Timestamp>) -> Start {
    time.map_or(Start::AsKnown, Start::At)
}
