use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The main loops and when each last ran: the state that `/healthz` returns.
#[derive(Clone, Debug, Default)]
pub struct Liveness(Arc<Mutex<BTreeMap<String, Beats>>>);

#[derive(Debug)]
struct Beats {
    last: Instant,
    at_least_every: Duration,
}

impl Liveness {
    /// Declares a loop that beats at least this often from now on. Otherwise it is stuck: `/healthz` returns 503, and the
    /// kubelet restarts the process.
    #[must_use = "a loop without its heartbeat is stuck"]
    pub fn heartbeat(&self, name: &str, at_least_every: Duration) -> Heartbeat {
        let heartbeat = Heartbeat {
            name: name.to_owned(),
            at_least_every,
            liveness: self.clone(),
        };
        heartbeat.beat();
        heartbeat
    }

    /// The stuck loops, each with the time since it last ran.
    pub(crate) fn stuck(&self) -> Vec<(String, Duration)> {
        let beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let silences = beats
            .iter()
            .map(|(name, beats)| (name, beats, beats.last.elapsed()));
        silences
            .filter(|(_, beats, silence)| *silence > beats.at_least_every)
            .map(|(name, _, silence)| (name.clone(), silence))
            .collect()
    }
}

/// The heartbeat of one loop.
#[derive(Debug)]
pub struct Heartbeat {
    name: String,
    at_least_every: Duration,
    liveness: Liveness,
}

impl Heartbeat {
    /// Marks that the loop runs.
    pub fn beat(&self) {
        let mut beats = self
            .liveness
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Beats {
            last: Instant::now(),
            at_least_every: self.at_least_every,
        };
        beats.insert(self.name.clone(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn loop_without_heartbeat_is_stuck() {
        let liveness = Liveness::default();
        let heartbeat = liveness.heartbeat("main loop", Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(liveness.stuck(), []);
        tokio::time::advance(Duration::from_secs(1)).await;
        let silence = Duration::from_secs(31);
        assert_eq!(liveness.stuck(), [("main loop".to_owned(), silence)]);
        heartbeat.beat();
        assert_eq!(liveness.stuck(), []);
    }
}
