//! The objects that wait to be reconciled.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use prometheus_client::metrics::gauge::Gauge;

/// The writing end; an object that waits already is not put in twice.
pub struct Queue<K: Resource> {
    sender: UnboundedSender<ObjectRef<K>>,
    waiting: Arc<Mutex<HashMap<ObjectRef<K>, Instant>>>,
    depth: Gauge,
}

impl<K> Queue<K>
where
    K: Resource<DynamicType: Clone + Debug + Eq + Hash>,
{
    pub fn new(depth: Gauge) -> (Self, impl Stream<Item = Result<ObjectRef<K>, Infallible>>) {
        let (sender, receiver): (_, UnboundedReceiver<ObjectRef<K>>) = unbounded();
        let waiting = Arc::default();
        let queue = Self {
            sender,
            waiting,
            depth,
        };
        (queue, receiver.map(Ok))
    }

    pub fn push(&self, object: ObjectRef<K>) {
        let new = self.change(|waiting| {
            let waits = waiting.contains_key(&object);
            waiting.entry(object.clone()).or_insert_with(Instant::now);
            !waits
        });
        if new {
            // It fails when the operator stops, and then nobody waits.
            let _ = self.sender.unbounded_send(object);
        }
    }

    /// Takes note that an object waits no longer, before it is looked at; says how long it did.
    pub fn taken(&self, object: &ObjectRef<K>) -> Duration {
        let since = self.change(|waiting| waiting.remove(object));
        since.map(|since| since.elapsed()).unwrap_or_default()
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<ObjectRef<K>, Instant>) -> T) -> T {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = waiting.len();
        let changed = change(&mut waiting);
        let grown = i64::try_from(waiting.len()).unwrap_or_default()
            - i64::try_from(before).unwrap_or_default();
        self.depth.inc_by(grown);
        changed
    }
}
