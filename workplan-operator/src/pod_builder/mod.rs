//! The pod of a task.

#[cfg(test)]
mod admission_laws;
mod container;
mod expressions;
mod name;
mod native;
mod relay;
mod room;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Container, EmptyDirVolumeSource, HostPathVolumeSource, NodeAffinity, NodeSelector,
    NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use kubeci_api::names::{TASK_LABEL, WORKFLOW_LABEL, WORKPLAN_LABEL, WORKSPACE_VOLUME};
use kubeci_api::{Step, StepStatus, Task, Workplan, Workspace};
use kubeci_compiler::{Limits, Requests, is_relay, read_plan};
use kubeci_engine::{Steps, failed_attempts};
use kubeci_plan::{EdgeKind, NamedEdge, Plan};

use crate::expression_values;
use crate::workspace::{Folder, workflow};
pub use container::as_root;
use container::some;
use expressions::Expressions;
pub use name::{has_left, name, number, parse};
#[cfg(test)]
pub use relay::IN_STEPS as RUNNER;
pub use room::{holds_room, is_admitted, with_room_within, without_room};

/// Kubectl's own annotation.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The input for a task's pod, besides its Workplan.
#[derive(Clone, Debug)]
pub struct Placement<'a> {
    /// The node of the pods before it; the scheduler chooses that of the first.
    pub node: Option<&'a str>,
    /// The number of the pod among those of its task.
    pub number: u32,
    /// The state of the steps.
    pub steps: &'a [StepStatus],
    /// Whether no step of the plan has run yet, so that the folder may have to be opened.
    pub nothing_has_run: bool,
    /// The requests of the first pod, so that its node has room for the later pods.
    pub room: Option<Requests>,
    /// The defaults and limits of the namespace for containers.
    pub limits: &'a Limits,
    /// The operator's own image.
    pub image: &'a str,
}

/// The pod of a task, with the steps for which `runs` is true.
#[must_use]
pub fn build(
    workplan: &Workplan,
    task: usize,
    runs: impl Fn(&Step) -> bool,
    placement: Placement,
) -> Pod {
    let opens = placement.nothing_has_run && has_other_users(workplan);
    let parts = parts(workplan, task, runs, &placement, opens);
    let settings = workplan.spec.pod.clone();
    let mut spec = PodSpec {
        init_containers: some(parts.init),
        containers: parts.main,
        restart_policy: Some("Never".into()),
        enable_service_links: Some(false),
        service_account_name: settings.service_account_name,
        automount_service_account_token: settings.automount_service_account_token,
        node_selector: (!settings.node_selector.is_empty()).then_some(settings.node_selector),
        tolerations: some(settings.tolerations),
        affinity: match placement.node {
            Some(node) => Some(on_node(settings.affinity, node)),
            None => settings.affinity,
        },
        image_pull_secrets: some(settings.image_pull_secrets),
        security_context: settings.security_context,
        volumes: Some(
            settings
                .volumes
                .into_iter()
                .chain([workspace(workplan)])
                .chain(parts.volumes)
                .collect(),
        ),
        ..PodSpec::default()
    };
    spec.resources = placement
        .room
        .and_then(|room| room::held(&room, &spec, placement.limits));
    Pod {
        metadata: metadata(workplan, task, placement.number, parts.default_container),
        spec: Some(spec),
        status: None,
    }
}

