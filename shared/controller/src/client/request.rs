//! The verb and the resource of a request, from its method and path.

use std::time::Duration;

use http::{Method, Uri};

/// The verbs of the API server, as in roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
    Other,
}

impl Verb {
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Other => "other",
        }
    }

    /// Whether a second request changes nothing. A create may: the API server may generate its name.
    pub fn repeatable(self) -> bool {
        !matches!(self, Self::Create | Self::Watch | Self::Other)
    }

    /// Whether it changes nothing. A create counts as a change, even that of an access review.
    pub fn reads(self) -> bool {
        matches!(self, Self::Get | Self::List | Self::Watch)
    }

    /// The time until the answer begins, and until each further part of it.
    pub fn response_timeout(self) -> Duration {
        match self {
            Self::List | Self::DeleteCollection => Duration::from_secs(30),
            _ => Duration::from_secs(10),
        }
    }
}

/// The verb of a request, and its resource: the plural with the subresource, as in `pods/status`;
/// empty without one, as in discovery.
pub fn classify(method: &Method, uri: &Uri) -> (Verb, String) {
    let (resource, named) = resource(uri.path());
    let watch = uri
        .query()
        .is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
    let verb = match *method {
        Method::GET if watch => Verb::Watch,
        Method::GET if named || resource.is_empty() => Verb::Get,
        Method::GET => Verb::List,
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE if named => Verb::Delete,
        Method::DELETE => Verb::DeleteCollection,
        _ => Verb::Other,
    };
    (verb, resource)
}

/// The resource of a path, and whether the path names one object of it.
fn resource(path: &str) -> (String, bool) {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let before_resource = match parts.next() {
        Some("api") => parts.next(),
        Some("apis") => parts.next().and(parts.next()),
        _ => None,
    };
    if before_resource.is_none() {
        return (String::new(), false);
    }
    let parts: Vec<&str> = parts.collect();
    match *parts {
        ["namespaces", _, "status" | "finalize"] | [] => object(&parts),
        ["namespaces", _, ref namespaced @ ..] if !namespaced.is_empty() => object(namespaced),
        _ => object(&parts),
    }
}

fn object(parts: &[&str]) -> (String, bool) {
    match *parts {
        [] => (String::new(), false),
        [plural] => (plural.to_owned(), false),
        [plural, _] => (plural.to_owned(), true),
        [plural, _, subresource, ..] => (format!("{plural}/{subresource}"), true),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("GET", "/api/v1/pods", Verb::List, "pods")]
    #[case(
        "GET",
        "/api/v1/pods?watch=true&timeoutSeconds=290",
        Verb::Watch,
        "pods"
    )]
    #[case("GET", "/api/v1/namespaces", Verb::List, "namespaces")]
    #[case("GET", "/api/v1/namespaces/a", Verb::Get, "namespaces")]
    #[case(
        "PUT",
        "/api/v1/namespaces/a/finalize",
        Verb::Update,
        "namespaces/finalize"
    )]
    #[case("POST", "/api/v1/namespaces/a/pods", Verb::Create, "pods")]
    #[case(
        "GET",
        "/apis/apps/v1/namespaces/a/deployments/b",
        Verb::Get,
        "deployments"
    )]
    #[case(
        "PATCH",
        "/apis/kube.ci/v1alpha1/namespaces/a/workplans/b/status",
        Verb::Patch,
        "workplans/status"
    )]
    #[case("DELETE", "/api/v1/namespaces/a/pods/b", Verb::Delete, "pods")]
    #[case("DELETE", "/api/v1/namespaces/a/pods", Verb::DeleteCollection, "pods")]
    #[case("GET", "/apis", Verb::Get, "")]
    #[case("GET", "/apis/apps/v1", Verb::Get, "")]
    #[case("GET", "/version", Verb::Get, "")]
    fn verb_and_resource(
        #[case] method: &str,
        #[case] uri: &str,
        #[case] verb: Verb,
        #[case] resource: &str,
    ) {
        let method = method.parse().unwrap();
        let uri = uri.parse().unwrap();
        assert_eq!(classify(&method, &uri), (verb, resource.to_owned()));
    }
}
