use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a step starts after the steps that it depends on. `Pods`: steps run as init containers, containers and
/// pods; the next step starts one to two seconds later. `Relay`: steps run as containers of one pod where
/// possible; the next step starts about a millisecond later, and a step without `commands` or with
/// `isolate: true` gets its own pod. Default: the operator's `--execution`, which is `Pods` unless set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Execution {
    /// Steps run as init containers, containers and pods. The next step starts one to two seconds after
    /// its dependencies.
    #[default]
    Pods,
    /// Steps run as containers of one pod where possible, and each container waits for its own
    /// dependencies. The next step starts about a millisecond after its dependencies. A step without
    /// `commands` or with `isolate: true` gets its own pod.
    Relay,
}