fn metadata(
    workplan: &Workplan,
    task: usize,
    number: u32,
    default_container: Option<String>,
) -> ObjectMeta {
    let own = [
        (WORKPLAN_LABEL, workplan.name_any()),
        (TASK_LABEL, task.to_string()),
    ];
    let workflow = workflow(workplan).map(|name| (WORKFLOW_LABEL, name.to_owned()));
    let labels = own
        .into_iter()
        .chain(workflow)
        .map(|(key, value)| (key.to_owned(), value));
    ObjectMeta {
        name: Some(name(workplan, task, number)),
        namespace: workplan.namespace(),
        labels: Some(labels.collect()),
        annotations: default_container.map(|it| [(DEFAULT_CONTAINER.to_owned(), it)].into()),
        owner_references: workplan.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// The parts of a pod that depend on the steps of its task.
#[derive(Default)]
struct Parts {
    init: Vec<Container>,
    main: Vec<Container>,
    volumes: Vec<Volume>,
    /// The container that `kubectl logs` shows when none is named; the first if absent.
    default_container: Option<String>,
}

fn parts(
    workplan: &Workplan,
    task: usize,
    runs: impl Fn(&Step) -> bool,
    placement: &Placement,
    opens: bool,
) -> Parts {
    let tasks = &workplan.spec.tasks;
    let Ok(plan) = read_plan(workplan.spec.order, tasks, &workplan.spec.finally) else {
        return Parts::default();
    };
    let Some(written) = tasks.get(task) else {
        return Parts::default();
    };
    let known =
        Steps::read(&plan, placement.steps).with_values(expression_values::context(workplan));
    let expressions = Expressions::new(workplan, &plan, &known, task);
    let left = |steps: &[Step]| {
        let left = steps
            .iter()
            .filter(|step| runs(step) && expressions.admit(step));
        left.cloned().collect()
    };
    let left = placement.limits.complete(Task {
        serial_steps: left(&written.serial_steps),
        parallel_steps: left(&written.parallel_steps),
    });
    if is_relay(workplan.spec.order, written) {
        let left = with_retries_left(left, placement.steps);
        let waits = |step: &str| waits(&plan, &left, step, &expressions);
        relay::parts(workplan, &left, waits, placement, opens)
    } else {
        native::parts(workplan, &expressions.with_values(left), placement, opens)
    }
}

/// How a step waits for the steps that are left of its task. The edges from others hold.
fn waits<'a>(
    plan: &Plan<'a>,
    left: &Task,
    step: &str,
    expressions: &Expressions,
) -> relay::Waits<'a> {
    let mut steps = plan.steps.iter();
    let edges = steps.find(|it| it.name == step).map(|it| &it.edges);
    let edges = edges.into_iter().flatten().map(|edge| NamedEdge {
        from: plan.steps[edge.from].name,
        kind: edge.kind,
    });
    let find = |name: &str| left.steps().find(|step| step.name == name);
    let needs: Vec<_> = edges.filter(|edge| find(edge.from).is_some()).collect();
    let is_repeated = |from: &&str| find(from).is_some_and(relay::is_repeated_elsewhere);
    relay::Waits {
        repeated: needs
            .iter()
            .map(|edge| edge.from)
            .filter(is_repeated)
            .collect(),
        needs,
        at_once: goes_on_past_skipped(plan),
        expressions: expressions.arguments(step),
    }
}

/// Whether steps may start because others are skipped. The final steps wait for all others anyway.
fn goes_on_past_skipped(plan: &Plan) -> bool {
    let is_final = |step: usize| plan.steps[step].is_final;
    let mut edges = plan.steps.iter().flat_map(|step| &step.edges);
    edges.any(|edge| edge.kind == EdgeKind::OnEnd && is_final(edge.from) == is_final(edge.to))
}

/// The steps of a task, each with the retries that the attempts in earlier pods have left of its `retry`.
fn with_retries_left(mut task: Task, recorded: &[StepStatus]) -> Task {
    let recorded = recorded.iter();
    let failed: BTreeMap<&str, u32> = recorded
        .map(|step| (step.name.as_str(), failed_attempts(step)))
        .collect();
    for step in task.serial_steps.iter_mut().chain(&mut task.parallel_steps) {
        let failed = failed.get(step.name.as_str()).copied().unwrap_or_default();
        if let Some(retry) = &mut step.retry {
            retry.limit = retry.limit.saturating_sub(failed);
        }
    }
    task
}

/// Whether a step may run as a user other than root, with a folder that only root can write.
fn has_other_users(workplan: &Workplan) -> bool {
    let spec = &workplan.spec;
    if spec.workspace.is_empty_dir() {
        return false;
    }
    let other = |user: Option<i64>, non_root: Option<bool>| {
        user.is_some_and(|user| user != 0) || non_root == Some(true)
    };
    let pod = spec.pod.security_context.as_ref();
    let mut steps = spec.tasks.iter().flat_map(Task::steps);
    pod.is_some_and(|pod| other(pod.run_as_user, pod.run_as_non_root))
        || steps.any(|step| {
            let context = step.security_context.as_ref();
            context.is_some_and(|context| other(context.run_as_user, context.run_as_non_root))
        })
}

