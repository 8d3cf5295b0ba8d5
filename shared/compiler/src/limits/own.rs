//! The resources of kubeci's own containers, chosen so that a namespace admits them beside those of the steps.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;

use super::{Limits, least_of_ratio, unit};
use crate::quantity::{self, from_milli};

/// The need of one of kubeci's own containers for a resource, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The resource.
    pub resource: &'static str,
    /// Its request, unless a larger one is required.
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
        // If the container is within a ratio, it keeps the pod within it.
        let of_pod = self.pod.ratio.get(need.resource).zip(limit);
        let of_pod =
            of_pod.map(|(&ratio, limit)| least_of_ratio(limit, ratio, unit(need.resource)));
        let least = self
            .container
            .least(need.resource, limit)
            .max(of_pod.unwrap_or_default());
        let request = need.request.max(least);
        limit.map_or(request, |limit| request.min(limit))
    }

    /// No more than what the steps may use, so that a quota on limits counts little.
    fn own_limit(&self, need: &Need, steps: &[u128], together: bool) -> u128 {
        let bound = |amounts: &BTreeMap<String, u128>| amounts.get(need.resource).copied();
        let largest = steps.iter().copied().max().unwrap_or(u128::MAX);
        // It holds the request that the ratio requires as long as the pod exists.
        let ratio = bound(&self.container.ratio).or(bound(&self.pod.ratio));
        let wanted = match ratio {
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::LimitRange;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const CPU: [Need; 1] = [Need {
        resource: "cpu",
        request: 0,
        limit: 1000,
        least_limit: 100,
    }];

    fn limits(item: &Value) -> Limits {
        let range: LimitRange =
            serde_json::from_value(json!({"spec": {"limits": [item]}})).unwrap();
        Limits::of([&range])
    }

    fn container(item: &Value) -> Value {
        let mut item = item.clone();
        item["type"] = json!("Container");
        item
    }

    #[rstest]
    #[case::silent(json!({}), &[json!({})], json!(null))]
    #[case::requests(json!({}), &[json!({"requests": {"cpu": "60m"}})], json!({"requests": {"cpu": "0"}}))]
    #[case::limits(json!({}), &[json!({"limits": {"cpu": "200m"}}), json!({"limits": {"cpu": "300m"}})],
        json!({"requests": {"cpu": "0"}, "limits": {"cpu": "300m"}}))]
    #[case::large_limits(json!({}), &[json!({"limits": {"cpu": "8"}})],
        json!({"requests": {"cpu": "0"}, "limits": {"cpu": "1"}}))]
    #[case::small_limits(json!({}), &[json!({"limits": {"cpu": "1m"}})],
        json!({"requests": {"cpu": "0"}, "limits": {"cpu": "100m"}}))]
    #[case::least(json!({"min": {"cpu": "20m"}}), &[json!({})], json!({"requests": {"cpu": "20m"}}))]
    #[case::most(json!({"max": {"cpu": "50m"}}), &[json!({})],
        json!({"requests": {"cpu": "0"}, "limits": {"cpu": "50m"}}))]
    #[case::ratio(json!({"maxLimitRequestRatio": {"cpu": "4"}}), &[json!({"limits": {"cpu": "2"}})],
        json!({"requests": {"cpu": "25m"}, "limits": {"cpu": "100m"}}))]
    #[case::memory(json!({"max": {"memory": "1Gi"}}), &[json!({"limits": {"memory": "1Gi"}})], json!(null))]
    fn own_container_states_what_steps_and_namespace_state(
        #[case] item: Value,
        #[case] steps: &[Value],
        #[case] expected: Value,
    ) {
        let steps = steps
            .iter()
            .map(|it| serde_json::from_value(it.clone()).unwrap());
        let steps: Vec<ResourceRequirements> = steps.collect();
        let own = limits(&container(&item)).own(&CPU, &steps, true);
        assert_eq!(serde_json::to_value(own).unwrap(), expected);
    }

    #[test]
    fn own_container_takes_what_the_steps_leave() {
        let limits = limits(&json!({"type": "Pod", "max": {"cpu": "500m"}}));
        let step: ResourceRequirements =
            serde_json::from_value(json!({"limits": {"cpu": "225m"}})).unwrap();
        let own = limits.own(&CPU, &[step.clone(), step], true);
        let own = own.and_then(|own| own.limits).unwrap();
        assert_eq!(own["cpu"].0, "50m");
    }
}
