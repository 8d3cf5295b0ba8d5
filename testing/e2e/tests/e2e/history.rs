//! Of the Workplans that have ended, the latest are kept; the others are deleted, and still counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{Config, Event, watcher};
use kubeci_api::Execution::{Pods, Relay};
use kubeci_api::{Phase, Workflow, Workplan};
use kubeci_e2e::{DISRUPTIVE, Operator, Test, eventually};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::workflow::{on_config_maps, shell};

/// A step that ends as the ConfigMap `verdict` says.
const VERDICT: &str = "[{name: only, image: alpine, commands: [sh, -c], args: ['exit $CODE'], \
    envFrom: [{configMapRef: {name: verdict}}]}]";

async fn verdict(test: &Test, code: &str) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "verdict"}, "data": {"CODE": code}});
    let params = PatchParams::apply("kubeci-e2e").force();
    let config_maps = test.api::<ConfigMap>();
    let patched = config_maps
        .patch("verdict", &params, &Patch::Apply(object))
        .await;
    patched.expect("a ConfigMap");
}

/// Makes something happen, and waits until its Workplan has ended and its folder is gone.
async fn run_once(test: &Test, workflow: &str, object: &str, phase: Phase) -> String {
    let before: Vec<String> = names(test, workflow).await;
    test.config_map(object, "A").await;
    let name = eventually(&format!("a Workplan of {object}"), async || {
        let now = names(test, workflow).await;
        let new = now.into_iter().find(|name| !before.contains(name));
        new.ok_or("none")
    })
    .await;
    test.ends(&name, phase).await;
    test.cleaned(&name).await;
    name
}

async fn names(test: &Test, workflow: &str) -> Vec<String> {
    let plans = test.workplans(workflow).await;
    plans.iter().map(ResourceExt::name_any).collect()
}

/// Waits until these Workplans are left of a Workflow, and its status counts so many.
async fn left(test: &Test, workflow: &str, left: &[&String], succeeded: i64, failed: i64) {
    let mut expected: Vec<String> = left.iter().map(|it| (*it).clone()).collect();
    expected.sort();
    let workflows = test.api::<Workflow>();
    eventually(&format!("{expected:?} are left"), async || {
        let mut names = names(test, workflow).await;
        names.sort();
        let status = workflows.get(workflow).await.map_err(|it| it.to_string())?;
        let status = status.status.unwrap_or_default();
        let counts = (status.active, status.succeeded, status.failed);
        if names == expected && counts == (Some(0), Some(succeeded), Some(failed)) {
            Ok(())
        } else {
            Err(format!("{names:?}, {counts:?}, {:?}", status.history))
        }
    })
    .await;
}

async fn the_latest_of_each_end_is_kept(test: &Test) {
    let observations = Observations::of(test);
    verdict(test, "0").await;
    let history = "  history: {succeeded: 1, failed: 1}\n";
    test.apply(&(on_config_maps("kept", VERDICT) + history))
        .await;
    test.workflow_ready("kept").await;
    let mut last = [String::new(), String::new()];
    for (object, at, phase) in [
        ("a", 0, Phase::Completed),
        ("b", 0, Phase::Completed),
        ("c", 1, Phase::Failed),
        ("d", 1, Phase::Failed),
        ("e", 0, Phase::Completed),
    ] {
        verdict(test, &at.to_string()).await;
        last[at] = run_once(test, "kept", object, phase).await;
    }
    left(test, "kept", &[&last[0], &last[1]], 3, 2).await;
    assert_eq!(observations.seen().len(), 5, "each event fired once");
    assert_eq!(observations.waited(), Vec::<String>::new());
}

#[tokio::test]
async fn latest_of_each_end_is_kept_in_pods() {
    kubeci_e2e::run_as(Pods, "history", the_latest_of_each_end_is_kept).await;
}

#[tokio::test]
async fn latest_of_each_end_is_kept_in_relay() {
    kubeci_e2e::run_as(Relay, "history", the_latest_of_each_end_is_kept).await;
}

#[tokio::test]
async fn workplan_expires_after_its_ttl() {
    kubeci_e2e::run("ttl", async |test| {
        let steps = format!("[{}]", shell("only", "true", ""));
        test.apply(&(on_config_maps("ttl", &steps) + "  history: {ttl: 8s}\n"))
            .await;
        test.workflow_ready("ttl").await;
        let name = run_once(test, "ttl", "a", Phase::Completed).await;
        let plan = test.api::<Workplan>().get(&name).await.expect("it is kept");
        let finished = plan.status.unwrap_or_default().finished_at.expect("an end");
        left(test, "ttl", &[], 1, 0).await;
        let kept = Timestamp::now().duration_since(finished.0);
        assert!(kept.as_secs() >= 8, "{kept}");
    })
    .await;
}

