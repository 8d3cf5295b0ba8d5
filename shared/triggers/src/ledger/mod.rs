//! What one Workflow remembers of the objects that it watches, across restarts.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::{Map, Value, json};

use kubeci_api::{LedgerEntry, TriggerEvent, TriggeredBy, WorkflowStatus};
use kubeci_compiler::STORED_MAX;

use crate::{
    fingerprint::token_of,
    object::{Kind, ObjectRef, Resource, Uid},
};

/// The most objects that a Workflow keeps track of.
pub const ENTRIES_MAX: usize = 3000;
/// The most bytes that they take in its status.
const BYTES_MAX: usize = 1_000_000;
/// What is kept free for the rest of the status, and for the record of who manages which field.
const KEPT_FREE: usize = 64 << 10;
/// What an entry takes beside its texts: the names of its fields, and the uid a second time.
const ENTRY_BYTES: usize = 180;

/// What is remembered of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub object: ObjectRef,
    /// The last event that fired.
    pub head: Option<String>,
    /// The state in which it was last seen to match, as its fingerprint is remembered.
    pub token: Option<String>,
    /// Whether its deletion fires.
    pub on_delete: bool,
}

impl Entry {
    /// About what it takes in a status.
    fn bytes(&self) -> usize {
        let texts = [&self.object.namespace, &self.head, &self.token];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        let kind = &self.object.resource.kind;
        let resource = kind.group.len() + kind.name.len() + self.object.resource.plural.len();
        ENTRY_BYTES + self.object.name.len() + resource + texts
    }

    /// Whether the next process does the same with either. A generation that moved alone is not worth a
    /// status write: some objects' moves with every write of their own status.
    fn serves_as(&self, other: &Self) -> bool {
        let [token, other_token] = [self, other].map(|entry| entry.token.as_deref().map(token_of));
        token == other_token
            && (&self.object, &self.head, self.on_delete)
                == (&other.object, &other.head, other.on_delete)
    }

    /// What a status says of it, beside its token.
    fn told(&self) -> LedgerEntry {
        let ObjectRef {
            resource,
            namespace,
            name,
        } = &self.object;
        LedgerEntry {
            resource: resource.to_string(),
            kind: resource.kind.name.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
            head: self.head.clone(),
            on_delete: self.on_delete,
        }
    }

    /// An object that fired once and does not match now.
    #[must_use]
    pub fn unmatched(object: ObjectRef, head: String) -> Self {
        Self {
            object,
            head: Some(head),
            token: None,
            on_delete: false,
        }
    }
}

/// A Workplan as a link in an object's chain of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number among all Workplans that the Workflow fired.
    pub sequence: i64,
    pub previous: Option<String>,
    pub head: String,
    pub trigger: TriggeredBy,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    entries: HashMap<Uid, Entry>,
    bytes: usize,
    /// What has changed since it was last asked.
    dirty: HashSet<Uid>,
    /// What the Workflow itself takes of the object in which both are stored.
    workflow: usize,
}

/// How much more fits into a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub entries: usize,
    pub bytes: usize,
}

impl Room {
    /// Whether this many more entries fit for sure.
    #[must_use]
    pub fn fits(self, entries: usize) -> bool {
        const LONGEST: usize = ENTRY_BYTES + 2 * 253;
        self.entries >= entries && self.bytes >= entries * LONGEST
    }
}

impl Ledger {
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<&Entry> {
        self.entries.get(uid)
    }

    #[must_use]
    pub fn room(&self) -> Room {
        Room {
            entries: ENTRIES_MAX.saturating_sub(self.entries.len()),
            bytes: self.bytes_max().saturating_sub(self.bytes),
        }
    }

    /// Leaves room for a Workflow of so many bytes.
    pub fn stored_beside(&mut self, workflow: usize) {
        self.workflow = workflow;
    }

    fn bytes_max(&self) -> usize {
        let left = STORED_MAX.saturating_sub(self.workflow + KEPT_FREE);
        BYTES_MAX.min(left)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Uid, &Entry)> {
        self.entries.iter()
    }

