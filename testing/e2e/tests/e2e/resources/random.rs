//! Random `LimitRange`s, quotas and steps, through the API server's own admission.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kubeci_api::{StepPhase, Workplan};
use kubeci_e2e::{Test, eventually_within};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::limits_are_in_force;

const NAMESPACES: u64 = 10;
const PLANS: usize = 12;

/// For each of two resources an amount, or none.
type Amounts = [Option<u32>; 2];

#[tokio::test]
async fn random_limits_admit_pods_as_steps() {
    let seed = std::env::var("KUBECI_TEST_SEED")
        .ok()
        .and_then(|it| it.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u32>);
    println!("KUBECI_TEST_SEED={seed}");
    let namespace = |at: u64| {
        let rng = StdRng::seed_from_u64(u64::from(seed) + at);
        kubeci_e2e::run("admission", async move |test| namespace(test, rng).await)
    };
    join_all((0..NAMESPACES).map(namespace)).await;
}

async fn namespace(test: &Test, mut rng: StdRng) {
    let limits = limit_range(&mut rng);
    test.apply(&limits.to_string()).await;
    if rng.random_bool(0.5) {
        test.apply(&quota(&mut rng).to_string()).await;
    }
    limits_are_in_force(test).await;
    let mut taken = 0;
    for at in 0..PLANS {
        let name = format!("plan-{at}");
        let plan = plan(&name, at % 2 == 0, &mut rng);
        let by_hand = by_hand(test, &plan).await;
        test.create(&plan.to_string()).await;
        let created = created(test, &name).await;
        match by_hand {
            Ok(()) => {
                taken += 1;
                assert_eq!(created, Ok(()), "{limits:#}\n{plan:#}");
            }
            Err(why) => println!("{name} is not taken by hand: {why}, as a plan: {created:?}"),
        }
    }
    println!("{taken} of {PLANS} plans are taken by hand");
}

