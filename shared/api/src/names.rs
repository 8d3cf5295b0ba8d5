//! Reserved names: labels, finalizers, containers, volumes and paths.

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
/// Label of a Workplan: its number among the Workplans of its Workflow, in the order of creation.
pub const SEQUENCE_LABEL: &str = "kube.ci/sequence";
/// Label of a sweep pod, which removes the folders of Workplans that have ended.
pub const SWEEP_LABEL: &str = "kube.ci/sweep";
/// Finalizer of a Workplan, until its folder is removed from the node.
pub const WORKSPACE_FINALIZER: &str = "kube.ci/workspace";

/// The mount path of the shared folder in every step.
pub const WORKSPACE_MOUNT_PATH: &str = "/kubeci";
/// The folder on a node that contains the shared folders of all Workplans.
pub const WORKSPACE_HOST_PATH: &str = "/kubeci";
/// The volume of the shared folder. Users cannot use this name.
pub const WORKSPACE_VOLUME: &str = "kubeci-workspace";

/// The init container that makes the shared folder writable for every user. Users cannot use this name.
pub const OPENER_CONTAINER: &str = "kubeci-workspace";
/// The container that installs the step runner in a relay pod. Users cannot use this name.
pub const RUNNER_CONTAINER: &str = "kubeci-runner";
/// The volume of a relay pod with the step runner, in which each step records its result. Users cannot use this name.
pub const RELAY_VOLUME: &str = "kubeci-relay";

/// The prefix of the environment variables that kubeci sets in every step. Users cannot use such names.
pub const VARIABLE_PREFIX: &str = "KUBECI_";

/// The maximum length of a Workflow's name, which is the value of a label.
pub const WORKFLOW_NAME_MAX: usize = 63;
/// The maximum length of a Workplan's name, so that the names of its pods have at most 63 characters.
pub const WORKPLAN_NAME_MAX: usize = 59;
/// The maximum number of steps of a Workflow, and of a Workplan in all its tasks.
pub const STEPS_MAX: usize = 500;
