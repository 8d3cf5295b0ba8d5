use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kubeci_api::{Approval, Order, Step, Task};
use kubeci_compiler::{Requests, compile, first_pod_requests, widest_moment};
use proptest::collection::vec;
use proptest::prelude::*;
use rstest::rstest;

use crate::graphs::{closure, dependencies, graphs_with_isolated, index, members, with_container};
use crate::simulation::run;

fn requesting(mut step: Step, cpu: &str) -> Step {
    let requests = Some([("cpu".to_owned(), Quantity(cpu.to_owned()))].into());
    step.resources = Some(ResourceRequirements {
        requests,
        ..ResourceRequirements::default()
    });
    step
}

fn with_requests(sizes: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<Step>> {
    let cpus = vec(0..9_u32, *sizes.end());
    (graphs_with_isolated(sizes), cpus).prop_map(|(steps, cpus)| {
        let step = |(step, cpu): (Step, u32)| requesting(with_container(step), &cpu.to_string());
        steps.into_iter().zip(cpus).map(step).collect()
    })
}

/// What a pod requests, and whether it is over before another starts: both from the definition.
struct Pods {
    requests: Vec<u128>,
    over_before: Vec<Vec<bool>>,
}

impl Pods {
    fn of(steps: &[Step], tasks: &[Task]) -> Self {
        let closure = closure(&dependencies(steps));
        let all_need = |later: &Vec<usize>, earlier: &Vec<usize>| {
            later
                .iter()
                .all(|&step| earlier.iter().all(|&needed| closure[step][needed]))
        };
        let pods: Vec<_> = tasks.iter().map(members).collect();
        let over_before = |one| pods.iter().map(|other| all_need(other, one)).collect();
        Self {
            requests: tasks
                .iter()
                .map(|task| Requests::of_task(task).milli("cpu"))
                .collect(),
            over_before: pods.iter().map(over_before).collect(),
        }
    }

    fn may_meet(&self, one: usize, other: usize) -> bool {
        !self.over_before[one][other] && !self.over_before[other][one]
    }

    /// The most that any of these pods, which may all meet, request together.
    fn widest(&self, pods: &[usize]) -> u128 {
        let moments = (0..1_usize << pods.len()).filter_map(|moment| {
            let at = |place: usize| moment >> place & 1 == 1;
            let running: Vec<_> = (0..pods.len())
                .filter(|&place| at(place))
                .map(|at| pods[at])
                .collect();
            let meet = running.iter().all(|&one| {
                running
                    .iter()
                    .all(|&other| one == other || self.may_meet(one, other))
            });
            meet.then(|| running.iter().map(|&pod| self.requests[pod]).sum())
        });
        moments.max().unwrap_or(0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn widest_moment_is_heaviest_set_of_concurrent_pods(steps in with_requests(1..=12)) {
        let plan = compile(&steps).unwrap();
        let pods = Pods::of(&steps, &plan.tasks);
        let all: Vec<usize> = (0..plan.tasks.len()).collect();
        let beside: Vec<usize> = all.iter().copied().filter(|&pod| pod != 0 && pods.may_meet(0, pod)).collect();
        let widest = widest_moment(plan.order, &plan.tasks, &[], None).milli("cpu");
        prop_assert_eq!(widest, pods.widest(&all));
        let first = first_pod_requests(plan.order, &plan.tasks, &[], 0, None).unwrap_or_default().milli("cpu");
        prop_assert_eq!(first, widest - pods.widest(&beside));
        prop_assert!(first >= pods.requests[0]);
    }

    #[test]
    fn run_never_requests_more_than_widest_moment(
        steps in with_requests(1..=60),
        durations in vec(1..100_u64, 60),
    ) {
        let plan = compile(&steps).unwrap();
        let run = run(plan.order, &plan.tasks, |step| durations[index(step)]);
        let widest = widest_moment(plan.order, &plan.tasks, &[], None).milli("cpu");
        for moment in run.pods.iter().map(|pod| pod.start) {
            let running = run.pods.iter().zip(&plan.tasks);
            let running = running.filter(|(pod, _)| (pod.start..pod.end).contains(&moment));
            let requests: u128 = running.map(|(_, task)| Requests::of_task(task).milli("cpu")).sum();
            prop_assert!(requests <= widest, "{} at {}, widest {}", requests, moment, widest);
        }
    }
}

fn step(name: &str, cpu: &str, dependency: &[&str]) -> Step {
    let dependency = dependency.iter().map(|&name| name.to_owned()).collect();
    requesting(
        Step {
            name: name.to_owned(),
            dependency,
            ..Step::default()
        },
        cpu,
    )
}

fn task<const S: usize, const P: usize>(
    serial_steps: [Step; S],
    parallel_steps: [Step; P],
) -> Task {
    Task {
        serial_steps: serial_steps.into(),
        parallel_steps: parallel_steps.into(),
    }
}

#[rstest]
#[case::containers_add_up(task([], [step("a", "100m", &[]), step("b", "1.5", &[])]), 1600)]
#[case::init_containers_do_not(task([step("a", "2", &[]), step("b", "3", &[])], [step("c", "1", &[])]), 3000)]
#[case::without_parallel_steps(task([step("a", "2", &[]), step("b", "3", &[])], []), 3000)]
#[case::nothing(task([], [Step::default()]), 0)]
fn pod_requests_what_the_scheduler_counts(#[case] task: Task, #[case] milli: u128) {
    assert_eq!(Requests::of_task(&task).milli("cpu"), milli);
}

#[test]
fn limit_without_request_is_the_request() {
    let quantity = |text: &str| Quantity(text.to_owned());
    let mut step = step("a", "1", &[]);
    step.resources.as_mut().unwrap().limits = Some(
        [
            ("cpu".to_owned(), quantity("4")),
            ("memory".to_owned(), quantity("1Gi")),
        ]
        .into(),
    );
    let requests = Requests::of_task(&task([], [step])).quantities();
    assert_eq!(requests["cpu"], quantity("1"));
    assert_eq!(requests["memory"], quantity("1073741824"));
}

#[test]
fn linear_tasks_never_run_concurrently() {
    let tasks = [
        task([], [step("a", "3", &[])]),
        task([], [step("b", "5", &[])]),
    ];
    assert_eq!(
        widest_moment(Order::Linear, &tasks, &[], None).milli("cpu"),
        5000
    );
    assert_eq!(
        widest_moment(Order::Graph, &tasks, &[], None).milli("cpu"),
        8000
    );
}

#[test]
fn first_pod_requests_for_later_not_concurrent_pods() {
    let tasks = [
        task([], [step("a", "1", &[])]),
        task([], [step("beside", "2", &[])]),
        task([], [step("after", "8", &["a"])]),
    ];
    assert_eq!(
        first_pod_requests(Order::Graph, &tasks, &[], 0, None)
            .unwrap()
            .milli("cpu"),
        8000
    );
    assert_eq!(
        first_pod_requests(Order::Linear, &tasks, &[], 0, None)
            .unwrap()
            .milli("cpu"),
        8000
    );
    assert_eq!(
        first_pod_requests(Order::Graph, &[task([], [Step::default()])], &[], 0, None),
        None
    );
}

#[test]
fn pods_after_an_approval_count_as_any_others() {
    let approval = Step {
        approval: Some(Approval::default()),
        ..Step::default()
    };
    let gate = Step {
        name: "gate".to_owned(),
        ..approval
    };
    let tasks = [
        task([], [gate]),
        task([], [step("a", "1", &["gate"])]),
        task([], [step("b", "8", &["a"])]),
        task([], [step("beside", "2", &["gate"])]),
    ];
    let first = |first| first_pod_requests(Order::Graph, &tasks, &[], first, None);
    assert_eq!(first(1).unwrap().milli("cpu"), 8000);
    assert_eq!(first(3).unwrap().milli("cpu"), 2000);
    assert_eq!(
        widest_moment(Order::Graph, &tasks, &[], None).milli("cpu"),
        10_000
    );
}

#[test]
fn serial_step_waits_for_the_one_before() {
    let tasks = [
        task([], [step("a", "1", &[])]),
        task([step("b", "1", &["a"]), step("c", "1", &[])], []),
        task([], [step("d", "1", &["c"])]),
    ];
    assert_eq!(
        widest_moment(Order::Graph, &tasks, &[], None).milli("cpu"),
        1000
    );
}

#[test]
fn tasks_in_a_cycle_count_as_concurrent() {
    let tasks = [
        task([], [step("a", "1", &["b"])]),
        task([], [step("b", "1", &["a"])]),
    ];
    assert_eq!(
        widest_moment(Order::Graph, &tasks, &[], None).milli("cpu"),
        2000
    );
}
