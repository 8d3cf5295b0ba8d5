use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);

/// How long to wait after this many failures in a row: a quarter of a second, twice as long each time, at most
/// `longest`, spread over its upper half.
#[must_use]
pub fn backoff(failures: u32, longest: Duration) -> Duration {
    let full = FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    full.min(longest).mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_up_to_a_bound() {
        let longest = Duration::from_secs(30);
        for (failures, full) in [(1, FIRST), (2, FIRST * 2), (5, FIRST * 16), (40, longest)] {
            let wait = backoff(failures, longest);
            assert!((full / 2..=full).contains(&wait), "{failures}: {wait:?}");
        }
    }
}
