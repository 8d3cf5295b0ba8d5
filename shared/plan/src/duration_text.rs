use core::fmt;
use core::str::FromStr;
use core::time::Duration;

/// A duration as the command line of the step runner has it: whole seconds such as `90s`, or milliseconds such as
/// `1500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationText(pub Duration);

/// A text that is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotADuration;

impl fmt::Display for NotADuration {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("not a duration such as 90s or 1500ms")
    }
}

impl core::error::Error for NotADuration {}

impl fmt::Display for DurationText {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(to, "{}s", self.0.as_secs()),
            _ => write!(to, "{}ms", self.0.as_millis()),
        }
    }
}

impl FromStr for DurationText {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let number = |digits: &str| digits.parse().map_err(|_| NotADuration);
        match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(millis), _) => number(millis).map(Duration::from_millis),
            (None, Some(seconds)) => number(seconds).map(Duration::from_secs),
            (None, None) => Err(NotADuration),
        }
        .map(Self)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;

    #[test]
    fn written_duration_is_read_back() {
        for (millis, text) in [(0, "0s"), (500, "500ms"), (90_000, "90s"), (1500, "1500ms")] {
            let duration = DurationText(Duration::from_millis(millis));
            assert_eq!(duration.to_string(), text);
            assert_eq!(text.parse(), Ok(duration));
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "s",
            "ms",
            "90",
            "-1s",
            "1.5s",
            "1m",
            "99999999999999999999s",
        ] {
            assert_eq!(text.parse::<DurationText>(), Err(NotADuration), "{text}");
        }
    }
}
