use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the steps hand over to each other. `Pods`: by Kubernetes alone, as init containers, containers and
/// pods, a second or two apart. `Relay`: about a millisecond apart, as containers of one pod where they can
/// be; steps without `commands` or with `isolate` have pods of their own. Absent: the operator's default,
/// which is `Pods` unless its `--execution` says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Execution {
    /// By Kubernetes alone: as init containers, containers and pods, about a second or two apart.
    #[default]
    Pods,
    /// Inside the pod, about a millisecond apart: as many steps as can be are containers of one pod, each
    /// waiting for its own dependencies. A step without `commands`, or with `isolate`, has a pod of its own.
    Relay,
}
