//! Discovery: how the API serves the kind that a trigger names.

use crate::resource::Kind;

/// The result of the discovery of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscoveryResult {
    /// The API serves the kind as these resources, nearly always one.
    Served(Vec<ServedResource>),
    /// The API does not serve the kind.
    NotServed {
        /// A kind that the trigger may mean.
        suggestion: Option<SimilarKind>,
    },
    /// The request failed with this message.
    Failed(String),
}

/// A served kind with the same or a similar name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimilarKind {
    /// The API group and version.
    pub api_version: String,
    /// The name of the kind.
    pub kind: String,
}

impl SimilarKind {
    /// The served kind that is most similar to `kind`: of the same name first, then of a name with few other letters,
    /// of its own group and version first. Each candidate is an API version, a kind and another name of it, such as the
    /// plural.
    #[must_use]
    pub fn of<'a>(
        kind: &Kind,
        served: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
    ) -> Option<Self> {
        let (given, own) = (kind.name.to_lowercase(), kind.api_version());
        let candidates = served.into_iter().map(|(api_version, name, other)| {
            let distance = |name: &str| strsim::osa_distance(&given, &name.to_lowercase());
            let distance = distance(name).min(distance(other));
            (distance, api_version != own, api_version, name)
        });
        let (distance, _, api_version, name) = candidates.min()?;
        let is_similar = distance <= 1 + given.chars().count() / 4;
        is_similar.then(|| Self {
            api_version: api_version.to_owned(),
            kind: name.to_owned(),
        })
    }
}

/// A resource of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedResource {
    /// The plural name.
    pub plural: String,
    /// Whether its objects have namespaces.
    pub namespaced: bool,
    /// Whether it supports `list` and `watch`.
    pub watchable: bool,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const SERVED: [(&str, &str, &str); 5] = [
        ("apps/v1", "Deployment", "deployments"),
        ("apps/v1", "DaemonSet", "daemonsets"),
        ("extensions.example/v1", "Deployment", "deployments"),
        ("v1", "ConfigMap", "configmaps"),
        ("v1", "Pod", "pods"),
    ];

    #[rstest]
    #[case::another_group("v1", "Deployment", Some(("apps/v1", "Deployment")))]
    #[case::typing_error("apps/v1", "Deploymnet", Some(("apps/v1", "Deployment")))]
    #[case::plural("v1", "configmaps", Some(("v1", "ConfigMap")))]
    #[case::own_group_first("extensions.example/v1", "deployment", Some(("extensions.example/v1", "Deployment")))]
    #[case::nothing_similar("v1", "Certificate", None)]
    fn similar_kind_is_suggested(
        #[case] api_version: &str,
        #[case] kind: &str,
        #[case] expected: Option<(&str, &str)>,
    ) {
        let similar = SimilarKind::of(&Kind::new(api_version, kind), SERVED);
        let similar = similar.as_ref();
        let similar = similar.map(|it| (it.api_version.as_str(), it.kind.as_str()));
        assert_eq!(similar, expected);
    }
}
