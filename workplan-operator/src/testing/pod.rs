//! Pods of Workplans for tests.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use kubeci_api::Workplan;

use crate::core::pod::{Placement, build};

pub const FIRST: Placement = Placement {
    node: None,
    fresh: true,
    requests: None,
    image: "operator",
    pod_level: true,
};

pub fn later(node: &str) -> Placement<'_> {
    Placement {
        node: Some(node),
        fresh: false,
        ..FIRST
    }
}

pub fn names(containers: Option<&Vec<Container>>) -> Vec<&str> {
    let containers = containers.into_iter().flatten();
    containers.map(|it| it.name.as_str()).collect()
}

pub fn spec(workplan: &Workplan, task: usize, placement: Placement) -> PodSpec {
    build(workplan, task, |_| true, placement).spec.unwrap()
}
