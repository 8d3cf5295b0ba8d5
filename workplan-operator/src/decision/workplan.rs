//! The folder of a Workplan.

use kube::Resource;
use kubeci_api::Workplan;
use kubeci_api::names::WORKSPACE_FINALIZER;

/// Whether the folder of the plan is on a node and remains after its pods.
#[must_use]
pub fn holds_folder(workplan: &Workplan) -> bool {
    !workplan.spec.workspace.is_empty_dir()
}

/// Whether the folder is to be removed before the Workplan goes.
pub(super) fn has_finalizer(workplan: &Workplan) -> bool {
    let finalizers = workplan.meta().finalizers.as_ref();
    finalizers.is_some_and(|all| all.iter().any(|name| name == WORKSPACE_FINALIZER))
}
