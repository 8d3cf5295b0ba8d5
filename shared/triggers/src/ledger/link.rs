use std::collections::HashMap;

use kubeci_api::TriggeredBy;

use crate::uid::Uid;

/// A Workplan as a link in the chain of events of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The number of the Workplan among all Workplans of the Workflow.
    pub sequence: i64,
    /// The head of the link before; `None` for the first one.
    pub previous_head: Option<String>,
    /// The head of this link.
    pub head: String,
    /// The event.
    pub trigger: TriggeredBy,
}

/// The links of one object by their previous heads.
pub(super) type Chain = HashMap<Option<String>, Vec<Link>>;

/// Groups links by object. Of links with the same previous head, the one with the highest sequence comes last.
pub(super) fn chains(mut links: Vec<Link>) -> HashMap<Uid, Chain> {
    links.sort_by_key(|link| link.sequence);
    let mut chains: HashMap<Uid, Chain> = HashMap::new();
    for link in links {
        let chain = chains.entry(link.trigger.uid.as_str().into()).or_default();
        chain
            .entry(link.previous_head.clone())
            .or_default()
            .push(link);
    }
    chains
}
