//! Kinds, and the resources under which the API serves them.

use std::fmt;

use kube_core::{ApiResource, GroupVersionKind};

/// A kind of an API group at one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version, such as `v1`.
    pub version: String,
    /// The name, such as `ConfigMap`.
    pub name: String,
}

impl Kind {
    /// Reads an `apiVersion`, such as `v1` or `apps/v1`, and a kind's name.
    #[must_use]
    pub fn new(api_version: &str, name: &str) -> Self {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let [group, version, name] = [group, version, name].map(str::to_owned);
        Self {
            group,
            version,
            name,
        }
    }

    /// The `apiVersion`, as in a manifest.
    #[must_use]
    pub fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Whether both name the same objects, possibly at different versions.
    #[must_use]
    pub fn same_objects(&self, other: &Self) -> bool {
        self.group == other.group && self.name == other.name
    }
}

/// A kind and the plural name under which the API serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// The kind of the objects.
    pub kind: Kind,
    /// The plural name, such as `configmaps`.
    pub plural: String,
}

impl Resource {
    /// A kind under its conventional plural name.
    #[must_use]
    pub fn with_default_plural(kind: Kind) -> Self {
        let gvk = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.name);
        // `ApiResource::from_gvk` panics on "Y": it inspects the letter before a final y.
        let plural = match gvk.kind.len() {
            0 | 1 => gvk.kind.to_lowercase(),
            _ => ApiResource::from_gvk(&gvk).plural,
        };
        Self { kind, plural }
    }

    /// The name in RBAC rules and `kubectl create role`, such as `deployments.apps`.
    #[must_use]
    pub fn rbac_name(&self) -> String {
        match self.kind.group.as_str() {
            "" => self.plural.clone(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Reads the output of `Display`. The ledger stores it beside the kind.
    #[must_use]
    pub fn parse(text: &str, kind: &str) -> Self {
        let mut parts = text.splitn(3, '.').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        let (plural, version, group) = (part(), part(), part());
        let kind = Kind {
            group,
            version,
            name: kind.to_owned(),
        };
        Self { kind, plural }
    }
}

impl fmt::Display for Resource {
    /// `configmaps.v1`, `deployments.v1.apps`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.plural, self.kind.version)?;
        match self.kind.group.as_str() {
            "" => Ok(()),
            group => write!(f, ".{group}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("v1", "ConfigMap", "configmaps", "configmaps.v1")]
    #[case("apps/v1", "Deployment", "deployments", "deployments.v1.apps")]
    #[case("a.b.example/v1beta1", "Thing", "things", "things.v1beta1.a.b.example")]
    fn resource_parses_its_own_display(
        #[case] api_version: &str,
        #[case] kind: &str,
        #[case] plural: &str,
        #[case] text: &str,
    ) {
        let resource = Resource {
            kind: Kind::new(api_version, kind),
            plural: plural.to_owned(),
        };
        assert_eq!(resource.to_string(), text);
        assert_eq!(Resource::parse(text, kind), resource);
        assert_eq!(resource.kind.api_version(), api_version);
    }

    #[rstest]
    #[case("ConfigMap", "configmaps")]
    #[case("Ingress", "ingresses")]
    #[case("NetworkPolicy", "networkpolicies")]
    #[case("Y", "y")]
    #[case("", "")]
    #[case("Äy", "Äies")]
    fn kind_has_default_plural(#[case] kind: &str, #[case] plural: &str) {
        let kind = Kind::new("v1", kind);
        assert_eq!(Resource::with_default_plural(kind).plural, plural);
    }
}
