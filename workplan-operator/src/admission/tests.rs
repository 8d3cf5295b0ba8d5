//! Random Workplans of several namespaces under random caps.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::workplan_key::WorkplanKey;

#[derive(Clone, Debug)]
enum Event {
    /// A Workplan is created in a namespace, with so many pods.
    Create { namespace: usize, pods: usize },
    /// A Workplan that runs ends.
    End { which: usize },
    /// A Workplan that waits is deleted.
    Delete { which: usize },
    /// The places are written to so many statuses.
    Report { most: usize },
    /// The operator is killed and starts again.
    Kill,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let create = (0..3_usize, 1..5_usize);
    let event = prop_oneof![
        6 => create.prop_map(|(namespace, pods)| Event::Create { namespace, pods }),
        4 => any::<usize>().prop_map(|which| Event::End { which }),
        1 => any::<usize>().prop_map(|which| Event::Delete { which }),
        1 => (0..4_usize).prop_map(|most| Event::Report { most }),
        1 => Just(Event::Kill),
    ];
    prop::collection::vec(event, 1..120)
}

fn caps() -> impl Strategy<Value = Caps> {
    let cap = || prop::option::of(1..6_usize);
    (cap(), cap()).prop_map(|(workplans, pods)| Caps {
        workplans: workplans.and_then(NonZeroUsize::new),
        pods: pods.and_then(NonZeroUsize::new),
    })
}

/// A Workplan as the API server stores it.
#[derive(Clone, Debug)]
struct Stored {
    candidate: Candidate,
    /// The number of Workplans that have ended while this one waits.
    ended_before: usize,
}

/// The API server, and an operator that may be killed.
struct Cluster {
    caps: Caps,
    queue: AdmissionQueue,
    stored: BTreeMap<WorkplanKey, Stored>,
    running: BTreeSet<WorkplanKey>,
    created: i64,
}

impl Cluster {
    fn new(caps: Caps) -> Self {
        Self {
            caps,
            queue: AdmissionQueue::new(caps),
            stored: BTreeMap::new(),
            running: BTreeSet::new(),
            created: 0,
        }
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Create { namespace, pods } => self.create(namespace, pods),
            Event::End { which } => self.end(which),
            Event::Delete { which } => {
                if let Some(key) = nth(self.waiting(), which) {
                    self.stored.remove(&key);
                    self.queue.remove(&key);
                }
            }
            Event::Report { most } => {
                let changed = self.queue.assign_places(most);
                assert!(changed.len() <= most);
                for key in changed {
                    let stored = self.stored.get_mut(&key).unwrap();
                    stored.candidate.recorded = Recorded::Queued;
                }
            }
            Event::Kill => self.restart(),
        }
        self.admit();
    }

    fn create(&mut self, namespace: usize, pods: usize) {
        self.created += 1;
        let name = format!("plan-{}", self.created);
        let key = WorkplanKey::new(&format!("ns-{namespace}"), &name);
        let candidate = Candidate {
            arrival: Arrival {
                // Several Workplans are created in the same second.
                created: Timestamp::from_second(self.created / 3).unwrap(),
                sequence: self.created,
                uid: name.into(),
            },
            pods,
            recorded: Recorded::Nothing,
        };
        self.queue.observe(&key, candidate.clone());
        let stored = Stored {
            candidate,
            ended_before: 0,
        };
        self.stored.insert(key, stored);
    }

    fn end(&mut self, which: usize) {
        let Some(key) = nth(self.running.iter().cloned().collect(), which) else {
            return;
        };
        self.running.remove(&key);
        self.stored.remove(&key);
        self.queue.remove(&key);
        for key in self.waiting() {
            self.stored.get_mut(&key).unwrap().ended_before += 1;
        }
    }

    fn restart(&mut self) {
        self.queue = AdmissionQueue::new(self.caps);
        for (key, stored) in &self.stored {
            self.queue.observe(key, stored.candidate.clone());
        }
        for key in &self.running {
            assert!(!self.queue.waits(key), "a Workplan that runs waits");
        }
    }

    fn admit(&mut self) {
        let waiting = self.waiting();
        for key in self.queue.admit() {
            let arrival = |key: &WorkplanKey| &self.stored[key].candidate.arrival;
            let earlier = waiting.iter().find(|other| {
                other.namespace == key.namespace
                    && !self.running.contains(other)
                    && arrival(other) < arrival(&key)
            });
            assert_eq!(earlier, None, "an earlier Workplan of the namespace waits");
            self.running.insert(key.clone());
            self.stored.get_mut(&key).unwrap().candidate.recorded = Recorded::Admitted;
        }
        self.check();
    }

    fn usage(&self, of: impl Fn(&WorkplanKey) -> bool) -> Usage {
        let running = self.running.iter().filter(|key| of(key));
        running.fold(Usage::default(), |sum, key| {
            let workplans = 1;
            let pods = self.caps.pods_of(self.stored[key].candidate.pods);
            sum + Usage { workplans, pods }
        })
    }

    fn check(&self) {
        let usage = self.usage(|_| true);
        assert_eq!(self.queue.running(), usage);
        assert!(
            self.caps.admit(usage, Usage::default()),
            "{usage:?} is over {:?}",
            self.caps
        );
        let waiting = self.waiting();
        assert_eq!(self.queue.waiting(), waiting.len());
        let full = |key: &WorkplanKey| {
            let pods = self.caps.pods_of(self.stored[key].candidate.pods);
            let workplans = 1;
            !self.caps.admit(usage, Usage { workplans, pods })
        };
        assert!(
            waiting.is_empty() || waiting.iter().any(full),
            "there is room, and a Workplan waits"
        );
    }

    fn waiting(&self) -> Vec<WorkplanKey> {
        let keys = self.stored.keys();
        keys.filter(|key| !self.running.contains(key))
            .cloned()
            .collect()
    }
}

