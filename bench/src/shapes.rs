//! Steps in the shapes that are measured, and how one would put them into pods by hand.

use std::ops::Range;

use kubeci_e2e::{example, manifests};
use serde_json::{Value, json};

const NOTHING: &[&str] = &["true"];
/// Long enough for a node to do all else meanwhile.
const MOMENT: &[&str] = &["sleep", "0.4"];

pub struct Shape {
    pub name: String,
    pub what: String,
    pub steps: Vec<Value>,
    /// Pods made by hand: all of a stage at once, once those of the stage before have ended.
    pub by_hand: Vec<Vec<HandMade>>,
}

/// A pod made by hand: which steps are its init containers, and which its containers.
#[derive(Clone)]
pub struct HandMade {
    pub serial: Range<usize>,
    pub parallel: Range<usize>,
}

impl HandMade {
    pub fn together(steps: Range<usize>) -> Self {
        Self {
            serial: steps.start..steps.start,
            parallel: steps,
        }
    }

    fn one_by_one(steps: Range<usize>) -> Self {
        Self {
            serial: steps.start..steps.end - 1,
            parallel: steps.end - 1..steps.end,
        }
    }
}

/// The design document's Workflow; by hand in the two pods of its Workplan.
pub fn document() -> Shape {
    let mut workflow: Value = manifests(&example("document/workflow.yaml")).remove(0);
    let steps = workflow["spec"]["steps"].as_array_mut().map(std::mem::take);
    let first = HandMade {
        serial: 0..1,
        parallel: 1..3,
    };
    Shape {
        name: "document".into(),
        what: "the example: 5 steps".into(),
        steps: steps.expect("the document's steps"),
        by_hand: vec![vec![first], vec![HandMade::one_by_one(3..5)]],
    }
}

/// Steps that each depend on the one before; by hand in pods of their own.
pub fn chain(length: usize) -> Shape {
    Shape {
        name: format!("chain-{length}"),
        what: format!("a chain of {length}"),
        steps: links("step", None, length),
        by_hand: (0..length)
            .map(|at| vec![HandMade::together(at..at + 1)])
            .collect(),
    }
}

/// A first step, chains that follow it side by side, and a last step; by hand each chain in a pod.
pub fn diamond(width: usize, length: usize) -> Shape {
    let branches = (0..width).flat_map(|at| links(&format!("branch-{at}"), Some("first"), length));
    let ends = (0..width).map(|at| format!("branch-{at}-{}", length - 1));
    let steps: Vec<_> = [step("first", &[])]
        .into_iter()
        .chain(branches)
        .chain([step("last", &ends.collect::<Vec<_>>())])
        .collect();
    let (last, count) = (steps.len() - 1, steps.len());
    let branch = |at: usize| HandMade::one_by_one(1 + at * length..1 + (at + 1) * length);
    Shape {
        name: format!("diamond-{width}-{length}"),
        what: format!("a diamond of {width} x {length}: {count} steps"),
        steps,
        by_hand: vec![
            vec![HandMade::together(0..1)],
            (0..width).map(branch).collect(),
            vec![HandMade::together(last..count)],
        ],
    }
}

impl Shape {
    /// The same with steps of 0.4 s that each run after those before, in place of their completion: if an output of the
    /// first of these is right, which is also a variable. Outputs are short, because the kubelet keeps a few bytes of
    /// each step of a large pod.
    pub fn with_expressions(mut self) -> Self {
        for step in &mut self.steps {
            step["commands"] = json!(["sh", "-c", "sleep 0.4; echo v=${V-0} > $KUBECI_OUTPUT"]);
            let after = step["dependency"].take();
            if let Some(before) = after.get(0).and_then(Value::as_str) {
                let output = format!("int(steps[\"{before}\"].outputs.v)");
                step["when"] = json!(format!("{output} >= 0"));
                step["env"] = json!([{"name": "V", "expr": format!("{output} + 1")}]);
            }
            step["after"] = after;
            step["dependency"] = json!([]);
        }
        self.name += "-flow";
        self.what += ", with `after`, `when` and outputs";
        self
    }

    /// The same with steps of 0.4 s.
    pub fn slowly(mut self) -> Self {
        for step in &mut self.steps {
            step["commands"] = json!(MOMENT);
        }
        self
    }
}

fn links(prefix: &str, after: Option<&str>, length: usize) -> Vec<Value> {
    let links = (0..length).map(|at| {
        let before = match at {
            0 => after.map(Into::into),
            _ => Some(format!("{prefix}-{}", at - 1)),
        };
        step(&format!("{prefix}-{at}"), before.as_slice())
    });
    links.collect()
}

fn step(name: &str, dependency: &[String]) -> Value {
    json!({"name": name, "image": "alpine", "imagePullPolicy": "IfNotPresent", "commands": NOTHING,
        "dependency": dependency})
}
