use std::collections::BTreeMap;
use std::fmt;

use crate::error::{ParseError, Position, Syntax};
use crate::node::{EXIT_CODE, OUTPUTS, PHASE};
use crate::value::Value;

/// What an expression can name of a step. Its text form is that of a map, which [`StepValues::parse`] reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepValues {
    /// Its phase.
    pub phase: String,
    /// The exit code of its command, if that ran.
    pub exit_code: Option<i64>,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
}

impl StepValues {
    /// Parses the text form.
    ///
    /// # Errors
    /// The text is not a value, or not that of a step.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::of(Value::parse(text)?).ok_or_else(|| ParseError {
            position: Position::of(text, 0),
            problem: Syntax::NotStepValues,
        })
    }

    fn of(value: Value) -> Option<Self> {
        let Value::Map(mut fields) = value else {
            return None;
        };
        let values = Self {
            phase: text(fields.remove(PHASE)?)?,
            exit_code: match fields.remove(EXIT_CODE) {
                None => None,
                Some(Value::Int(code)) => Some(code),
                Some(_) => return None,
            },
            outputs: match fields.remove(OUTPUTS)? {
                Value::Map(outputs) => {
                    let outputs = outputs.into_iter();
                    let outputs = outputs.map(|(key, value)| Some((key, text(value)?)));
                    outputs.collect::<Option<_>>()?
                }
                _ => return None,
            },
        };
        fields.is_empty().then_some(values)
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

impl From<StepValues> for Value {
    fn from(values: StepValues) -> Self {
        let mut step = BTreeMap::from([
            (PHASE.to_owned(), values.phase.into()),
            (OUTPUTS.to_owned(), values.outputs.into_iter().collect()),
        ]);
        if let Some(exit_code) = values.exit_code {
            step.insert(EXIT_CODE.to_owned(), exit_code.into());
        }
        Self::Map(step)
    }
}

impl fmt::Display for StepValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Value::from(self.clone()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = StepValues> {
        let outputs = prop::collection::btree_map("[a-z_-]{1,4}", any::<String>(), 0..4);
        let parts = ("[a-z]{0,9}", prop::option::of(any::<i64>()), outputs);
        parts.prop_map(|(phase, exit_code, outputs)| StepValues {
            phase,
            exit_code,
            outputs,
        })
    }

    proptest! {
        #[test]
        fn printed_values_are_parsed_back(values in values()) {
            prop_assert_eq!(StepValues::parse(&values.to_string()), Ok(values));
        }
    }

    #[test]
    fn other_values_are_refused() {
        let others = [
            "1",
            "{}",
            r#"{"phase": "failed"}"#,
            r#"{"phase": 1, "outputs": {}}"#,
            r#"{"phase": "failed", "outputs": {"a": 1}}"#,
            r#"{"phase": "failed", "outputs": {}, "exitCode": "1"}"#,
            r#"{"phase": "failed", "outputs": {}, "more": 1}"#,
        ];
        for text in others {
            let error = StepValues::parse(text).unwrap_err();
            assert_eq!(error.problem, Syntax::NotStepValues, "{text}");
        }
    }
}
