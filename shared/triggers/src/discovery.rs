//! Discovery: how the API serves the kind that a trigger names.

/// The result of the discovery of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscoveryResult {
    /// The API serves the kind as these resources, nearly always one.
    Served(Vec<ServedResource>),
    /// The API does not serve the kind.
    NotServed {
        /// A kind with a similar name.
        suggestion: Option<String>,
    },
    /// The request failed with this message.
    Failed(String),
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
