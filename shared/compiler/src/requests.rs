use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kubeci_api::{Step, Task};

use crate::quantity;

/// Requests by the name of the resource, such as `cpu` and `memory`; exact to a thousandth of a core or byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests(BTreeMap<String, u128>);

impl Requests {
    /// What the scheduler counts for a task's pod: the sum of its parallel steps, or what one of its
    /// serial steps requests if that is more. A quantity that cannot be read counts as nothing.
    #[must_use]
    pub fn of_task(task: &Task) -> Self {
        let together = task
            .parallel_steps
            .iter()
            .map(Self::of_step)
            .fold(Self::default(), Self::plus);
        task.serial_steps
            .iter()
            .map(Self::of_step)
            .fold(together, Self::max)
    }

    /// The requests as a container, or a quota, states them.
    #[must_use]
    pub fn of_quantities(quantities: &BTreeMap<String, Quantity>) -> Self {
        let milli = |(name, quantity): (&String, &Quantity)| {
            let milli = quantity::milli(&quantity.0).unwrap_or_default();
            (name.clone(), milli)
        };
        quantities.iter().map(milli).collect()
    }

    /// The quantity of a resource in thousandths: of a core for `cpu`, of a byte for `memory`.
    #[must_use]
    pub fn milli(&self, resource: &str) -> u128 {
        self.0.get(resource).copied().unwrap_or_default()
    }

    /// The names of the resources of which something is requested.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether nothing is requested.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The resources that a pod can request itself, beside its containers: the API server refuses others.
    pub const AT_POD_LEVEL: [&'static str; 2] = [CPU, MEMORY];

    /// The requests as a container states them.
    #[must_use]
    pub fn quantities(&self) -> BTreeMap<String, Quantity> {
        let quantity =
            |(name, &milli): (&String, &u128)| (name.clone(), quantity::from_milli(milli));
        self.0.iter().map(quantity).collect()
    }

    pub(crate) fn of_step(step: &Step) -> Self {
        let mut requests = BTreeMap::new();
        for (kind, resource, quantity) in quantities(step) {
            let milli = quantity::milli(&quantity.0).unwrap_or_default();
            // A limit without a request is the request too, as the API server has it.
            if kind == REQUESTS || !requests.contains_key(resource) {
                requests.insert(resource.to_owned(), milli);
            }
        }
        requests.into_iter().collect()
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        self.merged(other, |one, another| one + another)
    }

    fn max(self, other: Self) -> Self {
        self.merged(other, u128::max)
    }

    fn merged(mut self, other: Self, merge: impl Fn(u128, u128) -> u128) -> Self {
        for (resource, milli) in other.0 {
            let own = self.0.entry(resource).or_default();
            *own = merge(*own, milli);
        }
        self
    }
}

/// Without the resources of which nothing is requested.
impl FromIterator<(String, u128)> for Requests {
    fn from_iter<I: IntoIterator<Item = (String, u128)>>(requests: I) -> Self {
        Self(
            requests
                .into_iter()
                .filter(|&(_, milli)| milli > 0)
                .collect(),
        )
    }
}

/// Whether containers of a pod that do not run at the same time can share the resource. Others, such as GPUs and huge
/// pages, belong to one container until the pod ends.
pub(crate) fn is_handed_on(resource: &str) -> bool {
    matches!(resource, CPU | MEMORY | "ephemeral-storage")
}

pub(crate) const CPU: &str = "cpu";
const MEMORY: &str = "memory";

const REQUESTS: &str = "requests";

/// All quantities of a step's resources: `requests` or `limits`, the resource, how much; requests first.
pub(crate) fn quantities(step: &Step) -> impl Iterator<Item = (&'static str, &str, &Quantity)> {
    let resources = step.resources.as_ref();
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    [(REQUESTS, requests), ("limits", limits)]
        .into_iter()
        .flat_map(|(kind, quantities)| {
            let quantities = quantities.into_iter().flatten();
            quantities.map(move |(resource, quantity)| (kind, resource.as_str(), quantity))
        })
}
