//! A Workplan as the watch returns it.

use kube::Resource;
use kube::core::ObjectMeta;
use kubeci_api::{Order, Phase, Workplan};
use serde::{Deserialize, Deserializer, de::Error, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::admission::Recorded;

/// The fields of a Workplan that the index needs, and all of it while it is new.
#[derive(Clone, Debug, Resource)]
#[resource(inherit = Workplan)]
pub struct WatchedWorkplan {
    metadata: ObjectMeta,
    pub phase: Option<Phase>,
    pub node: Option<Box<str>>,
    /// The Workplan whose folder it uses.
    pub holder: Option<Box<str>>,
    pub admission: Recorded,
    /// The most pods that its tasks may need at a time; 0 for a rerun whose tasks are not set.
    pub pods: usize,
    /// The whole Workplan as JSON, if no step of it has started.
    pub json: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Fields {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Option<Spec>,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
struct Spec {
    /// A later version may know more orders.
    order: Option<Box<RawValue>>,
    tasks: Option<Vec<IgnoredAny>>,
    rerun: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct Status {
    phase: Option<String>,
    reason: Option<String>,
    node: Option<Box<str>>,
    #[serde(default)]
    folder: Folder,
}

#[derive(Default, Deserialize)]
struct Folder {
    of: Option<Box<str>>,
}

impl<'de> Deserialize<'de> for WatchedWorkplan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let Fields {
            mut metadata,
            spec,
            status,
        } = serde_json::from_str(json.get()).map_err(D::Error::custom)?;
        metadata.managed_fields = None;
        metadata.annotations = None;
        let Status {
            phase,
            reason,
            node,
            folder,
        } = status.unwrap_or_default();
        let phase = phase.as_deref().and_then(named_phase);
        let is_new = phase.is_none_or(|phase| phase == Phase::Pending);
        Ok(Self {
            metadata,
            phase,
            node,
            holder: folder.of,
            admission: Recorded::of(phase, reason.as_deref()),
            pods: spec.unwrap_or_default().pods(),
            json: is_new.then(|| Box::<str>::from(json)),
        })
    }
}

impl Spec {
    fn pods(self) -> usize {
        let without = usize::from(self.rerun.is_none());
        let tasks = self.tasks.map_or(without, |tasks| tasks.len());
        let order = self
            .order
            .map(|order| serde_json::from_str::<Order>(order.get()));
        match order {
            None | Some(Ok(Order::Linear)) => tasks.min(1),
            Some(_) => tasks,
        }
    }
}

/// A later version may know more phases.
fn named_phase(name: &str) -> Option<Phase> {
    Phase::ALL.into_iter().find(|phase| phase.as_str() == name)
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use kube::core::WatchEvent;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::created("{}", None, true)]
    #[case::pending(r#"{"phase": "pending", "node": "n"}"#, Some(Phase::Pending), true)]
    #[case::running(r#"{"phase": "running", "node": "n"}"#, Some(Phase::Running), false)]
    #[case::of_a_later_version(r#"{"phase": "suspended"}"#, None, true)]
    fn whole_workplan_is_kept_while_new(
        #[case] status: &str,
        #[case] phase: Option<Phase>,
        #[case] is_new: bool,
    ) {
        let object = format!(
            r#"{{"metadata": {{"name": "a"}}, "spec": {{"tasks": []}}, "status": {status}}}"#
        );
        let event = format!(r#"{{"type": "ADDED", "object": {object}}}"#);
        let event: WatchEvent<WatchedWorkplan> = serde_json::from_str(&event).unwrap();
        let WatchEvent::Added(workplan) = event else {
            panic!("{event:?}");
        };
        assert_eq!((workplan.name_any().as_str(), workplan.phase), ("a", phase));
        assert_eq!(workplan.json.as_deref(), is_new.then_some(&*object));
    }

    #[rstest]
    #[case::linear(r#"{"tasks": [{}, {}]}"#, 1)]
    #[case::graph(r#"{"order": "Graph", "tasks": [{}, {}]}"#, 2)]
    #[case::of_a_later_version(r#"{"order": "Tree", "tasks": [{}, {}, {}]}"#, 3)]
    #[case::without_tasks("{}", 1)]
    #[case::rerun(r#"{"rerun": {"of": "x"}}"#, 0)]
    #[case::rerun_with_tasks(r#"{"rerun": {"of": "x"}, "tasks": [{}]}"#, 1)]
    fn order_bounds_the_pods(#[case] spec: &str, #[case] pods: usize) {
        let object = format!(r#"{{"metadata": {{"name": "a"}}, "spec": {spec}}}"#);
        let workplan: WatchedWorkplan = serde_json::from_str(&object).unwrap();
        assert_eq!(workplan.pods, pods);
    }
}
