use std::time::{Duration, Instant, SystemTime};

/// The time of day, read once. Later changes of the machine's clock have no effect.
pub struct Clock {
    pub up: SystemTime,
    since: Instant,
}

/// How far apart the two clocks may be read, so that times of different steps can be compared.
const APART: Duration = Duration::from_micros(5);
/// How often they are read on a busy machine.
const TRIES: usize = 20;

impl Clock {
    pub fn start() -> Self {
        Self::read_with(SystemTime::now)
    }

    fn read_with(time_of_day: impl Fn() -> SystemTime) -> Self {
        let mut closest = (Duration::MAX, Instant::now(), SystemTime::UNIX_EPOCH);
        for _ in 0..TRIES {
            let (since, now) = (Instant::now(), time_of_day());
            let apart = since.elapsed();
            if apart < closest.0 {
                closest = (apart, since, now);
            }
            if apart <= APART {
                break;
            }
        }
        let (_, since, now) = closest;
        Self { up: now, since }
    }

    /// The time since `up`.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs::Outputs;
    use crate::record::{End, Record, Stage};

    #[test]
    fn end_is_never_before_start() {
        // A clock that was read a year ahead and is then set back to now.
        let a_year = Duration::from_hours(365 * 24);
        let clock = Clock::read_with(|| SystemTime::now() + a_year);
        let started = clock.elapsed();
        let ended = clock.elapsed();
        let stage = Stage::Ended {
            ended,
            end: End::Completed { started },
            message: String::new(),
            outputs: Some(Outputs::default()),
        };
        let record = Record {
            up: clock.up,
            stage,
            earlier: Vec::new(),
        };
        assert!(record.started_at().unwrap() >= record.up);
        assert!(record.ended_at() >= record.started_at());
        assert!(record.ended_at().unwrap() > SystemTime::now());
    }
}
