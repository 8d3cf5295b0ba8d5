//! Pods of Workplans for tests.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use kubeci_api::Workplan;
use kubeci_compiler::Limits;

use crate::pod_builder::{Placement, build};

static NO_LIMITS: Limits = Limits::NONE;

pub const FIRST: Placement = Placement {
    node: None,
    number: 1,
    steps: &[],
    nothing_has_run: true,
    room: None,
    limits: &NO_LIMITS,
    image: "operator",
};

pub fn later(node: &str) -> Placement<'_> {
    Placement {
        node: Some(node),
        nothing_has_run: false,
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
