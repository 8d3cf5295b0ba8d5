//! Which answers are slow: much slower than usual for their verb and resource. An admission webhook that delays each pod
//! is no sign of load.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::request::Verb;

/// An answer within this time is never slow; the objective of the API server is one second.
const NEVER_SLOW: Duration = Duration::from_millis(500);
const TIMES_USUAL: u32 = 3;
/// The usual time rises by this part of the difference to a slower answer.
const RISE: u32 = 1024;
/// The maximum of the usual time.
const USUAL_MAX: Duration = Duration::from_secs(2);

/// The usual time of answers, by verb and resource.
#[derive(Debug, Default)]
pub struct Latency(Mutex<HashMap<(Verb, String), Duration>>);

impl Latency {
    /// Records the time of an answer; returns whether it was slow.
    pub fn is_slow(&self, verb: Verb, resource: &str, took: Duration) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let usual = all.entry((verb, resource.to_owned())).or_insert(USUAL_MAX);
        *usual = match took.checked_sub(*usual) {
            Some(excess) => (*usual + excess / RISE).min(USUAL_MAX),
            None => took,
        };
        took > NEVER_SLOW && took > *usual * TIMES_USUAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(latency: &Latency, millis: u64) -> bool {
        latency.is_slow(Verb::Create, "pods", Duration::from_millis(millis))
    }

    #[test]
    fn answers_beyond_the_usual_time_are_slow() {
        let latency = Latency::default();
        assert!(slow(&latency, 10_000));
        assert!(!slow(&latency, 10));
        assert!(!slow(&latency, 500));
        assert!(slow(&latency, 501));
        let other = Duration::from_millis(501);
        assert!(!latency.is_slow(Verb::Get, "pods", other));
    }

    #[test]
    fn constantly_long_answers_are_not_slow() {
        let latency = Latency::default();
        let slow: Vec<bool> = (0..1000).map(|at| slow(&latency, 700 + at % 500)).collect();
        assert!(!slow.contains(&true));
    }
}
