//! The names by which kubeci's objects find each other.

/// Label of a Workplan and its pods: the Workflow that it was compiled from.
pub const WORKFLOW_LABEL: &str = "kube.ci/workflow";
/// Label of a pod: the Workplan that it belongs to.
pub const WORKPLAN_LABEL: &str = "kube.ci/workplan";
/// Label of a pod: the index of the task in its Workplan that it runs.
pub const TASK_LABEL: &str = "kube.ci/task";
/// Label of a Workplan: the uid of the object whose event fired it.
pub const TRIGGER_UID_LABEL: &str = "kube.ci/trigger-uid";
/// Label of a Workplan: its link in the chain of events of one Workflow and one object.
pub const HEAD_LABEL: &str = "kube.ci/head";
/// Label of a Workplan: the link before its own, empty for an object's first event.
pub const PREVIOUS_HEAD_LABEL: &str = "kube.ci/previous-head";
/// Label of a Workplan: its number among all that its Workflow fired, by the order of creation.
pub const SEQUENCE_LABEL: &str = "kube.ci/sequence";
/// Label of a sweep pod, which removes the folders of Workplans that have ended.
pub const SWEEP_LABEL: &str = "kube.ci/sweep";
/// Finalizer of a Workplan: held until its folder is gone from the node.
pub const WORKSPACE_FINALIZER: &str = "kube.ci/workspace";

/// Where every step finds the folder that the steps of a Workplan share.
pub const WORKSPACE_MOUNT_PATH: &str = "/kubeci";
/// The folder of a node below which all workspaces lie.
pub const WORKSPACE_HOST_PATH: &str = "/kubeci";
/// The name of the volume that holds the workspace; no volume of a user may have it.
pub const WORKSPACE_VOLUME: &str = "kubeci-workspace";

/// The name of the init container that makes the shared folder writable for every user; no step may have it.
pub const OPENER_CONTAINER: &str = "kubeci-workspace";
/// The name of the container that brings the step runner into a relay pod; no step may have it.
pub const RUNNER_CONTAINER: &str = "kubeci-runner";
/// The name of a relay pod's volume with the step runner; no volume of a user may have it.
pub const RUNNER_VOLUME: &str = "kubeci-bin";
/// The name of a relay pod's volume in which steps tell how they ended; no volume of a user may have it.
pub const RELAY_VOLUME: &str = "kubeci-relay";

/// The most characters that a Workflow's name may have, so that it fits into a label.
pub const WORKFLOW_NAME_MAX: usize = 63;
/// The most characters that a Workplan's name may have, so that its pods' names fit into 63.
pub const WORKPLAN_NAME_MAX: usize = 59;
/// The most steps that a Workflow may have, and a Workplan in all its tasks.
pub const STEPS_MAX: usize = 500;
