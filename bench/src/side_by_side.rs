//! The same steps in one pod with the step runner, in native pods, and by hand: from the write of the
//! ConfigMap to `completed`, or from the write of the first pod to the last container's end.

use std::time::{Duration, Instant};

use futures::future::join_all;
use kubeci_e2e::Test;
use serde_json::json;
use tokio::time::sleep;

use crate::by_hand::ByHand;
use crate::fire::{clear, completions, create, plan_of, workflow};
use crate::observations::Observations;
use crate::shapes::{HandMade, Shape, chain, diamond, document};
use crate::table::{mean, spread};

pub fn header() {
    println!("| | `Relay` | one bare pod | ratio | `Pods` | pods by hand |");
    println!("|---|---|---|---|---|---|");
}

pub async fn measure(test: &Test) {
    let bench = Bench {
        test,
        completed: completions(test).await,
        by_hand: ByHand::begin(test).await,
    };
    bench.in_turn(&document(), 10, 3).await;
    bench
        .chains(&[(chain(10), 3), (chain(30), 5), (chain(100), 3)])
        .await;
    bench.in_turn(&diamond(20, 5), 3, 1).await;
}

struct Bench<'a> {
    test: &'a Test,
    completed: Observations,
    by_hand: ByHand<'a>,
}

/// What it took in pods that wait for each other, or in one whose steps do so one by one.
#[derive(Default)]
struct Native {
    pods: Vec<Duration>,
    by_hand: Vec<Duration>,
}

impl Bench<'_> {
    /// The native ways in turn, `native` times, then both ways in one pod, `rounds` times.
    async fn in_turn(&self, shape: &Shape, rounds: usize, native: usize) {
        let mut seen = Native::default();
        self.workflow(shape, "Pods").await;
        for round in 0..native {
            let phase = phase(round, native);
            sleep(phase).await;
            seen.pods.push(self.kubeci(shape, "Pods", round).await);
            clear(self.test).await;
            sleep(phase).await;
            seen.by_hand.push(self.in_a_row(shape, round).await);
            clear(self.test).await;
        }
        self.one_pod(shape, rounds, &seen).await;
    }

    /// The native ways once, all at the same time: most of it is waiting for the kubelet.
    async fn chains(&self, chains: &[(Shape, usize)]) {
        let native = chains.iter().map(async |(shape, _)| {
            self.workflow(shape, "Pods").await;
            let (pods, by_hand) =
                tokio::join!(self.kubeci(shape, "Pods", 0), self.in_a_row(shape, 0));
            Native {
                pods: vec![pods],
                by_hand: vec![by_hand],
            }
        });
        let native = join_all(native).await;
        clear(self.test).await;
        for ((shape, rounds), native) in chains.iter().zip(&native) {
            self.one_pod(shape, *rounds, native).await;
        }
    }

    /// Both ways in one pod, in turn; prints the row.
    async fn one_pod(&self, shape: &Shape, rounds: usize, native: &Native) {
        self.workflow(shape, "Relay").await;
        let (mut relay, mut bare) = (vec![], vec![]);
        for round in 0..rounds {
            let phase = phase(round, rounds);
            sleep(phase).await;
            relay.push(self.kubeci(shape, "Relay", round).await);
            clear(self.test).await;
            sleep(phase).await;
            bare.push(self.together(shape, round).await);
            clear(self.test).await;
        }
        println!(
            "| {} | {} | {} | {:.2} | {} | {} |",
            shape.what,
            spread(&relay),
            spread(&bare),
            mean(&relay).div_duration_f64(mean(&bare)),
            spread(&native.pods),
            spread(&native.by_hand),
        );
    }

    async fn workflow(&self, shape: &Shape, mode: &str) {
        let settings = json!({"execution": mode});
        workflow(self.test, &of(shape, mode), &shape.steps, &settings).await;
    }

    async fn kubeci(&self, shape: &Shape, mode: &str, round: usize) -> Duration {
        let workflow = of(shape, mode);
        let trigger = format!("{workflow}-{round}");
        let start = Instant::now();
        create(self.test, &trigger, &workflow).await;
        let took = self.completed.when(&trigger).await - start;
        let plan = plan_of(self.test, &workflow, &trigger).await;
        self.test.cleaned(&plan).await;
        took
    }

    async fn in_a_row(&self, shape: &Shape, round: usize) -> Duration {
        let name = format!("{}-row-{round}", shape.name);
        self.by_hand.run(&name, &shape.steps, &shape.by_hand).await
    }

    async fn together(&self, shape: &Shape, round: usize) -> Duration {
        let name = format!("{}-bare-{round}", shape.name);
        let all = HandMade::together(0..shape.steps.len());
        self.by_hand.run(&name, &shape.steps, &[vec![all]]).await
    }
}

/// The kubelet checks its containers once a second, and the previous round ended at such a check: the rounds
/// begin at phases that divide the second evenly.
fn phase(round: usize, rounds: usize) -> Duration {
    Duration::from_millis((1000 * round / rounds) as u64)
}

/// The Workflow of a shape.
fn of(shape: &Shape, mode: &str) -> String {
    format!("{}-{}", shape.name, mode.to_lowercase())
}
