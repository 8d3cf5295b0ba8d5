//! The defaults and the limits that the `LimitRange`s of a namespace set for containers.

mod admission;
mod own;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use kubeci_api::Task;

use crate::quantity;

pub use admission::pod_requests;
pub use own::Need;

/// Quantities in thousandths, by the name of the resource.
type Amounts = BTreeMap<String, u128>;
type Quantities = BTreeMap<String, Quantity>;

/// The `LimitRange`s of a namespace together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// The defaults of each `LimitRange` for containers without requests or limits.
    defaults: Vec<ResourceRequirements>,
    container: Bounds,
    pod: Bounds,
}

/// The limits of each container, or of each pod.
#[derive(Clone, Debug, Default, PartialEq)]
struct Bounds {
    min: Amounts,
    max: Amounts,
    ratio: Amounts,
}

impl Limits {
    /// The limits of a namespace without `LimitRange`s.
    pub const NONE: Self = Self {
        defaults: Vec::new(),
        container: Bounds::NONE,
        pod: Bounds::NONE,
    };

    /// The limits of a namespace with these `LimitRange`s. If defaults contradict each other, those of the
    /// `LimitRange` with the first name count; the API server uses any of them.
    #[must_use]
    pub fn of<'a>(ranges: impl IntoIterator<Item = &'a LimitRange>) -> Self {
        let mut ranges: Vec<&LimitRange> = ranges.into_iter().collect();
        ranges.sort_by_key(|range| range.name_any());
        let mut limits = Self::default();
        for range in ranges {
            let mut defaults = ResourceRequirements::default();
            for item in range.spec.iter().flat_map(|spec| &spec.limits) {
                match item.type_.as_str() {
                    "Container" => {
                        limits.container.add(item);
                        merge(&mut defaults.limits, item.default.as_ref());
                        merge(&mut defaults.requests, item.default_request.as_ref());
                    }
                    "Pod" => limits.pod.add(item),
                    _ => {}
                }
            }
            if defaults != ResourceRequirements::default() {
                limits.defaults.push(defaults);
            }
        }
        limits
    }

    /// A task with the resources that admission would add to the containers of its steps.
    #[must_use]
    pub fn complete(&self, mut task: Task) -> Task {
        let steps = task.serial_steps.iter_mut().chain(&mut task.parallel_steps);
        for step in steps.filter(|_| !self.defaults.is_empty()) {
            self.complete_resources(step.resources.get_or_insert_default());
        }
        task
    }

    fn complete_resources(&self, resources: &mut ResourceRequirements) {
        // A limit without a request is the request too, before anything is added.
        let written = resources.limits.clone().unwrap_or_default();
        fill(&mut resources.requests, &written);
        for defaults in &self.defaults {
            for (given, own) in [
                (&defaults.limits, &mut resources.limits),
                (&defaults.requests, &mut resources.requests),
            ] {
                if let Some(given) = given {
                    fill(own, given);
                }
            }
        }
    }

    /// The minimum request of a container with this limit.
    pub(crate) fn least_of_container(&self, resource: &str, limit: Option<u128>) -> u128 {
        self.container.least(resource, limit)
    }

    /// The minimum of the requests of all containers of a pod with these limits.
    pub(crate) fn least_of_pod(&self, resource: &str, limit: Option<u128>) -> u128 {
        self.pod.least(resource, limit)
    }

    /// The maximum request of a pod.
    #[must_use]
    pub fn most_of_pod(&self, resource: &str) -> u128 {
        let max = self.pod.max.get(resource);
        max.copied().unwrap_or(u128::MAX)
    }
}

impl Bounds {
    const NONE: Self = Self {
        min: Amounts::new(),
        max: Amounts::new(),
        ratio: Amounts::new(),
    };

    /// Of several limits the strictest one counts.
    fn add(&mut self, item: &LimitRangeItem) {
        put(&mut self.min, item.min.as_ref(), u128::max);
        put(&mut self.max, item.max.as_ref(), u128::min);
        put(
            &mut self.ratio,
            item.max_limit_request_ratio.as_ref(),
            u128::min,
        );
    }

    fn least(&self, resource: &str, limit: Option<u128>) -> u128 {
        let min = self.min.get(resource).copied().unwrap_or_default();
        let ratio = self.ratio.get(resource).zip(limit);
        ratio.map_or(min, |(&ratio, limit)| {
            min.max(least_of_ratio(limit, ratio, unit(resource)))
        })
    }
}

/// The least request, in whole units, with which a limit is within a ratio as the API server computes it.
fn least_of_ratio(limit: u128, ratio: u128, unit: u128) -> u128 {
    let least = (limit * 1000).div_ceil(ratio.max(1)).max(1);
    let least = least.div_ceil(unit) * unit;
    let next = least + unit;
    if exceeds(limit, least, ratio) {
        next
    } else {
        least
    }
}

/// Whether the API server computes that the ratio of limit to request, in thousandths, exceeds the maximum.
#[allow(clippy::cast_precision_loss)] // the API server computes it so
fn exceeds(limit: u128, request: u128, ratio: u128) -> bool {
    limit as f64 / request as f64 * 1000.0 > ratio as f64
}

/// The least quantity of a resource, in thousandths: a thousandth of a core, else one.
pub(crate) fn unit(resource: &str) -> u128 {
    if resource == crate::requests::CPU {
        1
    } else {
        1000
    }
}

fn put(amounts: &mut Amounts, quantities: Option<&Quantities>, choose: fn(u128, u128) -> u128) {
    for (resource, quantity) in quantities.into_iter().flatten() {
        let amount = quantity::milli(&quantity.0).unwrap_or_default();
        let known = amounts.entry(resource.clone()).or_insert(amount);
        *known = choose(*known, amount);
    }
}

/// Later items of a `LimitRange` replace the defaults of earlier ones.
fn merge(all: &mut Option<Quantities>, given: Option<&Quantities>) {
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        all.get_or_insert_default().extend(given.clone());
    }
}

fn fill(own: &mut Option<Quantities>, given: &Quantities) {
    for (resource, quantity) in given {
        let own = own.get_or_insert_default();
        own.entry(resource.clone())
            .or_insert_with(|| quantity.clone());
    }
}