/// Whether the namespace takes the steps of the first task in a pod, with and without a small container. The
/// others' pods come once that has a node.
async fn by_hand(test: &Test, plan: &Value) -> Result<(), String> {
    let task = &plan["spec"]["tasks"][0];
    let steps = |list: &str| {
        let steps = task[list].as_array().into_iter().flatten();
        let container = |step: &Value| json!({"name": step["name"], "image": "alpine", "resources": step["resources"]});
        steps.map(container).collect::<Vec<_>>()
    };
    let least = json!({"cpu": "100m", "memory": "32Mi", "ephemeral-storage": "16Mi"});
    let small = json!({"name": "small", "image": "alpine", "resources": {"requests": least, "limits": least}});
    for more in [vec![], vec![small]] {
        let containers = [steps("ParallelSteps"), more].concat();
        let pod = dry_run(test, steps("SerialSteps"), containers).await;
        pod.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// What becomes of a pod's creation that is not carried out.
pub async fn dry_run(test: &Test, init: Vec<Value>, containers: Vec<Value>) -> kube::Result<Pod> {
    let pod = json!({
        "metadata": {"name": "by-hand"},
        "spec": {"initContainers": init, "containers": containers, "restartPolicy": "Never"},
    });
    let pod: Pod = serde_json::from_value(pod).expect("a pod");
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    test.api::<Pod>().create(&params, &pod).await
}

/// Whether the first pod of a plan is there, else why it failed or waits.
async fn created(test: &Test, name: &str) -> Result<(), String> {
    eventually_within(Duration::from_mins(2), "a pod, or a reason", async || {
        let first = test.api::<Pod>().get_opt(&format!("{name}-0")).await;
        let there = matches!(first, Ok(Some(_)));
        let plan = test.api::<Workplan>().get(name).await;
        let status = plan
            .map_err(|error| error.to_string())?
            .status
            .unwrap_or_default();
        let mut steps = status.steps.iter();
        let failed = steps.find(|it| it.phase == StepPhase::Failed);
        let waits = status.reason.as_deref() == Some("QuotaExceeded");
        match (failed, status.message) {
            _ if there => Ok(Ok(())),
            (Some(step), _) => Ok(Err(step.message.clone().unwrap_or_default())),
            (None, Some(message)) if waits => Ok(Err(message)),
            (None, message) => Err(format!("{:?}: {message:?}", status.reason)),
        }
    })
    .await
}

fn plan(name: &str, relay: bool, rng: &mut StdRng) -> Value {
    let serial = if relay { 0 } else { rng.random_range(0..=2) };
    let parallel = rng.random_range(1..=4);
    let mut step = |at: usize| {
        let needs: Vec<String> = (relay && at > 0 && rng.random_bool(0.7))
            .then(|| format!("s{}", at - 1))
            .into_iter()
            .collect();
        json!({"name": format!("s{at}"), "image": "alpine", "commands": ["true"], "dependency": needs, "resources": resources(rng)})
    };
    let serial: Vec<Value> = (0..serial).map(&mut step).collect();
    let parallel: Vec<Value> = (serial.len()..serial.len() + parallel)
        .map(&mut step)
        .collect();
    let alone = json!({"name": "alone", "image": "alpine", "commands": ["true"], "resources": resources(rng)});
    let mut first = json!({"ParallelSteps": parallel});
    if !serial.is_empty() {
        first["SerialSteps"] = json!(serial);
    }
    json!({
        "apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "metadata": {"name": name},
        "spec": {
            "order": if relay { "Relay" } else { "Graph" },
            "tasks": [first, {"ParallelSteps": [alone]}],
            "nodeSelector": {"kubeci-e2e": "no-node-has-this"},
            "securityContext": {"runAsUser": 1000},
        },
    })
}

fn resources(rng: &mut StdRng) -> Value {
    let (requests, limits) = (amounts(rng, 0.5), amounts(rng, 0.5));
    let requests = each([requests, limits], u32::min);
    json!({"requests": quantities(requests), "limits": quantities(limits)})
}

/// An item as the API server takes it, and a default by which its being in force can be seen.
fn limit_range(rng: &mut StdRng) -> Value {
    let mut bounds = |type_: &str| {
        let min = amounts(rng, 0.3).map(|it| it.map(|it| it.div_ceil(8)));
        let max = amounts(rng, 0.3).map(|it| it.map(|it| it + 20));
        let within = |it: Amounts| each([each([it, max], u32::min), min], u32::max);
        let none = |it: Amounts, like: Amounts| [0, 1].map(|at| like[at].and(it[at]));
        let default = amounts(rng, 0.5);
        let default = none(within(default), default);
        let default_request = amounts(rng, 0.5);
        let ceiling = each([default, max], u32::min);
        let default_request = none(
            within(each([default_request, ceiling], u32::min)),
            default_request,
        );
        let ratio = amounts(rng, 0.2);
        let ratios = [0, 1].map(|at| ratio[at].map(|it| format!("{}", f64::from(it) / 4.0 + 1.0)));
        let allowed = |at: usize| min[at].is_none() || max[at].is_none();
        let ratios: BTreeMap<&str, &String> = [0, 1]
            .into_iter()
            .filter(|&at| allowed(at))
            .filter_map(|at| Some((["cpu", "memory"][at], ratios[at].as_ref()?)))
            .collect();
        let mut item = json!({"type": type_, "min": quantities(min), "max": quantities(max), "maxLimitRequestRatio": ratios});
        if type_ == "Container" {
            item["default"] = quantities(default);
            item["default"]["ephemeral-storage"] = json!("1Gi");
            item["defaultRequest"] = quantities(default_request);
        }
        item
    };
    let (container, pod) = (bounds("Container"), bounds("Pod"));
    let mut items = vec![container];
    if rng.random_bool(0.4) {
        items.push(pod);
    }
    json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "random"}, "spec": {"limits": items}})
}

/// More than all plans of a namespace use, so that what it lacks is what is not specified.
fn quota(rng: &mut StdRng) -> Value {
    let names = [
        "requests.cpu",
        "requests.memory",
        "limits.cpu",
        "limits.memory",
    ];
    let hard = names.into_iter().filter(|_| rng.random_bool(0.5));
    let hard: BTreeMap<&str, &str> = hard.map(|name| (name, "1000G")).collect();
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "random"}, "spec": {"hard": hard}})
}

fn amounts(rng: &mut StdRng, chance: f64) -> Amounts {
    [0, 1].map(|_| rng.random_bool(chance).then(|| rng.random_range(1..=40)))
}

fn each(amounts: [Amounts; 2], choose: fn(u32, u32) -> u32) -> Amounts {
    [0, 1].map(|at| match (amounts[0][at], amounts[1][at]) {
        (Some(one), Some(other)) => Some(choose(one, other)),
        (one, _) => one,
    })
}

fn quantities(amounts: Amounts) -> Value {
    let mut all = json!({});
    if let Some(cpu) = amounts[0] {
        all["cpu"] = json!(format!("{}m", cpu * 50));
    }
    if let Some(memory) = amounts[1] {
        all["memory"] = json!(format!("{}Mi", memory * 10));
    }
    all
}