#[tokio::test]
async fn workplan_without_a_workflow_is_kept() {
    kubeci_e2e::run("own", async |test| {
        let own = "apiVersion: kube.ci/v1alpha1\n\
            kind: Workplan\n\
            metadata: {name: own}\n\
            spec: {tasks: [{ParallelSteps: [{name: only, image: alpine, commands: ['true']}]}]}\n";
        test.create(own).await;
        test.ends("own", Phase::Completed).await;
        test.cleaned("own").await;
        let steps = format!("[{}]", shell("only", "true", ""));
        let history = "  history: {succeeded: 0, ttl: 0s}\n";
        test.apply(&(on_config_maps("none", &steps) + history))
            .await;
        test.workflow_ready("none").await;
        test.config_map("a", "A").await;
        left(test, "none", &[], 1, 0).await;
        assert!(test.api::<Workplan>().get("own").await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn invalid_history_is_refused() {
    kubeci_e2e::run("refused", async |test| {
        let steps = format!("[{}]", shell("only", "true", ""));
        for (history, words) in [
            ("{ttl: 7d}", "168h"),
            ("{ttl: '-1h'}", "168h"),
            ("{succeeded: -1}", "greater than or equal to 0"),
        ] {
            let manifest = on_config_maps("refused", &steps) + "  history: " + history + "\n";
            let refused = kubeci_e2e::apply(&test.client, &test.namespace, &manifest).await;
            let said = refused.expect_err(history).to_string();
            assert!(said.contains(words), "{said}");
        }
    })
    .await;
}

const OBJECTS: usize = 8;
const STATES: usize = 3;

#[tokio::test]
async fn killed_operator_deletes_each_workplan_once() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run_as(Relay, "history-killed", async |test| {
        let observations = Observations::of(test);
        let steps = format!("[{}]", shell("only", "true", ""));
        let manifest = on_config_maps("killed", &steps)
            + "  history: {succeeded: 0, failed: 0}\n  workspace: {emptyDir: {}}\n";
        test.apply(&manifest).await;
        test.workflow_ready("killed").await;
        let mut expected = 0;
        for state in 0..STATES {
            for object in 0..OBJECTS {
                test.config_map(&format!("object-{object}"), &state.to_string())
                    .await;
            }
            expected += OBJECTS;
            eventually(
                &format!("{expected} Workplans have fired"),
                async || match observations.seen().len() {
                    seen if seen >= expected => Ok(()),
                    seen => Err(seen),
                },
            )
            .await;
            let span = Duration::from_secs(2);
            Operator::Workflow
                .kill_leader_within(&test.client, span)
                .await;
        }
        let total = i64::try_from(expected).expect("a number");
        left(test, "killed", &[], total, 0).await;
        let seen = observations.seen();
        let again: Vec<_> = seen.iter().filter(|(_, uids)| uids.len() > 1).collect();
        assert!(again.is_empty(), "an event fired twice: {again:?}");
        assert_eq!(seen.len(), expected);
    })
    .await;
}

/// All Workplans that a watch returned.
struct Observations {
    seen: Arc<Mutex<Seen>>,
    watch: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    uids: BTreeMap<String, Vec<String>>,
    waited: Vec<String>,
}

impl Observations {
    fn of(test: &Test) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let mut stream = watcher(test.api::<Workplan>(), Config::default()).boxed();
        let watched = seen.clone();
        let watch = tokio::spawn(async move {
            while let Some(event) = stream.next().await {
                let Ok(Event::Apply(plan) | Event::InitApply(plan)) = event else {
                    continue;
                };
                let mut seen = watched.lock().expect("no panic");
                let (name, uid) = (plan.name_any(), plan.uid().unwrap_or_default());
                if plan.metadata.deletion_timestamp.is_some() {
                    seen.waited.push(name.clone());
                }
                let uids = seen.uids.entry(name).or_default();
                if !uids.contains(&uid) {
                    uids.push(uid);
                }
            }
        });
        Self { seen, watch }
    }

    /// The uids that each name had.
    fn seen(&self) -> BTreeMap<String, Vec<String>> {
        self.seen.lock().expect("no panic").uids.clone()
    }

    /// The Workplans whose deletion had to wait, as for a folder.
    fn waited(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").waited.clone()
    }
}

impl Drop for Observations {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
