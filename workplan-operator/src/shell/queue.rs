//! The objects that wait to be reconciled.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kubeci_runtime::{Due, Metrics};
use tokio::time::Instant;

/// The writing end; an object that waits already is not put in twice.
pub struct Queue<K: Resource> {
    sender: UnboundedSender<ObjectRef<K>>,
    waiting: Mutex<HashMap<ObjectRef<K>, Due>>,
    /// When those are due that are queued again by time.
    later: Mutex<HashMap<ObjectRef<K>, Instant>>,
    metrics: Metrics,
}

impl<K> Queue<K>
where
    K: Resource<DynamicType: Clone + Debug + Eq + Hash>,
{
    pub fn new(metrics: Metrics) -> (Self, impl Stream<Item = Result<ObjectRef<K>, Infallible>>) {
        let (sender, receiver): (_, UnboundedReceiver<ObjectRef<K>>) = unbounded();
        let queue = Self {
            sender,
            waiting: Mutex::default(),
            later: Mutex::default(),
            metrics,
        };
        (queue, receiver.map(Ok))
    }

    pub fn push(&self, object: ObjectRef<K>) {
        let new = match self.waiting().entry(object.clone()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(self.metrics.due());
                true
            }
        };
        if new {
            // It fails when the operator stops, and then nobody waits.
            let _ = self.sender.unbounded_send(object);
        }
    }

    /// Has an object queued again after this time, which the loop does.
    pub fn requeue(&self, object: ObjectRef<K>, after: Duration) -> Action {
        self.later().insert(object, Instant::now() + after);
        Action::requeue(after)
    }

    /// Takes note that an object's turn has come. It was due when it was pushed, else at the time for which it
    /// was queued again.
    pub fn taken(&self, object: &ObjectRef<K>) -> Due {
        let later = self.later().remove(object);
        let pushed = self.waiting().remove(object);
        pushed.unwrap_or_else(|| {
            let now = Instant::now();
            self.metrics.due_since(later.map_or(now, |at| at.min(now)))
        })
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<ObjectRef<K>, Due>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn later(&self) -> MutexGuard<'_, HashMap<ObjectRef<K>, Instant>> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
