use std::borrow::Cow;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// The volume of the shared folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Volume")]
pub enum Workspace {
    /// A folder on the node, for any number of pods. The operator removes it after the Workplan has ended.
    #[default]
    HostPath,
    /// An `emptyDir` volume, for Workplans with one pod. Pod Security `restricted` allows it.
    EmptyDir,
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
}

/// The volume of the shared folder, as in the `volumes` of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.hostPath) || !has(self.emptyDir)")
        .message("a workspace is either a hostPath or an emptyDir; leave one of them out"),
)]
struct Volume {
    /// A folder on the node, for any number of pods (default). The operator chooses the path, and removes the folder
    /// after the Workplan has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host_path: Option<NoSettings>,

    /// An emptyDir volume, for Workplans with one pod. Pod Security `restricted` allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    empty_dir: Option<NoSettings>,
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
        let is_empty_dir = match stored {
            Stored::Kind(kind) => matches!(kind, Kind::EmptyDir),
            Stored::Volume(volume) => volume.empty_dir.is_some(),
        };
        if is_empty_dir {
            Self::EmptyDir
        } else {
            Self::HostPath
        }
    }
}

impl From<Workspace> for Volume {
    fn from(workspace: Workspace) -> Self {
        match workspace {
            Workspace::HostPath => Self {
                host_path: Some(NoSettings {}),
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

    use super::Workspace;

    #[test]
    fn stored_forms_are_read() {
        let forms = [
            (json!({}), Workspace::HostPath),
            (json!({"hostPath": {}}), Workspace::HostPath),
            (json!({"emptyDir": {}}), Workspace::EmptyDir),
            (json!("hostPath"), Workspace::HostPath),
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
        assert_eq!(written(Workspace::HostPath), json!({"hostPath": {}}));
        assert_eq!(written(Workspace::EmptyDir), json!({"emptyDir": {}}));
    }
}
