use std::collections::BTreeMap;

use crate::node::STEPS;
use crate::step_values::StepValues;
use crate::value::Value;

/// The values that an expression names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    roots: BTreeMap<String, Value>,
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
        let steps = self.roots.entry(STEPS.to_owned());
        let steps = steps.or_insert_with(|| Value::Map(BTreeMap::new()));
        if let Value::Map(steps) = steps {
            steps.insert(name.to_owned(), values.into());
        }
        self
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Value> {
        self.roots.get(name)
    }
}
