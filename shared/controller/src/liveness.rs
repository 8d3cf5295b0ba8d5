use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Whether the loops that must turn still do; what `/healthz` answers from.
#[derive(Clone, Debug, Default)]
pub struct Liveness(Arc<Mutex<BTreeMap<String, Beats>>>);

#[derive(Debug)]
struct Beats {
    last: Instant,
    at_least_every: Duration,
}

impl Liveness {
    /// Declares a loop that beats at least this often from now on, else the process counts as stuck
    /// and `/healthz` answers 503, so that the kubelet restarts it.
    #[must_use = "a heartbeat that is dropped leaves the process dead"]
    pub fn heartbeat(&self, name: &str, at_least_every: Duration) -> Heartbeat {
        let heartbeat = Heartbeat {
            name: name.to_owned(),
            at_least_every,
            liveness: self.clone(),
        };
        heartbeat.beat();
        heartbeat
    }

    /// The loops that are overdue, each with the time since it last turned.
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

/// The pulse of one loop.
#[derive(Debug)]
pub struct Heartbeat {
    name: String,
    at_least_every: Duration,
    liveness: Liveness,
}

impl Heartbeat {
    /// Says that the loop has just turned.
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
    async fn a_loop_that_stops_turning_is_stuck() {
        let liveness = Liveness::default();
        let pulse = liveness.heartbeat("main loop", Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(liveness.stuck(), []);
        tokio::time::advance(Duration::from_secs(1)).await;
        let silence = Duration::from_secs(31);
        assert_eq!(liveness.stuck(), [("main loop".to_owned(), silence)]);
        pulse.beat();
        assert_eq!(liveness.stuck(), []);
    }
}
