//! What the API server's admission finds of a pod, by the `LimitRange`s that are known here.

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};

use super::{Amounts, Bounds, Limits, exceeds, fill};
use crate::quantity;
use crate::requests::Requests;

/// What the containers of a pod request together, as the scheduler counts it.
#[must_use]
pub fn pod_requests(spec: &PodSpec) -> Requests {
    let requests = |container: &Container| amounts(container, |it| it.requests.as_ref());
    aggregate(spec, requests).into_iter().collect()
}

impl Limits {
    /// Whether a pod that states all its resources is admitted, as far as `LimitRange`s decide and its
    /// requests are within its limits.
    #[must_use]
    pub fn admits(&self, spec: &PodSpec) -> bool {
        let mut spec = spec.clone();
        let init = spec.init_containers.iter_mut().flatten();
        for container in init.chain(&mut spec.containers) {
            let resources = container.resources.get_or_insert_default();
            let written = resources.limits.clone().unwrap_or_default();
            fill(&mut resources.requests, &written);
            self.complete_resources(resources);
        }
        let init = spec.init_containers.iter().flatten();
        let mut containers = init.chain(&spec.containers);
        containers.all(|container| {
            let (requests, limits) = (requests(container), limits(container));
            let within = |(resource, limit)| requests.get(resource).is_none_or(|it| it <= limit);
            limits.iter().all(within) && self.container.admit(&requests, &limits)
        }) && self.admits_pod(&spec)
    }

    fn admits_pod(&self, spec: &PodSpec) -> bool {
        let mut all = aggregate(spec, requests);
        let stated = spec.resources.as_ref();
        let stated = stated.map(|resources| read(resources.requests.as_ref()));
        for (resource, stated) in stated.into_iter().flatten() {
            if all.get(&resource).is_some_and(|all| *all > stated) {
                return false;
            }
            all.insert(resource, stated);
        }
        self.pod.admit(&all, &aggregate(spec, limits))
    }
}

impl Bounds {
    fn admit(&self, requests: &Amounts, limits: &Amounts) -> bool {
        let request = |resource: &String| requests.get(resource).copied();
        let limit = |resource: &String| limits.get(resource).copied();
        let min = |(resource, min): (&String, &u128)| {
            request(resource).is_some_and(|it| it >= *min)
                && limit(resource).is_none_or(|it| it >= *min)
        };
        let max = |(resource, max): (&String, &u128)| {
            limit(resource).is_some_and(|it| it <= *max)
                && request(resource).is_none_or(|it| it <= *max)
        };
        let ratio = |(resource, ratio): (&String, &u128)| {
            let stated = request(resource).zip(limit(resource));
            stated.is_some_and(|(request, limit)| {
                request > 0 && limit > 0 && !exceeds(limit, request, *ratio)
            })
        };
        self.min.iter().all(min) && self.max.iter().all(max) && self.ratio.iter().all(ratio)
    }
}

/// Init containers run one after the other, before the others, which run together.
fn aggregate(spec: &PodSpec, of: impl Fn(&Container) -> Amounts) -> Amounts {
    let mut all = Amounts::new();
    for (resource, amount) in spec.containers.iter().flat_map(&of) {
        *all.entry(resource).or_default() += amount;
    }
    for (resource, amount) in spec.init_containers.iter().flatten().flat_map(&of) {
        let known = all.entry(resource).or_default();
        *known = amount.max(*known);
    }
    all
}

fn requests(container: &Container) -> Amounts {
    amounts(container, |it| it.requests.as_ref())
}

fn limits(container: &Container) -> Amounts {
    amounts(container, |it| it.limits.as_ref())
}

fn amounts(
    container: &Container,
    of: impl Fn(&ResourceRequirements) -> Option<&super::Quantities>,
) -> Amounts {
    read(container.resources.as_ref().and_then(of))
}

fn read(quantities: Option<&super::Quantities>) -> Amounts {
    let amount = |(resource, quantity): (&String, &super::Quantity)| {
        let amount = quantity::milli(&quantity.0).unwrap_or_default();
        (resource.clone(), amount)
    };
    quantities.into_iter().flatten().map(amount).collect()
}
