use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::KubeSchema;
use kube::core::Duration;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::Phase;
use crate::schema::kept_duration;

/// The volume of the shared folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Volume")]
pub enum Workspace {
    /// A folder on the node, for any number of pods. The operator removes it after the Workplan has ended.
    HostPath {
        /// When it is kept, and for how long.
        keep: Option<Keep>,
    },
    /// An `emptyDir` volume, for Workplans with one pod. Pod Security `restricted` allows it.
    EmptyDir,
}

impl Default for Workspace {
    fn default() -> Self {
        Self::HostPath { keep: None }
    }
}

impl Workspace {
    /// Whether this is what an absent field means.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the folder lives and ends with its pod.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref)] // as `is_default`
    pub fn is_empty_dir(&self) -> bool {
        *self == Self::EmptyDir
    }

    /// How long the folder is kept after its Workplan has ended in this phase.
    #[must_use]
    pub fn kept_for(&self, phase: Phase) -> Option<std::time::Duration> {
        let Self::HostPath { keep: Some(keep) } = self else {
            return None;
        };
        let is_kept = match keep.on {
            KeepOn::Failure => matches!(phase, Phase::Failed | Phase::Cancelled),
            KeepOn::Always => phase.is_final(),
        };
        is_kept.then(|| keep.duration.into())
    }
}

/// When the folder of an ended Workplan is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Keep {
    /// `Failure` (default): the folder is kept after the Workplan has failed or was cancelled. `Always`: after every
    /// end.
    #[serde(default)]
    pub on: KeepOn,

    /// How long the folder is kept after the end of the Workplan, such as `1h` or `24h`, at most `168h`.
    #[serde(rename = "for", serialize_with = "crate::duration::serialize")]
    #[schemars(schema_with = "kept_duration")]
    pub duration: Duration,
}

/// The folder of a Workplan that has another one, or leaves its own to another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FolderStatus {
    /// The Workplan whose folder this one uses. It also removes the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,

    /// The Workplan that uses the folder of this one, which is not removed before that one is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<FolderUser>,

    /// Until when the folder is kept, after a rerun has used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<MicroTime>,
}

/// A Workplan that uses the folder of another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct FolderUser {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// The ends of a Workplan after which its folder is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeepOn {
    /// The Workplan has failed or was cancelled.
    #[default]
    Failure,
    /// The Workplan has ended.
    Always,
}

/// The volume of the shared folder, as in the `volumes` of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.hostPath) || !has(self.emptyDir)")
        .message("a workspace is either a hostPath or an emptyDir; leave one of them out"),
    validation = Rule::new("!has(self.keep) || !has(self.emptyDir)")
        .message("an emptyDir ends with its pod and cannot be kept; leave emptyDir out, or keep"),
)]
struct Volume {
    /// A folder on the node, for any number of pods (default). The operator chooses the path, and removes the folder
    /// after the Workplan has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host_path: Option<NoSettings>,

    /// An emptyDir volume, for Workplans with one pod. Pod Security `restricted` allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    empty_dir: Option<NoSettings>,

    /// Keeps the folder on the node for some time after the Workplan has ended. Default: it is removed at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep: Option<Keep>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
struct NoSettings {}

/// What an object may contain. Version 0.1 stored the name of the kind.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Kind(Kind),
    Volume(Volume),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    HostPath,
    EmptyDir,
}

impl From<Stored> for Workspace {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Kind(Kind::HostPath) => Self::default(),
            Stored::Kind(Kind::EmptyDir)
            | Stored::Volume(Volume {
                empty_dir: Some(_), ..
            }) => Self::EmptyDir,
            Stored::Volume(Volume { keep, .. }) => Self::HostPath { keep },
        }
    }
}

impl From<Workspace> for Volume {
    fn from(workspace: Workspace) -> Self {
        match workspace {
            Workspace::HostPath { keep } => Self {
                host_path: Some(NoSettings {}),
                keep,
                ..Self::default()
            },
            Workspace::EmptyDir => Self {
                empty_dir: Some(NoSettings {}),
                ..Self::default()
            },
        }
    }
}

impl JsonSchema for Workspace {
    fn schema_name() -> Cow<'static, str> {
        Volume::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Volume::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const HOUR: std::time::Duration = std::time::Duration::from_hours(1);

    fn kept(on: KeepOn) -> Workspace {
        let keep = Some(Keep {
            on,
            duration: HOUR.into(),
        });
        Workspace::HostPath { keep }
    }

    #[test]
    fn folder_is_kept_after_the_named_ends() {
        let failure = Phase::ALL.map(|phase| kept(KeepOn::Failure).kept_for(phase).is_some());
        assert_eq!(failure, [false, false, false, true, true]);
        let always = Phase::ALL.map(|phase| kept(KeepOn::Always).kept_for(phase));
        assert_eq!(always, [None, None, Some(HOUR), Some(HOUR), Some(HOUR)]);
        assert_eq!(Workspace::default().kept_for(Phase::Failed), None);
    }

    #[test]
    fn stored_forms_are_read() {
        let forms = [
            (json!({}), Workspace::default()),
            (json!({"hostPath": {}}), Workspace::default()),
            (json!({"keep": {"for": "1h"}}), kept(KeepOn::Failure)),
            (
                json!({"keep": {"on": "Always", "for": "60m"}}),
                kept(KeepOn::Always),
            ),
            (json!({"emptyDir": {}}), Workspace::EmptyDir),
            (json!("hostPath"), Workspace::default()),
            (json!("emptyDir"), Workspace::EmptyDir),
        ];
        for (stored, expected) in forms {
            let read: Workspace = serde_json::from_value(stored.clone()).unwrap();
            assert_eq!(read, expected, "{stored}");
        }
        assert!(serde_json::from_value::<Workspace>(json!("pvc")).is_err());
    }

    #[test]
    fn objects_are_written() {
        let written = |it: Workspace| -> Value { serde_json::to_value(it).unwrap() };
        assert_eq!(written(Workspace::default()), json!({"hostPath": {}}));
        assert_eq!(
            written(kept(KeepOn::Failure)),
            json!({"hostPath": {}, "keep": {"on": "Failure", "for": "1h"}})
        );
        assert_eq!(written(Workspace::EmptyDir), json!({"emptyDir": {}}));
    }
}
