//! The Workflows of the tests, in YAML.

use kube::ResourceExt;
use kubeci_e2e::Test;
use serde_json::{Value, json};

/// Fires on the ConfigMaps that [`kubeci_e2e::Test::config_map`] makes.
pub const WATCHED: &str = "{apiVersion: v1, kind: ConfigMap, selector: {matchLabels: {watched: 'yes'}}, onAddOrUpdate: true, onDelete: true}";

/// One step that does nothing.
pub const ONE_STEP: &str = "[{name: only, image: alpine, commands: ['true']}]";

/// Creates `/kubeci/here`, then runs until it receives SIGTERM.
pub const ENDLESS: &str = "[{name: endless, image: alpine, commands: [sh, -c], args: [\"trap 'exit 143' TERM; touch /kubeci/here; while true; do sleep 0.1; done\"]}]";

/// A Workflow that fires on watched ConfigMaps. The steps are in YAML's flow style.
pub fn on_config_maps(name: &str, steps: &str) -> String {
    workflow(name, steps, WATCHED)
}

/// A Workflow whose Workplans no node takes, for tests that need no more than their creation.
pub fn unplaced(name: &str, trigger: &str) -> String {
    workflow(name, ONE_STEP, trigger) + "  nodeSelector: {kubeci-e2e: no-node-has-this}\n"
}

/// A Workflow with one trigger. The steps and the trigger are in YAML's flow style.
pub fn workflow(name: &str, steps: &str, trigger: &str) -> String {
    format!(
        "apiVersion: kube.ci/v1alpha1\n\
         kind: Workflow\n\
         metadata: {{name: {name}}}\n\
         spec:\n  \
           steps: {steps}\n  \
           triggers: [{trigger}]\n"
    )
}

/// A step that runs a line of shell.
pub fn shell(name: &str, line: &str, dependency: &str) -> String {
    format!(
        "{{name: {name}, image: alpine, commands: [sh, -c], args: [\"{line}\"], dependency: [{dependency}]}}"
    )
}

/// Fires a Workflow of these steps, and says the name of its Workplan.
pub async fn fire(test: &Test, workflow: &str, steps: &str) -> String {
    fire_with(test, workflow, steps, "").await
}

/// As [`fire`], with more of the Workflow's spec in lines of YAML.
pub async fn fire_with(test: &Test, workflow: &str, steps: &str, settings: &str) -> String {
    let manifest = on_config_maps(workflow, steps) + settings;
    test.apply(&manifest).await;
    test.workflow_ready(workflow).await;
    test.config_map("object", "A").await;
    test.workplan(workflow).await.name_any()
}

/// A step whose script may hold any characters.
pub fn script(name: &str, script: &str, dependency: &[&str]) -> Value {
    json!({"name": name, "image": "alpine", "commands": ["sh", "-c", script], "dependency": dependency})
}

pub fn steps(steps: &[Value]) -> String {
    json!(steps).to_string()
}
