//! Pods as one would make them by hand, with a folder of the node that they share.

use std::ops::Range;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::PostParams;
use kubeci_e2e::Test;
use serde_json::{Value, json};

use crate::observations::{Observations, ended_containers};
use crate::shapes::HandMade;

pub struct ByHand<'a> {
    test: &'a Test,
    ends: Observations,
}

impl<'a> ByHand<'a> {
    pub async fn begin(test: &'a Test) -> Self {
        let ends = Observations::of(test, |pod: &Pod| {
            all_ended(pod).then(|| pod.name_any()).into_iter().collect()
        })
        .await;
        Self { test, ends }
    }

    /// Makes pods stage by stage: how long from the first write until the last container is seen to have ended.
    pub async fn run(&self, name: &str, steps: &[Value], stages: &[Vec<HandMade>]) -> Duration {
        let start = Instant::now();
        let mut end = start;
        for (stage, pods) in stages.iter().enumerate() {
            let named = |at: usize| format!("{name}-{stage}-{at}");
            for (at, pod) in pods.iter().enumerate() {
                self.create(name, &named(at), steps, pod).await;
            }
            for at in 0..pods.len() {
                end = end.max(self.ends.when(&named(at)).await);
            }
        }
        end - start
    }

    async fn create(&self, folder: &str, name: &str, steps: &[Value], pod: &HandMade) {
        let path = format!("/kubeci/{}/by-hand/{folder}", self.test.namespace);
        let pod = json!({
            "metadata": {"name": name},
            "spec": {
                "restartPolicy": "Never",
                "initContainers": containers(steps, &pod.serial),
                "containers": containers(steps, &pod.parallel),
                "volumes": [{"name": "workspace", "hostPath": {"path": path, "type": "DirectoryOrCreate"}}],
            },
        });
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let created = self.test.api().create(&PostParams::default(), &pod).await;
        created.expect("a pod");
    }
}

fn all_ended(pod: &Pod) -> bool {
    let spec = pod.spec.iter();
    let containers = spec.flat_map(|it| {
        it.containers
            .iter()
            .chain(it.init_containers.iter().flatten())
    });
    ended_containers(pod).len() == containers.count()
}

fn containers(steps: &[Value], which: &Range<usize>) -> Vec<Value> {
    let steps = steps[which.clone()].iter();
    let containers = steps.map(|step| {
        json!({"name": step["name"], "image": step["image"], "imagePullPolicy": step["imagePullPolicy"],
            "command": step["commands"], "args": step["args"],
            "volumeMounts": [{"name": "workspace", "mountPath": "/kubeci"}]})
    });
    containers.collect()
}
