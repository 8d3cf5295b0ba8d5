//! The same steps in one pod with the step runner, in native pods, and by hand: from the write of the
//! ConfigMap to `completed`, or from the write of the first pod to the last container's end.

use std::time::{Duration, Instant};

use kubeci_e2e::Test;
use serde_json::json;

use crate::by_hand::ByHand;
use crate::fire::{clear, completions, create, plan_of, workflow};
use crate::shapes::{HandMade, Shape, chain, diamond, document};
use crate::sightings::Sightings;
use crate::table::{median, spread};

pub fn header() {
    println!("| | `Relay` | one bare pod | `Relay` to that | `Pods` | pods by hand | n |");
    println!("|---|---|---|---|---|---|---|");
}

pub async fn measure(test: &Test) {
    let bench = Bench {
        test,
        completed: completions(test).await,
        by_hand: ByHand::begin(test).await,
    };
    for (shape, rounds) in [
        (document(), Rounds { fast: 5, slow: 5 }),
        (chain(10), Rounds { fast: 5, slow: 1 }),
        (chain(30), Rounds { fast: 5, slow: 1 }),
        (chain(100), Rounds { fast: 3, slow: 1 }),
        (diamond(20, 5), Rounds { fast: 3, slow: 1 }),
    ] {
        bench.shape(&shape, rounds).await;
    }
}

/// How often a shape is run in one pod whose containers start together, and how often in other ways.
struct Rounds {
    fast: usize,
    slow: usize,
}

struct Bench<'a> {
    test: &'a Test,
    completed: Sightings,
    by_hand: ByHand<'a>,
}

impl Bench<'_> {
    async fn shape(&self, shape: &Shape, rounds: Rounds) {
        for mode in ["Relay", "Pods"] {
            let settings = json!({"execution": mode});
            workflow(self.test, &of(shape, mode), &shape.steps, &settings).await;
        }
        let one_pod = vec![vec![HandMade::together(0..shape.steps.len())]];
        let (mut relay, mut bare, mut pods, mut by_hand) = (vec![], vec![], vec![], vec![]);
        for round in 0..rounds.fast {
            relay.push(self.kubeci(shape, "Relay", round).await);
            bare.push(self.by_hand(shape, "bare", round, &one_pod).await);
            if round < rounds.slow {
                pods.push(self.kubeci(shape, "Pods", round).await);
                by_hand.push(self.by_hand(shape, "row", round, &shape.by_hand).await);
            }
        }
        println!(
            "| {} | {} | {} | {:.2} | {} | {} | {} |",
            shape.what,
            spread(&relay),
            spread(&bare),
            median(&relay).div_duration_f64(median(&bare)),
            spread(&pods),
            spread(&by_hand),
            rounds.fast,
        );
    }

    async fn kubeci(&self, shape: &Shape, mode: &str, round: usize) -> Duration {
        let workflow = of(shape, mode);
        let trigger = format!("{workflow}-{round}");
        let start = Instant::now();
        create(self.test, &trigger, &workflow).await;
        let took = self.completed.when(&trigger).await - start;
        let plan = plan_of(self.test, &workflow, &trigger).await;
        self.test.cleaned(&plan).await;
        clear(self.test).await;
        took
    }

    async fn by_hand(
        &self,
        shape: &Shape,
        way: &str,
        round: usize,
        stages: &[Vec<HandMade>],
    ) -> Duration {
        let name = format!("{}-{way}-{round}", shape.name);
        let took = self.by_hand.run(&name, &shape.steps, stages).await;
        clear(self.test).await;
        took
    }
}

/// The Workflow of a shape.
fn of(shape: &Shape, mode: &str) -> String {
    format!("{}-{}", shape.name, mode.to_lowercase())
}
