//! Requests the access reviews that triggers need, repeatedly, because roles change.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    core::v1::{self as core, Namespace},
};
use kube::{Api, Client, api::PostParams};
use kubeci_controller::api_error::message;
use kubeci_triggers::{AccessDecision, AccessReview, Scope, ServiceAccount};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::input::{Input, InputSender};

/// The interval of a review that is denied or fails.
const DENIED_INTERVAL: Duration = Duration::from_secs(10);
/// The interval of a review that is allowed.
const ALLOWED_INTERVAL: Duration = Duration::from_mins(2);
const MAX_CONCURRENT: usize = 8;

/// Requests these reviews, each at its interval, until the operator stops.
pub async fn run(
    client: Client,
    mut reviews: watch::Receiver<BTreeSet<AccessReview>>,
    inputs: InputSender,
) {
    let mut due: BTreeMap<AccessReview, Instant> = BTreeMap::new();
    loop {
        let wanted = reviews.borrow_and_update().clone();
        due.retain(|review, _| wanted.contains(review));
        let now = Instant::now();
        let is_due = |review: &AccessReview| due.get(review).is_none_or(|due| *due <= now);
        let requests: Vec<AccessReview> = wanted.into_iter().filter(is_due).collect();
        let mut results = stream::iter(requests)
            .map(|review| request(&client, review))
            .buffer_unordered(MAX_CONCURRENT);
        while let Some((review, decision)) = results.next().await {
            due.insert(review.clone(), Instant::now() + interval(decision));
            let Some(decision) = decision else {
                continue;
            };
            let input = Input::AccessReviewed(review, decision);
            if inputs.send(input).await.is_err() {
                return;
            }
        }
        let next = due.values().min().copied();
        tokio::select! {
            () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
            changed = reviews.changed() => if changed.is_err() { return },
        }
    }
}

/// The time until the next request of the same review, spread by a quarter either way.
fn interval(decision: Option<AccessDecision>) -> Duration {
    let interval = match decision {
        Some(AccessDecision::Allowed) => ALLOWED_INTERVAL,
        _ => DENIED_INTERVAL,
    };
    interval.mul_f64(0.75 + fastrand::f64() / 2.0)
}

/// The result of a review; `None` if the request fails.
async fn request(client: &Client, review: AccessReview) -> (AccessReview, Option<AccessDecision>) {
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let request = SubjectAccessReview {
        spec: spec(&review),
        ..SubjectAccessReview::default()
    };
    let allowed = match api.create(&PostParams::default(), &request).await {
        Ok(response) => response.status.map(|status| status.allowed),
        Err(error) => {
            tracing::warn!("a SubjectAccessReview fails; retrying: {}", message(&error));
            None
        }
    };
    let decision = match allowed {
        Some(true) => Some(AccessDecision::Allowed),
        Some(false) => Some(denied(client, &review).await),
        None => None,
    };
    (review, decision)
}

/// Why a review is denied. An object that cannot be read is assumed to exist.
async fn denied(client: &Client, review: &AccessReview) -> AccessDecision {
    let ServiceAccount { namespace, name } = &review.service_account;
    let accounts: Api<core::ServiceAccount> = Api::namespaced(client.clone(), namespace);
    if let Ok(None) = accounts.get_metadata_opt(name).await {
        return AccessDecision::ServiceAccountNotFound;
    }
    if let Scope::Namespace(namespace) = &review.key.scope {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        if let Ok(None) = namespaces.get_metadata_opt(namespace).await {
            return AccessDecision::NamespaceNotFound;
        }
    }
    AccessDecision::Denied
}

fn spec(review: &AccessReview) -> SubjectAccessReviewSpec {
    let AccessReview {
        service_account: ServiceAccount { namespace, name },
        key,
        ..
    } = review;
    let attributes = ResourceAttributes {
        group: Some(key.resource.kind.group.clone()),
        version: Some(key.resource.kind.version.clone()),
        resource: Some(key.resource.plural.clone()),
        verb: Some("watch".to_owned()),
        name: review.name.clone(),
        namespace: match &key.scope {
            Scope::All => None,
            Scope::Namespace(namespace) => Some(namespace.clone()),
        },
        ..ResourceAttributes::default()
    };
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    SubjectAccessReviewSpec {
        user: Some(format!("system:serviceaccount:{namespace}:{name}")),
        groups: Some(groups.into()),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    }
}
