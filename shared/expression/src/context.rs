use std::collections::BTreeMap;

use crate::node::{EXIT_CODE, OUTPUTS, PHASE, STEPS};
use crate::value::Value;

/// The values that an expression names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    roots: BTreeMap<String, Value>,
}

/// What an expression can name of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepValues {
    /// Its phase.
    pub phase: String,
    /// The exit code of its command, if that ran.
    pub exit_code: Option<i64>,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
}

impl Context {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value, such as `params`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.roots.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a step to `steps`.
    #[must_use]
    pub fn with_step(mut self, name: &str, values: StepValues) -> Self {
        let outputs: Value = values.outputs.into_iter().collect();
        let mut step = BTreeMap::from([
            (PHASE.to_owned(), values.phase.into()),
            (OUTPUTS.to_owned(), outputs),
        ]);
        if let Some(exit_code) = values.exit_code {
            step.insert(EXIT_CODE.to_owned(), exit_code.into());
        }
        let steps = self.roots.entry(STEPS.to_owned());
        let steps = steps.or_insert_with(|| Value::Map(BTreeMap::new()));
        if let Value::Map(steps) = steps {
            steps.insert(name.to_owned(), Value::Map(step));
        }
        self
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Value> {
        self.roots.get(name)
    }
}
