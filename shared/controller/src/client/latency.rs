//! Which answers are slow: far slower than usual for what was asked. An admission webhook that takes its
//! time with each pod is no sign of load.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::request::Verb;

/// No answer within this time is slow; the API server's own objective is a second.
const PROMPT: Duration = Duration::from_millis(500);
const TIMES_USUAL: u32 = 3;
/// What counts as usual follows slower answers by this part of the difference.
const RISE: u32 = 1024;
/// More than this is never usual.
const USUAL_MAX: Duration = Duration::from_secs(2);

/// How long answers usually take, by verb and resource.
#[derive(Debug, Default)]
pub struct Latency(Mutex<HashMap<(Verb, String), Duration>>);

impl Latency {
    /// Takes note of how long an answer took, and says whether it was slow.
    pub fn is_slow(&self, verb: Verb, resource: &str, took: Duration) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let usual = all.entry((verb, resource.to_owned())).or_insert(USUAL_MAX);
        *usual = match took.checked_sub(*usual) {
            Some(excess) => (*usual + excess / RISE).min(USUAL_MAX),
            None => took,
        };
        took > PROMPT && took > *usual * TIMES_USUAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(latency: &Latency, millis: u64) -> bool {
        latency.is_slow(Verb::Create, "pods", Duration::from_millis(millis))
    }

    #[test]
    fn answers_far_beyond_the_usual_are_slow() {
        let latency = Latency::default();
        assert!(slow(&latency, 10_000));
        assert!(!slow(&latency, 10));
        assert!(!slow(&latency, 500));
        assert!(slow(&latency, 501));
        let other = Duration::from_millis(501);
        assert!(!latency.is_slow(Verb::Get, "pods", other));
    }

    #[test]
    fn answers_that_always_take_long_are_not_slow() {
        let latency = Latency::default();
        let slow: Vec<bool> = (0..1000).map(|at| slow(&latency, 700 + at % 500)).collect();
        assert!(!slow.contains(&true));
    }
}
