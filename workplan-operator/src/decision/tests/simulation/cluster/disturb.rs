//! Disturbances of pods: deletion, eviction, an image of the step runner that cannot be pulled.

use jiff::Timestamp;

use super::{Cluster, PodKey, positions};
use crate::observed::{ContainerState, ObservedContainer, PodPhase};

impl Cluster {
    /// Evicts or deletes a pod. A deletion requires that `recorded` has all steps that have run; so does an eviction
    /// without a report about the containers, as when the node is lost.
    pub fn disturb(
        &mut self,
        which: usize,
        node_is_known: bool,
        recorded: impl Fn(&str) -> bool,
        now: Timestamp,
    ) {
        let Some(&key) = self.pods.keys().nth(which % 5) else {
            return;
        };
        let pod = &self.pods[&key];
        let ran = |container: &&ObservedContainer| {
            pod.has_ended() || self.runs.contains_key(&container.name)
        };
        let ran = pod.containers.iter().filter(ran);
        let mut ran = ran.map(|container| &container.name);
        let is_known = node_is_known && ran.all(|name| recorded(name));
        let can_be_evicted = pod.node.is_some() && !pod.is_quiet();
        match which / 5 % 5 {
            0 | 1 if pod.node.is_none() || is_known => self.delete(key),
            2 if can_be_evicted => {
                self.stop(key, now);
                self.evict(key);
            }
            3 if can_be_evicted && is_known => self.evict(key),
            4 => self.has_no_runner = true,
            _ => {}
        }
    }

    fn evict(&mut self, key: PodKey) {
        let pod = self.pods.get_mut(&key).unwrap();
        (pod.phase, pod.reason) = (PodPhase::Failed, Some("Evicted".into()));
        for container in &pod.containers {
            let run = self.runs.get_mut(&container.name);
            if let Some(end @ None) = run.and_then(|runs| runs.last_mut()) {
                *end = Some(137);
            }
        }
    }

    /// Kills all containers of a pod, and reports it.
    fn stop(&mut self, key: PodKey, now: Timestamp) {
        let pod = self.pods.get_mut(&key).unwrap();
        pod.deleting = true;
        for at in positions(pod, |state| matches!(state, ContainerState::Running { .. })) {
            while matches!(
                self.pods[&key].containers[at].state,
                ContainerState::Running { .. }
            ) {
                self.end_or_turn(key, at, at, now);
            }
        }
        self.pods.get_mut(&key).unwrap().deleting = false;
    }
}
