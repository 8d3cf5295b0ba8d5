use jiff::Timestamp;
use kubeci_api::WorkplanStatus;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    AddFinalizer,
    CreatePod(usize),
    /// Enter a rerun in the status of the Workplan whose folder it uses.
    UseFolder,
    /// Set the tasks of a rerun, and the other fields of its spec.
    SetTasks,
    /// List the pods that there are, and decide again.
    ListPods,
    /// Stop the containers of the pod. The pod and its logs are kept.
    StopPod(usize),
    /// Unless it was placed on a node since it was seen: its folder would be forgotten.
    DeletePod(usize),
    Sweep,
    RemoveFinalizer,
}

/// In this order: pods are created, the status is written, the other actions are done.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub status: WorkplanStatus,
    pub actions: Vec<Action>,
    /// When to decide again though nothing has been seen to change.
    pub wake_at: Option<Timestamp>,
}

impl Decision {
    pub(super) fn wait(status: WorkplanStatus) -> Self {
        Self {
            status,
            actions: Vec::new(),
            wake_at: None,
        }
    }
}
