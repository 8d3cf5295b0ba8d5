//! How long it takes to compile 500 steps, and to find their widest moment: `cargo bench -p kubeci-compiler`.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kubeci_api::Step;
use kubeci_compiler::{CompileError, Plan, compile, compile_relay, first_pod_requests};

const STEPS: usize = 500;
/// How many steps of the layered graph depend on all of as many others.
const WIDTH: usize = 25;
const ROUNDS: usize = 50;
const STEPS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(STEPS - 1);
const CONTAINERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);

fn main() -> Result<(), Vec<CompileError>> {
    // A linear congruential generator: the same graphs every time.
    let mut state = 1_usize;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let below = |at: usize| at / WIDTH * WIDTH;
    let random = steps(|at| (0..at.min(3)).map(|_| random(at)).collect());
    let mut isolated = random.clone();
    for step in &mut isolated {
        step.isolate = true;
    }
    let shapes = [
        ("chain", steps(|at| (at.saturating_sub(1)..at).collect())),
        ("wide", steps(|at| (0..at.min(1)).collect())),
        ("random", random),
        ("isolated", isolated),
        (
            "layers",
            steps(|at| (below(at).saturating_sub(WIDTH)..below(at)).collect()),
        ),
        ("dense", steps(|at| (0..at).collect())),
        (
            "chains",
            steps(|at| (at.saturating_sub(WIDTH)..(at + 1).saturating_sub(WIDTH)).collect()),
        ),
        (
            "comb",
            steps(|at| {
                (0..at)
                    .filter(|other| other % 2 == 0 && at % 2 == 0 || other + 1 == at)
                    .collect()
            }),
        ),
        (
            "nested",
            steps(|at| (0..at).filter(|other| other % 2 == 0).collect()),
        ),
        ("intervals", steps(|at| (0..at.saturating_sub(1)).collect())),
    ];
    println!(
        "{:10} {:6} {:>5} {:>12} {:>12} {:>12} {:>12}",
        "", "", "pods", "compile p50", "p99", "peak p50", "p99"
    );
    for (name, steps) in &shapes {
        row(name, "Pods", || compile(black_box(steps)))?;
        row(name, "Relay", || compile_relay(black_box(steps), STEPS_MAX))?;
        row(name, "of 100", || {
            compile_relay(black_box(steps), CONTAINERS)
        })?;
    }
    Ok(())
}

type Compiled = Result<Plan, Vec<CompileError>>;

fn row(
    name: &str,
    execution: &str,
    compile: impl Fn() -> Compiled,
) -> Result<(), Vec<CompileError>> {
    let plan = compile()?;
    let [compile_p50, compile_p99] = percentiles(|| drop(black_box(compile())));
    let [peak_p50, peak_p99] = percentiles(|| peak(&plan));
    let pods = plan.tasks.len();
    println!(
        "{name:10} {execution:6} {pods:>5} {compile_p50:>12.1?} {compile_p99:>12.1?} {peak_p50:>12.1?} {peak_p99:>12.1?}"
    );
    Ok(())
}

fn peak(plan: &Plan) {
    black_box(first_pod_requests(
        plan.order,
        black_box(&plan.tasks),
        &[],
        0,
        None,
    ));
}

/// Steps that depend on what is said for their index, and request various amounts.
fn steps(mut dependencies: impl FnMut(usize) -> Vec<usize>) -> Vec<Step> {
    let step = |at: usize| {
        let mut dependencies = dependencies(at);
        dependencies.sort_unstable();
        dependencies.dedup();
        let amount = |at: usize| Quantity(format!("{}m", 10 + at * 7 % 90));
        let requests = [
            ("cpu".to_owned(), amount(at)),
            ("memory".to_owned(), amount(at + 3)),
        ];
        Step {
            name: format!("step-{at}"),
            image: "alpine".to_owned(),
            commands: vec!["sh".to_owned(), "-c".to_owned(), "make".to_owned()],
            dependency: dependencies.iter().map(|at| format!("step-{at}")).collect(),
            resources: Some(ResourceRequirements {
                requests: Some(requests.into()),
                ..ResourceRequirements::default()
            }),
            ..Step::default()
        }
    };
    (0..STEPS).map(step).collect()
}

/// The median and the 99th percentile of many runs.
fn percentiles(mut run: impl FnMut()) -> [Duration; 2] {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    [times[ROUNDS / 2], times[ROUNDS * 99 / 100]]
}
