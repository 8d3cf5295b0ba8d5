//! The room that a plan's first pod holds on its node for the pods after it: what it requests itself, beside its
//! containers.

use k8s_openapi::api::core::v1::{Pod, PodSpec, ResourceQuota, ResourceRequirements};
use kubeci_compiler::{Limits, Requests, pod_requests};

/// What a pod requests itself to hold more room than its containers need, as far as the namespace allows it
/// to a pod. Where they need no less, that is not stated a second time: admission may add to them.
pub fn held(room: &Requests, spec: &PodSpec, limits: &Limits) -> Option<ResourceRequirements> {
    let needed = pod_requests(spec);
    let more = |resource: &str| {
        let most = room.milli(resource).min(limits.most_of_pod(resource));
        (most > needed.milli(resource)).then(|| (resource.to_owned(), most))
    };
    let held: Requests = Requests::AT_POD_LEVEL
        .into_iter()
        .filter_map(more)
        .collect();
    (!held.is_empty()).then(|| ResourceRequirements {
        requests: Some(held.quantities()),
        ..ResourceRequirements::default()
    })
}

/// Whether a pod requests more than its containers.
#[must_use]
pub fn holds_room(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|it| it.resources.is_some())
}

/// The pod that requests what its containers do.
#[must_use]
pub fn without_room(pod: &Pod) -> Pod {
    let mut pod = pod.clone();
    if let Some(spec) = &mut pod.spec {
        spec.resources = None;
    }
    pod
}

/// The pod with no more room than the namespace's quotas allow to all pods together, which is all that a plan
/// can ever need. None if it holds no more already.
#[must_use]
pub fn with_room_within(pod: &Pod, quotas: &[ResourceQuota]) -> Option<Pod> {
    let spec = pod.spec.as_ref()?;
    let stated = Requests::of_quantities(spec.resources.as_ref()?.requests.as_ref()?);
    let hard = quotas
        .iter()
        .filter_map(|quota| quota.spec.as_ref()?.hard.as_ref());
    let hard: Vec<Requests> = hard.map(Requests::of_quantities).collect();
    let most = |resource: &str| {
        let names = [resource.to_owned(), format!("requests.{resource}")];
        let of_quota = |quota: &Requests| names.iter().map(|name| quota.milli(name)).max();
        let allowed = hard.iter().filter_map(of_quota).filter(|most| *most > 0);
        allowed.min().unwrap_or(u128::MAX)
    };
    let less = stated
        .resources()
        .map(|name| (name.to_owned(), stated.milli(name).min(most(name))));
    let less: Requests = less.collect();
    if less == stated {
        return None;
    }
    let mut pod = without_room(pod);
    let spec = pod.spec.as_mut()?;
    spec.resources = held(&less, spec, &Limits::NONE);
    Some(pod)
}

/// Whether a namespace's limits, as they are known here, admit a pod.
#[must_use]
pub fn is_admitted(pod: &Pod, limits: &Limits) -> bool {
    pod.spec.as_ref().is_some_and(|spec| limits.admits(spec))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn pod(resources: &Value) -> Pod {
        let container = json!({"name": "a", "resources": {"requests": {"cpu": "1"}}});
        let spec = json!({"containers": [container], "resources": resources});
        serde_json::from_value(json!({"spec": spec})).unwrap()
    }

    #[rstest]
    #[case::plain(json!([{"cpu": "3"}]), json!({"requests": {"cpu": "3", "memory": "1"}}))]
    #[case::least(json!([{"cpu": "3"}, {"requests.cpu": "2", "pods": "1"}]), json!({"requests": {"cpu": "2", "memory": "1"}}))]
    #[case::no_more_than_needed(json!([{"cpu": "1"}]), json!({"requests": {"memory": "1"}}))]
    #[case::other(json!([{"limits.cpu": "1"}]), Value::Null)]
    #[case::enough(json!([{"cpu": "4"}]), Value::Null)]
    fn quota_bounds_the_room(#[case] hard: Value, #[case] expected: Value) {
        let quota = |hard: &Value| json!({"spec": {"hard": hard}});
        let quotas: Vec<Value> = hard.as_array().unwrap().iter().map(quota).collect();
        let quotas: Vec<ResourceQuota> = serde_json::from_value(json!(quotas)).unwrap();
        let pod = pod(&json!({"requests": {"cpu": "4", "memory": "1"}}));
        let less = with_room_within(&pod, &quotas);
        let stated = less.and_then(|pod| pod.spec?.resources);
        assert_eq!(serde_json::to_value(stated).unwrap(), expected);
    }
}
