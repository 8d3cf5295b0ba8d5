//! The path of a Workplan's folder on its node.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use kube::{Resource, ResourceExt};
use kubeci_api::names::{WORKFLOW_LABEL, WORKSPACE_HOST_PATH};
use kubeci_api::{Workflow, Workplan};

/// Replaces the name of the Workflow for a Workplan without one. No Workflow can have this name.
const BY_HAND: &str = "_";

/// `<namespace>/<workflow>/<workplan>`, below the folder that holds all workspaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Folder {
    parts: [String; 3],
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a workspace; use <namespace>/<workflow>/<workplan>, each a Kubernetes name")]
pub struct NotAFolder(String);

impl Folder {
    #[must_use]
    pub fn of(workplan: &Workplan) -> Self {
        let workflow = workflow(workplan).unwrap_or(BY_HAND);
        let name = holder(workplan).map_or_else(|| workplan.name_any(), ToOwned::to_owned);
        Self {
            parts: [
                workplan.namespace().unwrap_or_default(),
                workflow.to_owned(),
                name,
            ],
        }
    }

    /// Its path on the node.
    #[must_use]
    pub fn host_path(&self) -> PathBuf {
        PathBuf::from(WORKSPACE_HOST_PATH).join(self.parts.join("/"))
    }

    #[must_use]
    pub fn parts(&self) -> &[String; 3] {
        &self.parts
    }
}

/// The Workplan whose folder this one uses, if it does not have its own.
#[must_use]
pub fn holder(workplan: &Workplan) -> Option<&str> {
    let folder = workplan.status.as_ref()?.folder.as_ref()?;
    folder.of.as_deref().filter(|name| is_name(name))
}

/// The name of the Workflow that a Workplan was compiled from. Whoever writes a Workplan writes its
/// owner too, so only what can be a Workflow's name counts: it becomes part of a path on the node.
#[must_use]
pub fn workflow(workplan: &Workplan) -> Option<&str> {
    let is_workflow = |kind: &str| kind == Workflow::kind(&());
    let owners = workplan.owner_references().iter();
    let mut owners = owners
        .filter(|owner| is_workflow(&owner.kind))
        .map(|owner| owner.name.as_str());
    let label = workplan.labels().get(WORKFLOW_LABEL).map(String::as_str);
    owners
        .next()
        .filter(|name| is_name(name))
        .or(label.filter(|name| is_name(name)))
}

/// Whether it can name a Kubernetes object: lower-case words of letters, digits and `-`, parted by dots.
fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let word = |word: &str| {
        word.starts_with(inner)
            && word.ends_with(inner)
            && word.chars().all(|c| inner(c) || c == '-')
    };
    text.len() <= 253 && text.split('.').all(word)
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.join("/"))
    }
}

impl FromStr for Folder {
    type Err = NotAFolder;

    fn from_str(text: &str) -> Result<Self, NotAFolder> {
        let parts: Vec<String> = text.split('/').map(Into::into).collect();
        let parts: [String; 3] = parts.try_into().map_err(|_| NotAFolder(text.into()))?;
        let [namespace, workflow, workplan] = &parts;
        let valid =
            is_name(namespace) && is_name(workplan) && (is_name(workflow) || workflow == BY_HAND);
        valid
            .then_some(Self {
                parts: parts.clone(),
            })
            .ok_or_else(|| NotAFolder(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use kubeci_api::Order;
    use rstest::rstest;

    use super::*;
    use crate::testing;

    #[rstest]
    #[case::by_hand(None, None, "ns/_/plan")]
    #[case::owned(Some("flow"), None, "ns/flow/plan")]
    #[case::labelled(None, Some("flow"), "ns/flow/plan")]
    #[case::dotted(Some("flow.v1"), None, "ns/flow.v1/plan")]
    #[case::climbing(Some("../../etc"), None, "ns/_/plan")]
    #[case::absolute(Some("/etc"), Some("flow"), "ns/flow/plan")]
    #[case::parent(Some(".."), Some("a_b"), "ns/_/plan")]
    fn law_5_folder_stays_below_its_root(
        #[case] owner: Option<&str>,
        #[case] label: Option<&str>,
        #[case] expected: &str,
    ) {
        let mut workplan = testing::workplan(Order::Linear, &["a"]);
        workplan
            .owner_references_mut()
            .extend(owner.map(|name| OwnerReference {
                kind: "Workflow".into(),
                name: name.into(),
                ..OwnerReference::default()
            }));
        let label = label.map(|label| (WORKFLOW_LABEL.to_owned(), label.to_owned()));
        workplan.labels_mut().extend(label);
        let folder = Folder::of(&workplan);
        assert_eq!(folder.to_string(), expected);
        assert_eq!(expected.parse(), Ok(folder));
    }

    #[rstest]
    fn invalid_folder_is_refused(
        #[values(
            "", "a", "a/b", "a/b/c/d", "a/../c", "../b/c", "a//c", "/a/b", "a/b/.", "a/_/_",
            "a/B/c"
        )]
        text: &str,
    ) {
        assert_eq!(text.parse::<Folder>(), Err(NotAFolder(text.into())));
    }
}
