//! What containers of kubeci's own ask for, so that a namespace admits them beside the steps'.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;

use super::Limits;
use crate::quantity::{self, from_milli};

/// What a container of kubeci's own needs of a resource, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The resource.
    pub resource: &'static str,
    /// What it requests where nothing demands more.
    pub request: u128,
    /// With this limit it is not slowed down.
    pub limit: u128,
    /// With this limit it works.
    pub least_limit: u128,
}

impl Limits {
    /// What a container of kubeci's own states, beside these containers of steps, all of which run in one pod and,
    /// if `together`, at the same time. It states no more than they do, so that the pod stays in its
    /// quality-of-service class, and no less, so that a quota that they satisfy takes the pod.
    #[must_use]
    pub fn own(
        &self,
        needs: &[Need],
        steps: &[ResourceRequirements],
        together: bool,
    ) -> Option<ResourceRequirements> {
        let mut own = ResourceRequirements::default();
        for need in needs {
            let limits: Vec<u128> = steps
                .iter()
                .filter_map(|step| amount(step.limits.as_ref(), need.resource))
                .collect();
            let limited = !limits.is_empty() || self.demands_limit(need.resource);
            let limit = limited.then(|| self.own_limit(need, &limits, together));
            let requests = steps
                .iter()
                .any(|step| amount(step.requests.as_ref(), need.resource).is_some());
            if limited || requests || self.container.min.contains_key(need.resource) {
                let request = self.own_request(need, limit);
                insert(&mut own.requests, need.resource, request);
            }
            if let Some(limit) = limit {
                insert(&mut own.limits, need.resource, limit);
            }
        }
        (own != ResourceRequirements::default()).then_some(own)
    }

    /// What a container of kubeci's own states that is alone in its pod.
    #[must_use]
    pub fn own_alone(&self, needs: &[Need]) -> ResourceRequirements {
        let mut own = ResourceRequirements::default();
        for need in needs {
            let limit = self.own_limit(need, &[], true);
            let request = self.own_request(need, Some(limit));
            let least = self.pod.least(need.resource, Some(limit)).min(limit);
            insert(&mut own.requests, need.resource, request.max(least));
            insert(&mut own.limits, need.resource, limit);
        }
        own
    }

    /// Whether a container without a limit is refused, or given one.
    fn demands_limit(&self, resource: &str) -> bool {
        let mut given = self.defaults.iter().filter_map(|it| it.limits.as_ref());
        self.container.max.contains_key(resource)
            || self.container.ratio.contains_key(resource)
            || given.any(|given| given.contains_key(resource))
    }

    fn own_request(&self, need: &Need, limit: Option<u128>) -> u128 {
        let least = self.container.least(need.resource, limit);
        let request = need.request.max(least);
        limit.map_or(request, |limit| request.min(limit))
    }

    /// No more than what the steps may use, so that a quota on limits counts little.
    fn own_limit(&self, need: &Need, steps: &[u128], together: bool) -> u128 {
        let bound = |amounts: &BTreeMap<String, u128>| amounts.get(need.resource).copied();
        let largest = steps.iter().copied().max().unwrap_or(u128::MAX);
        // What it must request by the ratio it holds as long as the pod lives.
        let wanted = match bound(&self.container.ratio) {
            Some(_) => need.least_limit,
            None => need.limit.min(largest).max(need.least_limit),
        };
        let beside: u128 = if together { steps.iter().sum() } else { 0 };
        let left = bound(&self.pod.max).map(|max| max.saturating_sub(beside));
        let wanted = left
            .filter(|&left| left > 0)
            .map_or(wanted, |left| wanted.min(left));
        let least = if steps.is_empty() {
            bound(&self.pod.min).max(bound(&self.container.min))
        } else {
            bound(&self.container.min)
        };
        let wanted = wanted.max(least.unwrap_or_default());
        bound(&self.container.max).map_or(wanted, |max| wanted.min(max))
    }
}

fn amount(quantities: Option<&BTreeMap<String, super::Quantity>>, resource: &str) -> Option<u128> {
    let quantity = quantities?.get(resource)?;
    Some(quantity::milli(&quantity.0).unwrap_or_default())
}

fn insert(own: &mut Option<BTreeMap<String, super::Quantity>>, resource: &str, milli: u128) {
    let own = own.get_or_insert_default();
    own.insert(resource.to_owned(), from_milli(milli));
}