    /// Remembers or forgets; whether that is worth telling.
    pub fn set(&mut self, uid: &Uid, entry: Option<Entry>) -> bool {
        let before = self.entries.get(uid);
        if before == entry.as_ref() {
            return false;
        }
        let same = before
            .zip(entry.as_ref())
            .is_some_and(|(before, entry)| before.serves_as(entry));
        self.bytes += entry.as_ref().map_or(0, Entry::bytes);
        let before = match entry {
            Some(entry) => self.entries.insert(uid.clone(), entry),
            None => self.entries.remove(uid),
        };
        self.bytes -= before.as_ref().map_or(0, Entry::bytes);
        self.dirty.insert(uid.clone());
        !same
    }

    /// The objects whose entries have changed since this was last asked.
    pub fn take_dirty(&mut self) -> HashSet<Uid> {
        std::mem::take(&mut self.dirty)
    }

    /// What a Workflow's status tells.
    #[must_use]
    pub fn read(status: &WorkflowStatus) -> Self {
        let tokens = status.last_observed_resource_generation.as_ref();
        let mut resources: HashSet<Arc<Resource>> = HashSet::new();
        let entries = status.ledger.iter().map(|(uid, told)| {
            let resource = shared(&mut resources, Resource::parse(&told.resource, &told.kind));
            let (namespace, name) = (told.namespace.clone(), told.name.clone());
            let entry = Entry {
                object: ObjectRef {
                    resource,
                    namespace,
                    name,
                },
                head: told.head.clone(),
                token: tokens.and_then(|tokens| tokens.get(uid).cloned()),
                on_delete: told.on_delete,
            };
            (uid.as_str().into(), entry)
        });
        let entries: HashMap<Uid, Entry> = entries.collect();
        let bytes = entries.values().map(Entry::bytes).sum();
        Self {
            entries,
            bytes,
            dirty: HashSet::new(),
            workflow: 0,
        }
    }

