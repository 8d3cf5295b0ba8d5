//! Durations as the schemas admit them. The `Duration` of kube writes 28 hours as `100800s` and 1.5 seconds as `1.5s`.

use std::fmt::Write;

use kube::core::Duration;
use serde::Serializer;

/// Writes a duration in hours, minutes, seconds and milliseconds.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
pub(crate) fn serialize<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*duration))
}

/// Writes a duration that is set.
#[allow(clippy::ref_option)] // serde passes a reference
pub(crate) fn serialize_some<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serialize(duration, serializer),
        None => serializer.serialize_none(),
    }
}

fn text(duration: Duration) -> String {
    let duration = std::time::Duration::from(duration);
    let seconds = duration.as_secs();
    let units = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(duration.subsec_millis()), "ms"),
    ];
    let mut text = String::new();
    for (number, unit) in units.into_iter().filter(|(number, _)| *number > 0) {
        let _ = write!(text, "{number}{unit}");
    }
    if text.is_empty() { "0s".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_schemas_admit_them() {
        let durations = ["168h", "1h30m", "90h1s", "1s500ms", "250ms", "0s"];
        for written in durations {
            let duration: Duration = written.parse().unwrap();
            assert_eq!(text(duration), written);
        }
        assert_eq!(text("90s".parse().unwrap()), "1m30s");
    }
}