fn workspace(workplan: &Workplan) -> Volume {
    let mut volume = Volume {
        name: WORKSPACE_VOLUME.into(),
        ..Volume::default()
    };
    match workplan.spec.workspace {
        Workspace::EmptyDir => volume.empty_dir = Some(EmptyDirVolumeSource::default()),
        Workspace::HostPath { .. } => {
            volume.host_path = Some(HostPathVolumeSource {
                path: Folder::of(workplan).host_path().display().to_string(),
                type_: Some("DirectoryOrCreate".into()),
            });
        }
    }
    volume
}

/// The user's affinity, and this node. The terms are alternatives, so each must name the node.
fn on_node(affinity: Option<Affinity>, node: &str) -> Affinity {
    let mut affinity = affinity.unwrap_or_default();
    let node_affinity = affinity
        .node_affinity
        .get_or_insert_with(NodeAffinity::default);
    let required = node_affinity
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(NodeSelector::default);
    if required.node_selector_terms.is_empty() {
        required
            .node_selector_terms
            .push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields
            .get_or_insert_default()
            .push(NodeSelectorRequirement {
                key: "metadata.name".into(),
                operator: "In".into(),
                values: Some(vec![node.to_owned()]),
            });
    }
    affinity
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSecurityContext;
    use kubeci_api::Order;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::pod::{FIRST, later, names, spec};
    use crate::testing::workplan;

    #[rstest]
    #[case::none(json!({}), 1)]
    #[case::two_terms(json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "disk", "operator": "Exists"}]},
        {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["x"]}]},
    ]}}}), 2)]
    fn law_4_later_pods_require_the_first_node(#[case] affinity: Value, #[case] terms: usize) {
        let mut workplan = workplan(Order::Linear, &["a", "b"]);
        workplan.spec.pod.affinity = serde_json::from_value(affinity).unwrap();
        assert_eq!(
            spec(&workplan, 0, FIRST).affinity,
            workplan.spec.pod.affinity
        );
        let later = spec(&workplan, 1, later("n1"));
        assert_eq!(later.node_name, None);
        let required = later.affinity.unwrap().node_affinity.unwrap();
        let required = required
            .required_during_scheduling_ignored_during_execution
            .unwrap();
        assert_eq!(required.node_selector_terms.len(), terms);
        for term in required.node_selector_terms {
            let last = term.match_fields.unwrap().pop().unwrap();
            assert_eq!(
                (last.key.as_str(), last.values),
                ("metadata.name", Some(vec!["n1".into()]))
            );
        }
    }

    #[rstest]
    fn token_mount_follows_the_plan(#[values(None, Some(false), Some(true))] said: Option<bool>) {
        let mut plan = workplan(Order::Linear, &["a"]);
        plan.spec.pod.automount_service_account_token = said;
        let spec = spec(&plan, 0, FIRST);
        assert_eq!(spec.automount_service_account_token, said);
    }

    #[test]
    fn empty_dir_is_open_to_all_users() {
        let mut plan = workplan(Order::Linear, &["a | b"]);
        plan.spec.workspace = Workspace::EmptyDir;
        plan.spec.pod.security_context = Some(PodSecurityContext {
            run_as_non_root: Some(true),
            ..PodSecurityContext::default()
        });
        let spec = spec(&plan, 0, FIRST);
        let volume = &spec.volumes.unwrap()[0];
        assert!(volume.empty_dir.is_some() && volume.host_path.is_none());
        assert_eq!(names(spec.init_containers.as_ref()), ["a"]);
    }

    #[test]
    fn first_pod_requests_the_widest_moment() {
        let mut workplan = workplan(Order::Linear, &["a"]);
        workplan.spec.tasks[0].serial_steps[0].resources =
            serde_json::from_value(json!({"requests": {"cpu": "1", "memory": "1Mi"}})).unwrap();
        let room = [("cpu", 2000), ("memory", 1000 << 20), ("gpu/one", 1000)];
        let room = room.map(|(resource, milli)| (resource.to_owned(), milli));
        let placement = Placement {
            room: Some(room.into_iter().collect()),
            ..FIRST
        };
        let resources = spec(&workplan, 0, placement).resources;
        let resources = serde_json::to_value(resources).unwrap();
        assert_eq!(
            resources,
            json!({"requests": {"cpu": "2"}}),
            "only what is more"
        );
    }
}
