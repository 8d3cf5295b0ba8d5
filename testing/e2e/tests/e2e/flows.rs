//! Plans that use all means of a flow, for tests that disturb them: attempts in place and in new pods, allowed failures,
//! time limits, failure edges, outputs. Their results do not depend on time.

use std::collections::BTreeMap;

use kubeci_api::StepPhase::{Completed, Failed, Skipped};
use kubeci_api::{Execution, Phase, StepPhase, Workplan};
use kubeci_e2e::step;
use serde_json::{Value, json};

use crate::workflow::{on_config_maps, script, steps};

/// A plan and its result.
pub struct Flow {
    pub name: &'static str,
    pub phase: Phase,
    steps: Vec<(Value, Ended)>,
}

/// How a step ends.
struct Ended {
    phase: StepPhase,
    reason: Option<&'static str>,
    attempts: u32,
    outputs: &'static [(&'static str, &'static str)],
}

const COMPLETED: Ended = Ended {
    phase: Completed,
    reason: None,
    attempts: 1,
    outputs: &[],
};

const SKIPPED: Ended = Ended {
    phase: Skipped,
    ..COMPLETED
};

/// Succeeds in the third attempt, which writes an output.
const FLAKY: &str = "echo x >> /kubeci/flaky; [ $(wc -l < /kubeci/flaky) -ge 3 ] || exit 75; \
     echo version=1.4.2 >> $KUBECI_OUTPUT";

/// Ends with exit code 1 when it is stopped.
const SLOW: &str = "trap 'exit 1' TERM; while true; do sleep 0.1; done";

fn with(mut step: Value, fields: &Value) -> Value {
    for (key, value) in fields.as_object().into_iter().flatten() {
        step[key] = value.clone();
    }
    step
}

/// The steps that all flows begin with. The first waits for the gate, a file `open` in the folder, if there is one.
fn beginning() -> Vec<(Value, Ended)> {
    let retry = json!({"retry": {"limit": 3, "backoff": {"initial": "1s"}, "exitCodes": [75]}});
    let lint = "echo findings=2 >> $KUBECI_OUTPUT; exit 3";
    let gate = "[ $KUBECI_WORKFLOW != gated ] || until [ -e /kubeci/open ]; do sleep 0.1; done";
    vec![
        (script("gate", gate, &[]), COMPLETED),
        (
            with(script("fetch", FLAKY, &["gate"]), &retry),
            Ended {
                attempts: 3,
                outputs: &[("version", "1.4.2")],
                ..COMPLETED
            },
        ),
        (
            with(
                script("lint", lint, &["fetch"]),
                &json!({"allowFailure": true}),
            ),
            Ended {
                phase: Failed,
                reason: Some("Error"),
                outputs: &[("findings", "2")],
                ..COMPLETED
            },
        ),
        (script("build", "touch /kubeci/built", &["lint"]), COMPLETED),
    ]
}

/// The steps of a flow that completes.
fn good() -> Vec<(Value, Ended)> {
    let report = "test -e /kubeci/built && echo report=yes >> $KUBECI_OUTPUT";
    let mut steps = beginning();
    steps.extend([
        (
            with(
                script("roll-back", "true", &[]),
                &json!({"onFailure": ["build"]}),
            ),
            SKIPPED,
        ),
        (
            with(
                script("report", report, &[]),
                &json!({"after": ["roll-back"]}),
            ),
            Ended {
                outputs: &[("report", "yes")],
                ..COMPLETED
            },
        ),
    ]);
    steps
}

/// The steps of a flow that fails at a time limit.
fn bad() -> Vec<(Value, Ended)> {
    let mut steps = beginning();
    steps.extend([
        (
            with(script("slow", SLOW, &["build"]), &json!({"timeout": "2s"})),
            Ended {
                phase: Failed,
                reason: Some("Timeout"),
                ..COMPLETED
            },
        ),
        (script("publish", "true", &["slow"]), SKIPPED),
        (
            with(
                script("roll-back", "echo undone=yes >> $KUBECI_OUTPUT", &[]),
                &json!({"onFailure": ["slow"]}),
            ),
            Ended {
                outputs: &[("undone", "yes")],
                ..COMPLETED
            },
        ),
        (
            with(
                script("report", "true", &[]),
                &json!({"after": ["publish", "roll-back"]}),
            ),
            COMPLETED,
        ),
    ]);
    steps
}

/// All flows. New means of a flow belong here.
pub fn flows() -> [Flow; 2] {
    [
        Flow {
            name: "good",
            phase: Phase::Completed,
            steps: good(),
        },
        Flow {
            name: "bad",
            phase: Phase::Failed,
            steps: bad(),
        },
    ]
}

impl Flow {
    /// A Workflow of this name, which fires on ConfigMaps.
    pub fn workflow(&self, name: &str, execution: Execution) -> String {
        let all: Vec<Value> = self.steps.iter().map(|(step, _)| step.clone()).collect();
        on_config_maps(name, &steps(&all)) + &format!("  execution: {execution:?}\n")
    }

    /// Asserts that a Workplan has ended as it must: outcome, attempts and outputs.
    ///
    /// # Panics
    /// When it has not.
    pub fn assert_ended(&self, plan: &Workplan) {
        let phase = plan.status.as_ref().and_then(|it| it.phase);
        assert_eq!(phase, Some(self.phase), "{:?}", plan.status);
        for (spec, ended) in &self.steps {
            let name = spec["name"].as_str().expect("a name");
            let step = step(plan, name);
            let outputs = ended.outputs.iter();
            let outputs = outputs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            assert_eq!(
                (step.phase, step.reason.as_deref(), step.attempt()),
                (ended.phase, ended.reason, ended.attempts),
                "{step:?}"
            );
            assert_eq!(step.outputs, outputs.collect::<BTreeMap<_, _>>(), "{name}");
        }
    }
}
