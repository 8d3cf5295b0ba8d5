//! The pod that sweeps a node.

use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    Container, HostPathVolumeSource, Pod, PodSpec, ResourceRequirements, Toleration, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kubeci_api::names::{SWEEP_LABEL, WORKSPACE_HOST_PATH};
use kubeci_compiler::{Limits, Need};
use sha2::{Digest, Sha256};

use super::report::SweepReport;
use crate::observed::PodWarning;
use crate::pod_builder::as_root;
use crate::workspace::Folder;

/// The sweep uses at most one core.
const NEEDS: [Need; 2] = [
    Need {
        resource: "cpu",
        request: 10,
        limit: 1000,
        least_limit: 100,
    },
    Need {
        resource: "memory",
        request: 1000 * (16 << 20),
        limit: 1000 * (128 << 20),
        least_limit: 1000 * (128 << 20),
    },
];

const CONTAINER: &str = "sweep";
const VOLUME: &str = "workspaces";

/// How long a sweep pod does not change before its Events are read.
const STILL: SignedDuration = SignedDuration::from_secs(5);

/// The observed state of a sweep pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedSweepPod {
    pub uid: String,
    pub folders: Vec<Folder>,
    pub state: SweepPodState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepPodState {
    /// It has not ended. Contains why it does not start, if that is known.
    Underway(Option<String>),
    Ended(SweepEnd),
    Deleting,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepEnd {
    Reported(SweepReport),
    /// The node has no folder of ours, and none can be made there.
    NothingThere,
    /// It did not get to its end.
    Broken(String),
}

/// The name of a node's sweep pod. There is one at a time.
#[must_use]
pub fn name(node: &str) -> String {
    let hash = Sha256::digest(node.as_bytes());
    format!("kubeci-sweep-{}", HEXLOWER.encode(&hash[..5]))
}

#[must_use]
pub fn build(node: &str, namespace: &str, image: &str, limits: &Limits, folders: &[Folder]) -> Pod {
    let args = ["sweep".to_owned()]
        .into_iter()
        .chain(folders.iter().map(ToString::to_string));
    Pod {
        metadata: ObjectMeta {
            name: Some(name(node)),
            namespace: Some(namespace.into()),
            labels: Some([(SWEEP_LABEL.into(), "true".into())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            // Not scheduled, because the folders are on this node, independent of its free resources and taints.
            node_name: Some(node.into()),
            tolerations: Some(vec![Toleration {
                operator: Some("Exists".into()),
                ..Toleration::default()
            }]),
            restart_policy: Some("Never".into()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(5),
            containers: vec![container(image, limits.own_alone(&NEEDS), args.collect())],
            volumes: Some(vec![Volume {
                name: VOLUME.into(),
                host_path: Some(HostPathVolumeSource {
                    path: WORKSPACE_HOST_PATH.into(),
                    type_: Some("DirectoryOrCreate".into()),
                }),
                ..Volume::default()
            }]),
            ..PodSpec::default()
        }),
        status: None,
    }
}

fn container(image: &str, resources: ResourceRequirements, args: Vec<String>) -> Container {
    Container {
        name: CONTAINER.into(),
        image: Some(image.into()),
        image_pull_policy: Some("IfNotPresent".into()),
        args: Some(args),
        resources: Some(resources),
        // Steps leave files of any user, in folders of any mode.
        security_context: Some(as_root(&["DAC_OVERRIDE", "FOWNER"])),
        volume_mounts: Some(vec![VolumeMount {
            name: VOLUME.into(),
            mount_path: WORKSPACE_HOST_PATH.into(),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

impl ObservedSweepPod {
    #[must_use]
    pub fn of(pod: &Pod, warning: Option<&PodWarning>) -> Self {
        Self {
            uid: pod.uid().unwrap_or_default(),
            folders: folders(pod),
            state: state(pod, warning),
        }
    }
}

fn folders(pod: &Pod) -> Vec<Folder> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let args = containers.flat_map(|container| container.args.iter().flatten());
    args.filter_map(|arg| arg.parse().ok()).collect()
}

fn state(pod: &Pod, warning: Option<&PodWarning>) -> SweepPodState {
    let status = pod.status.as_ref();
    let mut containers = status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let state = containers
        .next()
        .and_then(|container| container.state.as_ref());
    if let Some(end) = state.and_then(|state| state.terminated.as_ref()) {
        let text = end.message.clone().unwrap_or_default();
        return SweepPodState::Ended(match serde_json::from_str(&text) {
            Ok(report) => SweepEnd::Reported(report),
            Err(_) if end.exit_code == 0 => SweepEnd::Reported(SweepReport::default()),
            Err(_) => {
                let reason = end.reason.as_deref().unwrap_or("Error");
                SweepEnd::Broken(format!(
                    "the sweep pod ended with exit code {}, {reason}: {text}",
                    end.exit_code
                ))
            }
        });
    }
    if status.and_then(|status| status.phase.as_deref()) == Some("Failed") {
        let reason = status
            .and_then(|status| status.reason.clone())
            .unwrap_or_default();
        let said = status
            .and_then(|status| status.message.clone())
            .unwrap_or_default();
        return SweepPodState::Ended(SweepEnd::Broken(format!(
            "the sweep pod failed: {reason}: {said}"
        )));
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return SweepPodState::Deleting;
    }
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let kept = waiting.filter(|waiting| waiting.reason.as_deref() != Some("ContainerCreating"));
    let does_not_start = |reason: &str, said: &str| {
        let kept = format!("the sweep pod does not start: {reason}: {said}");
        SweepPodState::Underway(Some(kept))
    };
    match (kept, warning) {
        (Some(waiting), _) => does_not_start(
            waiting.reason.as_deref().unwrap_or_default(),
            waiting.message.as_deref().unwrap_or_default(),
        ),
        (None, Some(warning)) if is_about_missing_folder(warning) => {
            SweepPodState::Ended(SweepEnd::NothingThere)
        }
        (None, Some(warning)) => does_not_start(&warning.reason, &warning.message),
        (None, None) => SweepPodState::Underway(None),
    }
}

/// Whether the kubelet could not mount the folder because it does not exist: the kubelet could not create it, or its
/// path is not a directory. Other mount errors do not show whether the folder exists.
fn is_about_missing_folder(warning: &PodWarning) -> bool {
    let said = |text: &str| warning.message.contains(text);
    let made = format!("mkdir {WORKSPACE_HOST_PATH}:");
    let other = format!("{WORKSPACE_HOST_PATH} is not a directory");
    warning.reason == "FailedMount" && (said(&made) || said(&other))
}

/// Whether the kubelet has had a sweep pod for a while without starting it, for a reason that its Events may
/// tell.
#[must_use]
pub fn is_stalled(pod: &Pod, now: Timestamp) -> bool {
    let status = pod.status.as_ref();
    let began = status.and_then(|status| status.start_time.as_ref());
    let containers = status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let mut shown = containers.filter_map(|container| container.state.as_ref());
    let waits = !shown.any(|state| state.running.is_some() || state.terminated.is_some());
    waits && began.is_some_and(|time| time.0 + STILL <= now)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn sweep_pod_is_read_back() {
        let folders = ["ns/flow/a", "ns/_/b"].map(|text| text.parse().unwrap());
        let pod = build(
            "node-1",
            "kubeci-system",
            "operator",
            &Limits::NONE,
            &folders,
        );
        let observed = ObservedSweepPod::of(&pod, None);
        assert_eq!(observed.folders, folders);
        assert_eq!(observed.state, SweepPodState::Underway(None));
        assert_eq!(pod.name_any(), name("node-1"));
        assert_ne!(name("node-1"), name("node-2"));
    }

    #[rstest]
    #[case::done(json!({"containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]}),
        SweepPodState::Ended(SweepEnd::Reported(SweepReport::default())))]
    #[case::some_left(json!({"containerStatuses": [{"state": {"terminated": {"exitCode": 1, "message": r#"{"failed":[1],"error":"busy"}"#}}}]}),
        SweepPodState::Ended(SweepEnd::Reported(SweepReport { failed: vec![1], error: "busy".into() })))]
    #[case::killed(json!({"containerStatuses": [{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}),
        SweepPodState::Ended(SweepEnd::Broken("the sweep pod ended with exit code 137, OOMKilled: ".into())))]
    #[case::refused(json!({"phase": "Failed", "reason": "OutOfpods", "message": "full"}),
        SweepPodState::Ended(SweepEnd::Broken("the sweep pod failed: OutOfpods: full".into())))]
    #[case::no_image(json!({"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}]}),
        SweepPodState::Underway(Some("the sweep pod does not start: ImagePullBackOff: no".into())))]
    #[case::creating(json!({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}),
        SweepPodState::Underway(None))]
    fn its_container_tells(#[case] mut status: Value, #[case] expected: SweepPodState) {
        for container in status["containerStatuses"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            let rest = json!({"name": "sweep", "image": "", "imageID": "", "ready": false, "restartCount": 0});
            container
                .as_object_mut()
                .unwrap()
                .extend(rest.as_object().unwrap().clone());
        }
        let mut pod = build("node-1", "kubeci-system", "operator", &Limits::NONE, &[]);
        pod.status = serde_json::from_value(status).unwrap();
        assert_eq!(ObservedSweepPod::of(&pod, None).state, expected);
    }

    #[rstest]
    #[case::read_only("FailedMount", r#"MountVolume.SetUp failed for volume "workspaces" : mkdir /kubeci: read-only file system"#, None)]
    #[case::a_file("FailedMount", r#"MountVolume.SetUp failed for volume "workspaces" : hostPath type check failed: /kubeci is not a directory"#, None)]
    #[case::slow(
        "FailedMount",
        "Unable to attach or mount volumes: timed out",
        Some("FailedMount: Unable")
    )]
    #[case::broken_disk(
        "FailedMount",
        "stat /kubeci: input/output error",
        Some("FailedMount: stat")
    )]
    #[case::no_network("FailedCreatePodSandBox", "no", Some("FailedCreatePodSandBox: no"))]
    fn law_7_its_events_tell_what_keeps_it(
        #[case] reason: &str,
        #[case] message: &str,
        #[case] kept: Option<&str>,
    ) {
        let pod = build("node-1", "kubeci-system", "operator", &Limits::NONE, &[]);
        let warning = PodWarning {
            reason: reason.into(),
            message: message.into(),
            at: Timestamp::UNIX_EPOCH,
        };
        match (ObservedSweepPod::of(&pod, Some(&warning)).state, kept) {
            (SweepPodState::Ended(SweepEnd::NothingThere), None) => {}
            (SweepPodState::Underway(Some(said)), Some(kept)) => {
                assert!(said.contains(kept), "{said}");
            }
            other => panic!("{other:?}"),
        }
    }
}
