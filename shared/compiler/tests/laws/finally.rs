//! A step of `spec.finally` is a step that comes after all steps of `spec.steps`, written in fewer words.

use std::num::NonZeroU16;

use kubeci_api::{Execution, Step, Task, WorkflowSpec};
use kubeci_compiler::{
    Plan, Settings, compile, compile_limited, compile_relay, compile_workflow, first_pod_requests,
    relay_apart, relay_pod_requests, widest_moment,
};
use proptest::prelude::*;

use crate::kinds::{graphs, minimal};
use crate::relay::requesting;

/// The steps of a Workflow.
#[derive(Clone, Debug)]
struct Written {
    main: Vec<Step>,
    finals: Vec<Step>,
}

impl Written {
    /// All steps, each final one with the edges that it has by being final.
    fn with_edges(&self) -> Vec<Step> {
        let names: Vec<String> = self.main.iter().map(|step| step.name.clone()).collect();
        let finals = self.finals.iter().cloned().map(|mut step| {
            step.after.extend(names.clone());
            step
        });
        self.main.iter().cloned().chain(finals).collect()
    }

    fn compile(&self, execution: Execution, max_parallel: Option<u16>, containers: usize) -> Plan {
        let workflow = WorkflowSpec {
            steps: self.main.clone(),
            finally: self.finals.clone(),
            execution: Some(execution),
            max_parallel: max_parallel.and_then(NonZeroU16::new),
            ..WorkflowSpec::default()
        };
        let settings = Settings {
            containers: containers.try_into().unwrap(),
            ..Settings::default()
        };
        compile_workflow(&workflow, &settings).unwrap()
    }
}

/// The names of the steps of the tasks, the serial ones first.
fn names(tasks: &[Task]) -> Vec<[Vec<&str>; 2]> {
    fn names(steps: &[Step]) -> Vec<&str> {
        steps.iter().map(|step| step.name.as_str()).collect()
    }
    let tasks = tasks.iter();
    tasks
        .map(|task| [names(&task.serial_steps), names(&task.parallel_steps)])
        .collect()
}

fn written(most: usize) -> impl Strategy<Value = Written> {
    (graphs(1..=most), graphs(1..=3)).prop_map(|(mut main, mut finals)| {
        for step in main.iter_mut().filter(|step| step.approval.is_some()) {
            step.env.clear();
        }
        for step in &mut finals {
            // Conditions name steps as they were before.
            (step.when, step.env) = (None, Vec::new());
            let edges = step.dependency.iter_mut();
            let edges = edges.chain(&mut step.on_failure).chain(&mut step.after);
            for name in edges.chain([&mut step.name]) {
                *name = name.replace('s', "f");
            }
        }
        Written { main, finals }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn final_step_comes_after_all_others(
        written in written(10),
        max_parallel in 0..4_u16,
        containers in 1..12_usize,
    ) {
        let all = written.with_edges();
        let pods = match NonZeroU16::new(max_parallel) {
            Some(max_parallel) => compile_limited(&all, max_parallel.into()),
            None => compile(&all),
        };
        let relay = compile_relay(&all, containers.try_into().unwrap());
        for (execution, expected) in [(Execution::Pods, pods.unwrap()), (Execution::Relay, relay.unwrap())] {
            let plan = written.compile(execution, Some(max_parallel), containers);
            prop_assert_eq!(names(&plan.tasks), names(&expected.tasks));
            prop_assert_eq!(plan.order, expected.order);
            let finals: Vec<_> = written.finals.iter().map(|step| step.name.clone()).collect();
            prop_assert_eq!(plan.finally, finals);
        }
    }

    #[test]
    fn law_2_plan_with_final_steps_has_fewest_pods(written in written(5)) {
        let all = written.with_edges();
        let (pods, relay) = minimal::fewest(&all);
        prop_assert_eq!(written.compile(Execution::Pods, None, 110).tasks.len(), pods);
        prop_assert_eq!(written.compile(Execution::Relay, None, 110).tasks.len(), relay);
    }

    #[test]
    fn final_steps_request_nothing_beside_the_others(
        mut written in written(8),
        cpus in prop::collection::vec(1..9_u8, 11),
    ) {
        let request = |at: usize| vec![("cpu", cpus[at % cpus.len()].to_string())];
        written.main = requesting(written.main, request);
        written.finals = requesting(written.finals, |at| request(at + 7));
        let expected = compile_relay(&written.with_edges(), 500.try_into().unwrap()).unwrap();
        let plan = written.compile(Execution::Relay, None, 500);
        let (order, finally) = (plan.order, &plan.finally);
        prop_assert_eq!(widest_moment(order, &plan.tasks, finally, None), widest_moment(order, &expected.tasks, &[], None));
        prop_assert_eq!(first_pod_requests(order, &plan.tasks, finally, 0, None), first_pod_requests(order, &expected.tasks, &[], 0, None));
        prop_assert_eq!(relay_apart(&plan.tasks, finally), relay_apart(&expected.tasks, &[]));
        for (task, expected) in plan.tasks.iter().zip(&expected.tasks) {
            prop_assert_eq!(relay_pod_requests(task, finally, None), relay_pod_requests(expected, &[], None));
        }
    }
}