fn nth(keys: Vec<WorkplanKey>, which: usize) -> Option<WorkplanKey> {
    let count = keys.len();
    keys.into_iter().nth(which.checked_rem(count)?)
}

proptest! {
    #[test]
    fn caps_hold_in_order_despite_restarts(caps in caps(), events in events()) {
        let mut cluster = Cluster::new(caps);
        for event in &events {
            cluster.apply(event);
        }
        let mut ends = cluster.stored.len();
        while !cluster.stored.is_empty() {
            prop_assert!(ends > 0, "no Workplan is admitted");
            cluster.apply(&Event::End { which: ends });
            ends -= 1;
        }
    }

    #[test]
    fn restart_admits_nothing_more(caps in caps(), events in events()) {
        // A restart forgets whose turn it is, so that a Workplan may take the room that a wide one waited for.
        let caps = Caps { pods: None, ..caps };
        let mut cluster = Cluster::new(caps);
        for event in &events {
            cluster.apply(event);
            let running = cluster.running.clone();
            cluster.apply(&Event::Kill);
            prop_assert_eq!(&cluster.running, &running);
        }
    }

    #[test]
    fn flood_of_a_namespace_starves_no_other(
        caps in caps(),
        before in 0..60_usize,
        pods in 1..5_usize,
        ends in prop::collection::vec(any::<usize>(), 100),
    ) {
        let mut cluster = Cluster::new(caps);
        let flood = Event::Create { namespace: 0, pods: 1 };
        for _ in 0..before {
            cluster.apply(&flood);
        }
        cluster.apply(&Event::Create { namespace: 1, pods });
        let victim = WorkplanKey::new("ns-1", &format!("plan-{}", before + 1));
        for which in ends {
            cluster.apply(&flood);
            if cluster.queue.waits(&victim) {
                cluster.apply(&Event::End { which });
            }
        }
        prop_assert!(!cluster.queue.waits(&victim));
        prop_assert!(cluster.stored[&victim].ended_before <= 6);
    }

    #[test]
    fn namespaces_get_equal_shares(cap in 3..20_usize, sizes in prop::collection::vec(60..80_usize, 3)) {
        let caps = Caps { workplans: NonZeroUsize::new(cap), pods: None };
        let mut cluster = Cluster::new(caps);
        for (namespace, size) in sizes.iter().enumerate() {
            for _ in 0..*size {
                cluster.apply(&Event::Create { namespace, pods: 1 });
            }
        }
        for _ in 0..cap {
            // The first namespace has all of it.
            let mut first = cluster.running.iter().filter(|key| &*key.namespace == "ns-0");
            let first = first.next().cloned();
            let which = first.and_then(|key| cluster.running.iter().position(|it| *it == key));
            cluster.apply(&Event::End { which: which.unwrap_or_default() });
        }
        let counts = ["ns-0", "ns-1", "ns-2"].map(|namespace| {
            cluster.usage(|key| &*key.namespace == namespace).workplans
        });
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{counts:?}");
    }
}

fn place(queue: &AdmissionQueue, name: usize) -> Option<(usize, usize)> {
    let name = format!("plan-{name}");
    match queue.admission(&WorkplanKey::new("ns-0", &name), &name) {
        Admission::Queued(place) => place.map(|it| (it.number, it.count)),
        Admission::Admitted { .. } => None,
    }
}

#[test]
fn place_is_reported_again_when_halved() {
    let caps = Caps {
        workplans: NonZeroUsize::new(1),
        pods: None,
    };
    let mut cluster = Cluster::new(caps);
    for _ in 0..9 {
        cluster.apply(&Event::Create {
            namespace: 0,
            pods: 1,
        });
    }
    assert_eq!(cluster.queue.assign_places(3).len(), 3);
    assert_eq!(place(&cluster.queue, 2), Some((1, 8)));
    assert_eq!(place(&cluster.queue, 5), None, "not reported yet");
    assert_eq!(cluster.queue.assign_places(9).len(), 5);
    cluster.apply(&Event::End { which: 0 });
    // Places 2 and 1 are half of 1 and 2 places before; the others are not.
    assert_eq!(cluster.queue.assign_places(9).len(), 1);
    assert_eq!(place(&cluster.queue, 3), Some((1, 7)));
    assert_eq!(place(&cluster.queue, 4), Some((3, 8)));
}

#[test]
fn wide_workplan_runs_with_fewer_pods() {
    let caps = Caps {
        workplans: None,
        pods: NonZeroUsize::new(3),
    };
    let mut cluster = Cluster::new(caps);
    cluster.apply(&Event::Create {
        namespace: 0,
        pods: 40,
    });
    let key = WorkplanKey::new("ns-0", "plan-1");
    let admission = cluster.queue.admission(&key, "plan-1");
    assert_eq!(admission, Admission::Admitted { pods: 3 });
}