    /// The merge patch that makes a Workflow's status say what is remembered of these objects.
    ///
    /// # Errors
    /// An entry cannot be serialized, which its types exclude.
    pub fn patch(
        &self,
        uids: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> serde_json::Result<Map<String, Value>> {
        let (mut tokens, mut entries) = (Map::new(), Map::new());
        for uid in uids {
            let uid = uid.as_ref();
            let entry = self.entries.get(uid);
            let token = entry.and_then(|entry| entry.token.clone());
            tokens.insert(uid.to_owned(), token.map_or(Value::Null, Value::from));
            let told = entry.map(|entry| merged(&entry.told())).transpose()?;
            entries.insert(uid.to_owned(), told.unwrap_or_default());
        }
        let fields = [
            ("lastObservedResourceGeneration", tokens),
            ("ledger", entries),
        ];
        let changed = fields.into_iter().filter(|(_, patch)| !patch.is_empty());
        Ok(changed
            .map(|(field, patch)| (field.to_owned(), Value::from(patch)))
            .collect())
    }

    /// Catches up with Workplans that were created after the status was last told, link by link.
    /// `on_delete` says whether some trigger that covers an object wants its deletion.
    pub fn carry_forward(&mut self, links: Vec<Link>, on_delete: impl Fn(&ObjectRef) -> bool) {
        for (uid, mut chain) in chains(links) {
            while let Some(link) = self.next_link(&uid, &mut chain) {
                if link.trigger.event == TriggerEvent::Delete {
                    self.set(&uid, None);
                    break;
                }
                let entry = self.carried(&uid, link, &on_delete);
                if !self.holds(&uid, &entry) {
                    break;
                }
                self.set(&uid, Some(entry));
            }
        }
    }

    fn next_link(&self, uid: &str, chain: &mut Chain) -> Option<Link> {
        let head = self.get(uid).and_then(|entry| entry.head.clone());
        chain.get_mut(&head)?.pop()
    }

    /// Whether there is room for the entry, which only what somebody made by hand exceeds.
    fn holds(&self, uid: &str, entry: &Entry) -> bool {
        let before = self.get(uid);
        let bytes = self.bytes - before.map_or(0, Entry::bytes) + entry.bytes();
        (before.is_some() || self.room().entries > 0) && bytes <= self.bytes_max()
    }

    fn carried(&self, uid: &str, link: Link, on_delete: impl Fn(&ObjectRef) -> bool) -> Entry {
        let (object, on_delete) = match self.get(uid) {
            Some(entry) if entry.token.is_some() => (entry.object.clone(), entry.on_delete),
            Some(entry) => (entry.object.clone(), on_delete(&entry.object)),
            None => {
                let object = object_of(&link.trigger);
                let on_delete = on_delete(&object);
                (object, on_delete)
            }
        };
        let (head, token) = (Some(link.head), Some(link.trigger.token));
        Entry {
            object,
            head,
            token,
            on_delete,
        }
    }
}

/// An entry as a merge patch, which takes away what an earlier one had and this one has not.
fn merged(entry: &LedgerEntry) -> serde_json::Result<Value> {
    let mut patch = json!({"namespace": null, "head": null, "onDelete": null});
    if let (Value::Object(patch), Value::Object(entry)) = (&mut patch, serde_json::to_value(entry)?)
    {
        patch.extend(entry);
    }
    Ok(patch)
}

/// The links of one object's events, each found by the one before it.
type Chain = HashMap<Option<String>, Vec<Link>>;

/// Where two Workplans follow the same one, the later creation, which knew of the newer state, comes last.
fn chains(mut links: Vec<Link>) -> HashMap<Uid, Chain> {
    links.sort_by_key(|link| link.sequence);
    let mut chains: HashMap<Uid, Chain> = HashMap::new();
    for link in links {
        let chain = chains.entry(link.trigger.uid.as_str().into()).or_default();
        chain.entry(link.previous.clone()).or_default().push(link);
    }
    chains
}

/// A Workplan does not tell the plural name: it is the usual one until a watch shows the object.
fn object_of(trigger: &TriggeredBy) -> ObjectRef {
    let kind = Kind::new(&trigger.api_version, &trigger.kind);
    ObjectRef {
        resource: Arc::new(Resource::usual(kind)),
        namespace: trigger.namespace.clone(),
        name: trigger.name.clone(),
    }
}

fn shared(resources: &mut HashSet<Arc<Resource>>, resource: Resource) -> Arc<Resource> {
    let resource = Arc::new(resource);
    if let Some(known) = resources.get(&resource) {
        return known.clone();
    }
    resources.insert(resource.clone());
    resource
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge_patch;

    fn link(
        sequence: i64,
        previous: Option<&str>,
        head: &str,
        token: &str,
        event: TriggerEvent,
    ) -> Link {
        let trigger = TriggeredBy {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: Some("a".to_owned()),
            name: "b".to_owned(),
            uid: "u".to_owned(),
            event,
            token: token.to_owned(),
        };
        Link {
            sequence,
            previous: previous.map(str::to_owned),
            head: head.to_owned(),
            trigger,
        }
    }

    fn carried(ledger: &mut Ledger, links: &[Link]) -> Option<[String; 2]> {
        ledger.carry_forward(links.to_vec(), |_| true);
        let entry = ledger.get("u").cloned()?;
        Some([entry.head.unwrap(), entry.token.unwrap()])
    }

    use TriggerEvent::{Add, Delete, Update};

    #[test]
    fn a_status_is_read_as_it_was_written() {
        let mut ledger = Ledger::default();
        let links = [link(1, None, "h1", "1", Add)];
        carried(&mut ledger, &links);
        let mut status = json!({});
        let mut write = |ledger: &mut Ledger| -> WorkflowStatus {
            let dirty = ledger.take_dirty();
            merge_patch::apply(&mut status, &ledger.patch(dirty).unwrap().into());
            serde_json::from_value(status.clone()).unwrap()
        };
        let written = write(&mut ledger);
        assert_eq!(written.ledger["u"].resource, "configmaps.v1");
        assert_eq!(Ledger::read(&written), ledger);
        let unmatched = Entry {
            on_delete: false,
            token: None,
            ..ledger.get("u").unwrap().clone()
        };
        ledger.set(&"u".into(), Some(unmatched));
        assert_eq!(Ledger::read(&write(&mut ledger)), ledger);
        ledger.set(&"u".into(), None);
        assert_eq!(Ledger::read(&write(&mut ledger)), Ledger::default());
    }

    #[test]
    fn workplans_carry_an_entry_forward_link_by_link() {
        let links = [
            link(3, Some("h2"), "h3", "1", Update),
            link(1, None, "h1", "1", Add),
            link(2, Some("h1"), "h2", "2", Update),
        ];
        assert_eq!(
            carried(&mut Ledger::default(), &links),
            Some(["h3", "1"].map(str::to_owned))
        );
        let mut told = Ledger::default();
        carried(&mut told, &links[1..2]);
        assert_eq!(
            carried(&mut told, &links[..1]),
            Some(["h1", "1"].map(str::to_owned)),
            "the link between is missing"
        );
        assert_eq!(
            carried(&mut told, &links),
            Some(["h3", "1"].map(str::to_owned))
        );
    }

    #[test]
    fn a_deletion_ends_the_chain() {
        let links = [
            link(1, None, "h1", "1", Add),
            link(2, Some("h1"), "h2", "1", Delete),
        ];
        assert_eq!(carried(&mut Ledger::default(), &links), None);
    }

    #[test]
    fn a_chain_of_any_length_is_followed_at_once() {
        let head = |at: i64| format!("h{at}");
        let of_chain = |at: i64| {
            let previous = (at > 1).then(|| head(at - 1));
            link(at, previous.as_deref(), &head(at), &at.to_string(), Update)
        };
        let links: Vec<Link> = (1..=200_000).map(of_chain).collect();
        let last = Some(["h200000", "200000"].map(str::to_owned));
        assert_eq!(carried(&mut Ledger::default(), &links), last);
    }

    #[test]
    fn a_chain_that_somebody_made_a_circle_of_ends() {
        let links = [
            link(1, None, "h1", "1", Add),
            link(2, Some("h1"), "h2", "2", Update),
            link(3, Some("h2"), "h1", "3", Update),
            link(4, Some("h2"), "h2", "4", Update),
        ];
        let ended = carried(&mut Ledger::default(), &links);
        assert_eq!(ended, Some(["h1", "3"].map(str::to_owned)));
    }

    #[test]
    fn no_more_is_carried_forward_than_a_status_can_hold() {
        let of_object = |uid: &str, token: &str| {
            let mut link = link(1, None, "h", token, Add);
            uid.clone_into(&mut link.trigger.uid);
            link
        };
        let many = (0..=ENTRIES_MAX).map(|at| of_object(&at.to_string(), "1"));
        let mut ledger = Ledger::default();
        ledger.carry_forward(many.collect(), |_| true);
        assert_eq!(ledger.room().entries, 0);
        let long = of_object("u", &"x".repeat(BYTES_MAX));
        assert_eq!(carried(&mut Ledger::default(), &[long]), None);
    }

    #[test]
    fn a_large_workflow_leaves_the_ledger_less_room() {
        let mut ledger = Ledger::default();
        ledger.stored_beside(200_000);
        assert_eq!(ledger.room().bytes, BYTES_MAX);
        ledger.stored_beside(STORED_MAX - KEPT_FREE - 1000);
        assert_eq!(ledger.room().bytes, 1000);
        ledger.stored_beside(STORED_MAX);
        assert!(!ledger.room().fits(1));
    }

    #[test]
    fn of_two_that_follow_the_same_the_later_one_counts() {
        let links = [link(2, None, "h2", "2", Add), link(1, None, "h1", "1", Add)];
        assert_eq!(
            carried(&mut Ledger::default(), &links),
            Some(["h2", "2"].map(str::to_owned))
        );
    }
}
