//! How many bytes of outputs a step may have.

use kube::Resource;
use kubeci_api::Workplan;
use kubeci_compiler::{output_bytes, stored_bytes};
use step_runner::outputs::{KUBELET_BYTES, POD_BYTES};
use step_runner::record::HEAD_BYTES;

/// The bytes of a record around its outputs.
const RECORD_BYTES: usize = HEAD_BYTES + 2;

/// The bytes of a termination message that the kubelet keeps, in a pod of so many containers.
pub fn kept_bytes(containers: usize) -> usize {
    KUBELET_BYTES.min(POD_BYTES / containers.max(1))
}

/// The bound for a step whose outputs are the termination message of its container. A message as long as the kubelet
/// keeps may have been cut.
pub fn of_message(workplan: &Workplan, containers: usize) -> usize {
    of_plan(workplan).min(kept_bytes(containers).saturating_sub(1))
}

/// The bound for a step whose outputs are in the record of its step runner.
pub fn of_record(workplan: &Workplan, containers: usize) -> usize {
    of_plan(workplan).min(kept_bytes(containers).saturating_sub(RECORD_BYTES))
}

fn of_plan(workplan: &Workplan) -> usize {
    let spec = &workplan.spec;
    let annotations = workplan.meta().annotations.as_ref();
    output_bytes(&spec.tasks, &spec.pod, annotations.map_or(0, stored_bytes))
}

#[cfg(test)]
mod tests {
    use kubeci_api::Order;
    use rstest::rstest;

    use super::*;
    use crate::testing::workplan;

    #[rstest]
    #[case::alone(1, 4095, 3984)]
    #[case::three(3, 4095, 3984)]
    #[case::ten(10, 1227, 1116)]
    #[case::most(110, 110, 0)]
    fn bound_follows_the_containers_of_the_pod(
        #[case] containers: usize,
        #[case] message: usize,
        #[case] record: usize,
    ) {
        let plan = workplan(Order::Linear, &["a"]);
        assert_eq!(of_message(&plan, containers), message);
        assert_eq!(of_record(&plan, containers), record);
    }

    #[test]
    fn bound_follows_the_steps_of_the_plan() {
        let steps: Vec<String> = (0..500).map(|at| format!("s{at}")).collect();
        let tasks: Vec<&str> = steps.iter().map(String::as_str).collect();
        let bound = of_record(&workplan(Order::Linear, &tasks), 2);
        assert!((300..500).contains(&bound), "{bound}");
    }
}
