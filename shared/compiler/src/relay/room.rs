//! The requests of a relay pod: the maximum that its steps request at the same time, not their sum.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kubeci_api::{Step, Task};

use crate::limits::{self, Limits};
use crate::peak::widest;
use crate::quantity;
use crate::read::precedence_inside;
use crate::requests::{Requests, is_handed_on, quantities};

/// How the containers of a relay pod request the resources of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Each container has the requests of its step. Their sum is what the steps need at the same time.
    AsWritten,
    /// Each container has a share of what the steps need at the same time.
    Spread,
}

impl fmt::Display for Room {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Self::AsWritten => "its containers have the requests of the steps",
            Self::Spread => "its containers request shares of what the steps need at the same time",
        })
    }
}

/// The requests of a relay task's pod: for each resource the maximum that steps request that may run at the same time;
/// for devices, which containers cannot share, the sum. With `max_parallel` the maximum is an upper bound. `None` if no
/// step has requests.
#[must_use]
pub fn relay_pod_requests(
    task: &Task,
    finally: &[String],
    max_parallel: Option<NonZeroUsize>,
) -> Option<Requests> {
    let steps: Vec<Requests> = task.steps().map(Requests::of_step).collect();
    let sum = sum(&steps);
    let most = max_parallel.map(NonZeroUsize::get);
    let together = widest(&precedence_inside(task, finally), &steps, most);
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

/// How the containers of a relay task's pod request [`relay_pod_requests`].
#[must_use]
pub fn relay_room(task: &Task, finally: &[String], max_parallel: Option<NonZeroUsize>) -> Room {
    let steps: Vec<Requests> = task.steps().map(Requests::of_step).collect();
    let together = relay_pod_requests(task, finally, max_parallel).unwrap_or_default();
    if sum(&steps) == together {
        Room::AsWritten
    } else {
        Room::Spread
    }
}

/// What each container of a relay task requests, in the order of its steps: shares of what [`relay_pod_requests`]
/// says, which beside each other weigh as the steps' requests do. Zero where a step has a limit that the API
/// server would otherwise take for the request. Never more than the step says; but where that is enough, no
/// less than the namespace's limits ask of a container, and of the pod, in which kubeci has a container of its own.
#[must_use]
pub fn relay_shares(
    task: &Task,
    finally: &[String],
    max_parallel: Option<NonZeroUsize>,
    limits: &Limits,
    own: Option<&ResourceRequirements>,
) -> Vec<BTreeMap<String, Quantity>> {
    let together = relay_pod_requests(task, finally, max_parallel).unwrap_or_default();
    let mut containers = vec![BTreeMap::new(); task.steps().count()];
    let named = task.steps().flat_map(quantities);
    let resources: BTreeSet<&str> = named.map(|(_, resource, _)| resource).collect();
    for resource in resources {
        let shares = Shares::of(task, resource, limits, own);
        let dealt = shares.deal(together.milli(resource));
        for ((container, step), share) in containers.iter_mut().zip(task.steps()).zip(dealt) {
            if quantities(step).any(|(_, name, _)| name == resource) {
                container.insert(resource.to_owned(), quantity::from_milli(share));
            }
        }
    }
    containers
}

fn sum(steps: &[Requests]) -> Requests {
    steps
        .iter()
        .cloned()
        .fold(Requests::default(), Requests::plus)
}

/// What the containers of a relay may request of one resource.
struct Shares {
    /// The request of each step.
    asked: Vec<u128>,
    /// The minimum request of each container.
    least: Vec<u128>,
    /// The minimum of their sum.
    least_together: u128,
    unit: u128,
}

impl Shares {
    fn of(
        task: &Task,
        resource: &str,
        limits: &Limits,
        own: Option<&ResourceRequirements>,
    ) -> Self {
        let asked: Vec<u128> = task
            .steps()
            .map(|step| Requests::of_step(step).milli(resource))
            .collect();
        let unit = if asked.iter().all(|milli| milli.is_multiple_of(1000)) {
            limits::unit(resource)
        } else {
            1
        };
        let limit = |step: &Step| limit_of(step.resources.as_ref(), resource);
        let least = task.steps().zip(&asked).map(|(step, &asked)| {
            let least = limits.least_of_container(resource, limit(step));
            least.next_multiple_of(unit).min(asked)
        });
        let of_pod = task.steps().map(limit).chain([limit_of(own, resource)]);
        let of_pod = of_pod.flatten().reduce(|sum, limit| sum + limit);
        let of_own = own.and_then(|own| own.requests.as_ref()?.get(resource));
        let of_own = of_own.and_then(|own| quantity::milli(&own.0));
        let least_of_pod = limits.least_of_pod(resource, of_pod);
        Self {
            least: least.collect(),
            least_together: least_of_pod
                .saturating_sub(of_own.unwrap_or_default())
                .next_multiple_of(unit),
            asked,
            unit,
        }
    }

    fn deal(&self, together: u128) -> Vec<u128> {
        let least: u128 = self.least.iter().sum();
        let more = self.asked.iter().zip(&self.least);
        let more: Vec<u128> = more.map(|(asked, least)| asked - least).collect();
        let rest = together.max(self.least_together).saturating_sub(least);
        let rest = rest.min(more.iter().sum());
        let dealt = dealt_out(&more, rest, self.unit);
        dealt
            .iter()
            .zip(&self.least)
            .map(|(dealt, least)| dealt + least)
            .collect()
    }
}

fn limit_of(resources: Option<&ResourceRequirements>, resource: &str) -> Option<u128> {
    let limit = resources?.limits.as_ref()?.get(resource)?;
    quantity::milli(&limit.0)
}

/// Shares of `total` in whole units. Their sum is `total`, and none exceeds its request.
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
