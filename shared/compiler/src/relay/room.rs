//! What a relay pod asks of its node: the most that its steps request at the same time, not their sum.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kubeci_api::Task;

use crate::peak::widest;
use crate::precedence::inside;
use crate::quantity;
use crate::requests::{CPU, Requests, is_handed_on, quantities};

/// How a relay pod asks for its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Its containers request what their steps say, which is no more than what runs together.
    AsWritten,
    /// The pod itself requests what runs together, and its containers their shares of that.
    PodLevel,
    /// Its containers request shares that add up to what runs together.
    Spread,
}

impl fmt::Display for Room {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Self::AsWritten => "its containers request what the steps say",
            Self::PodLevel => {
                "the pod requests what its steps need at the same time, its containers a share of that each"
            }
            Self::Spread => {
                "its containers request shares of what the steps need at the same time, because this cluster has no pod-level resources"
            }
        })
    }
}

/// What a relay pod and its containers request.
#[derive(Clone, Debug, PartialEq)]
pub struct RelayRoom {
    /// Which way was chosen.
    pub room: Room,
    /// What the pod itself requests, if it does.
    pub pod: Option<Requests>,
    /// What each container requests, in the order of the task's steps; zero where a step has a limit that
    /// the API server would otherwise take for the request. Never more than the step says.
    pub containers: Vec<BTreeMap<String, Quantity>>,
}

/// What a relay task's pod requests altogether: the most that steps of it which may run at the same time
/// request together, of each resource by itself; of devices, which containers cannot hand on to each other,
/// the sum. `None`: no step requests anything.
#[must_use]
pub fn relay_pod_requests(task: &Task) -> Option<Requests> {
    let steps: Vec<Requests> = task.steps().map(Requests::of_step).collect();
    let sum = sum(&steps);
    let together = widest(&inside(task), &steps);
    let of_pod = |resource: &str| {
        let requests = if is_handed_on(resource) {
            &together
        } else {
            &sum
        };
        (resource.to_owned(), requests.milli(resource))
    };
    (!sum.is_empty()).then(|| sum.resources().map(of_pod).collect())
}

/// How a relay task's pod asks for what [`relay_pod_requests`] says, in a cluster that has pod-level
/// resources or has not. The API server refuses a pod that requests less than its containers together, so
/// the containers request shares either way; beside each other they weigh as their steps' requests do.
#[must_use]
pub fn relay_room(task: &Task, has_pod_level: bool) -> RelayRoom {
    let steps: Vec<Requests> = task.steps().map(Requests::of_step).collect();
    let together = relay_pod_requests(task).unwrap_or_default();
    let room = match (sum(&steps) == together, has_pod_level) {
        (true, _) => Room::AsWritten,
        (false, true) => Room::PodLevel,
        (false, false) => Room::Spread,
    };
    RelayRoom {
        room,
        pod: (room == Room::PodLevel).then(|| together.at_pod_level()),
        containers: shares(task, &steps, &together),
    }
}

fn sum(steps: &[Requests]) -> Requests {
    steps
        .iter()
        .cloned()
        .fold(Requests::default(), Requests::plus)
}

/// What the pod requests, dealt out to its containers in proportion to what their steps say.
fn shares(task: &Task, steps: &[Requests], together: &Requests) -> Vec<BTreeMap<String, Quantity>> {
    let mut containers = vec![BTreeMap::new(); steps.len()];
    let named = task.steps().flat_map(quantities);
    let resources: BTreeSet<&str> = named.map(|(_, resource, _)| resource).collect();
    for resource in resources {
        let asked: Vec<u128> = steps.iter().map(|step| step.milli(resource)).collect();
        let dealt = dealt_out(&asked, together.milli(resource), unit(resource, &asked));
        for ((container, step), share) in containers.iter_mut().zip(task.steps()).zip(dealt) {
            if quantities(step).any(|(_, name, _)| name == resource) {
                container.insert(resource.to_owned(), quantity::from_milli(share));
            }
        }
    }
    containers
}

/// The least that can be requested of a resource, in thousandths: a thousandth of a core, else one.
fn unit(resource: &str, asked: &[u128]) -> u128 {
    let whole = asked.iter().all(|milli| milli.is_multiple_of(1000));
    if resource != CPU && whole { 1000 } else { 1 }
}

/// Shares of `total` in whole units that add up to it, none more than what was asked for.
fn dealt_out(asked: &[u128], total: u128, unit: u128) -> Vec<u128> {
    let sum: u128 = asked.iter().sum();
    let (mut asked_so_far, mut dealt_so_far) = (0, 0);
    let share = |asked: &u128| {
        asked_so_far += asked;
        let due = unit * part_of(total / unit, asked_so_far / unit, sum / unit);
        let share = due - dealt_so_far;
        dealt_so_far = due;
        share
    };
    asked.iter().map(share).collect()
}

/// `total * part / whole` rounded down, where the product may be more than fits: a long multiplication, from
/// the highest bit of `total` on. The part is at most the whole; of nothing it is nothing.
fn part_of(total: u128, part: u128, whole: u128) -> u128 {
    let (mut quotient, mut rest) = (0, 0);
    for bit in (0..u128::BITS - total.leading_zeros()).rev() {
        rest = 2 * rest + part * (total >> bit & 1);
        quotient = 2 * quotient + rest / whole;
        rest %= whole;
    }
    quotient
}
