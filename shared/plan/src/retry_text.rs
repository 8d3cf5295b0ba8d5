//! The text form of a retry policy, in which the step runner gets it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use crate::duration_text::DurationText;
use crate::retry::{FailureKind, RetryPolicy};

/// A text that is not a retry policy. It has the part that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotARetryPolicy(pub String);

impl fmt::Display for NotARetryPolicy {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "'{}' is not part of a retry policy such as limit=3,initial=1s,factor=2,max=300s,on=Failure+Timeout,codes=1",
            self.0
        )
    }
}

impl core::error::Error for NotARetryPolicy {}

impl fmt::Display for RetryPolicy {
    /// Writes `limit=3,initial=1s,factor=2,max=300s,on=Failure+Timeout,codes=1+75`.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, factor) = (self.limit, self.backoff.factor);
        let [initial, max] = [self.backoff.initial, self.backoff.max].map(DurationText);
        let kinds = self.on.iter().map(|kind| kind.as_str());
        let on = kinds.collect::<Vec<_>>().join("+");
        write!(
            to,
            "limit={limit},initial={initial},factor={factor},max={max},on={on}"
        )?;
        if self.exit_codes.is_empty() {
            return Ok(());
        }
        let codes = self.exit_codes.iter().map(ToString::to_string);
        write!(to, ",codes={}", codes.collect::<Vec<_>>().join("+"))
    }
}

impl FromStr for RetryPolicy {
    type Err = NotARetryPolicy;

    fn from_str(text: &str) -> Result<Self, NotARetryPolicy> {
        let mut policy = Self::default();
        for part in text.split(',') {
            let read = part
                .split_once('=')
                .and_then(|(key, value)| policy.read(key, value));
            read.ok_or_else(|| NotARetryPolicy(part.into()))?;
        }
        Ok(policy)
    }
}

impl RetryPolicy {
    fn read(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "limit" => self.limit = value.parse().ok()?,
            "initial" => self.backoff.initial = duration(value)?,
            "factor" => self.backoff.factor = value.parse().ok()?,
            "max" => self.backoff.max = duration(value)?,
            "on" => self.on = list(value, kind)?,
            "codes" => self.exit_codes = list(value, |code| code.parse().ok())?,
            _ => return None,
        }
        Some(())
    }
}

fn duration(text: &str) -> Option<Duration> {
    text.parse().ok().map(|DurationText(duration)| duration)
}

fn kind(text: &str) -> Option<FailureKind> {
    FailureKind::ALL.into_iter().find(|it| it.as_str() == text)
}

fn list<T>(text: &str, item: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let items = text.split('+').filter(|it| !it.is_empty());
    items.map(item).collect()
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use super::*;
    use crate::retry::Backoff;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            limit: 3,
            backoff: Backoff {
                initial: Duration::from_millis(500),
                factor: 2,
                max: Duration::from_mins(5),
            },
            on: vec![FailureKind::Failure, FailureKind::Timeout],
            exit_codes: vec![1, 75],
        }
    }

    #[test]
    fn written_policy_is_read_back() {
        let text = "limit=3,initial=500ms,factor=2,max=300s,on=Failure+Timeout,codes=1+75";
        assert_eq!(policy().to_string(), text);
        let others = RetryPolicy {
            on: FailureKind::ALL.to_vec(),
            exit_codes: Vec::new(),
            ..policy()
        };
        for policy in [policy(), others, RetryPolicy::default()] {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
    }

    #[test]
    fn error_has_the_wrong_part() {
        for (text, part) in [
            ("", ""),
            ("limit=3,on=Failure+Luck", "on=Failure+Luck"),
            ("limit=x", "limit=x"),
            ("limit=1,initial=1", "initial=1"),
            ("limit=1,then=2", "then=2"),
            ("limit=1,codes=1+x", "codes=1+x"),
        ] {
            let error = text.parse::<RetryPolicy>();
            assert_eq!(error, Err(NotARetryPolicy(part.into())), "{text}");
        }
    }
}
