//! The laws as they hold for `Relay`.

use std::num::NonZeroUsize;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kubeci_api::Step;
use kubeci_compiler::{Plan, compile_relay};

use crate::graphs::with_container;

mod document;
mod empty_dir;
mod exact;
mod minimal;
mod outcomes;
mod peak;
mod room;
mod width;

/// The plan with as many containers in a pod as there may be steps.
fn plan(steps: &[Step]) -> Plan {
    plan_within(steps, 500)
}

pub fn plan_within(steps: &[Step], containers: usize) -> Plan {
    compile_relay(steps, NonZeroUsize::new(containers).unwrap()).unwrap()
}

/// The steps, each with a container and requests of these resources.
pub fn requesting<'a>(
    steps: Vec<Step>,
    requests: impl Fn(usize) -> Vec<(&'a str, String)>,
) -> Vec<Step> {
    let request = |(name, quantity): (&str, String)| (name.to_owned(), Quantity(quantity));
    let with = |(at, step): (usize, Step)| Step {
        resources: Some(ResourceRequirements {
            requests: Some(requests(at).into_iter().map(request).collect()),
            ..ResourceRequirements::default()
        }),
        ..with_container(step)
    };
    steps.into_iter().enumerate().map(with).collect()
}
