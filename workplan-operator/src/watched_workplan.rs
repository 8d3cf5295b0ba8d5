//! A Workplan as the watch returns it.

use kube::Resource;
use kube::core::ObjectMeta;
use kubeci_api::{Phase, Workplan};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::value::RawValue;

/// The fields of a Workplan that the index needs, and all of it while it is new.
#[derive(Clone, Debug, Resource)]
#[resource(inherit = Workplan)]
pub struct WatchedWorkplan {
    metadata: ObjectMeta,
    pub phase: Option<Phase>,
    pub node: Option<Box<str>>,
    /// The whole Workplan as JSON, if no step of it has started.
    pub json: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Fields {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
struct Status {
    phase: Option<String>,
    node: Option<Box<str>>,
}

impl<'de> Deserialize<'de> for WatchedWorkplan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let Fields {
            mut metadata,
            status,
        } = serde_json::from_str(json.get()).map_err(D::Error::custom)?;
        metadata.managed_fields = None;
        metadata.annotations = None;
        let Status { phase, node } = status.unwrap_or_default();
        let phase = phase.as_deref().and_then(named_phase);
        let is_new = phase.is_none_or(|phase| phase == Phase::Pending);
        Ok(Self {
            metadata,
            phase,
            node,
            json: is_new.then(|| Box::<str>::from(json)),
        })
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
}
