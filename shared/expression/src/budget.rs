use std::cell::Cell;

use crate::error::Problem;
use crate::limits::BUDGET;
use crate::value::Value;

/// What an evaluation may still cost.
pub struct Budget {
    left: Cell<u32>,
}

/// So many bytes of a string cost as much as an operation.
const BYTES: usize = 16;

impl Budget {
    pub fn new() -> Self {
        Self {
            left: Cell::new(BUDGET),
        }
    }

    pub fn spend(&self, operations: usize) -> Result<(), Problem> {
        let operations = u32::try_from(operations).unwrap_or(u32::MAX);
        let left = self.left.get().checked_sub(operations);
        self.left.set(left.unwrap_or_default());
        left.map(drop).ok_or(Problem::TooExpensive(BUDGET))
    }

    /// Pays for a value without what a list or map contains.
    pub fn spend_on(&self, value: &Value) -> Result<(), Problem> {
        match value {
            Value::Text(text) => self.spend_on_text(text),
            _ => self.spend(1),
        }
    }

    pub fn spend_on_text(&self, text: &str) -> Result<(), Problem> {
        self.spend(1 + text.len() / BYTES)
    }

    /// A copy, paid for while it is made.
    pub fn copy(&self, value: &Value) -> Result<Value, Problem> {
        self.spend_on(value)?;
        Ok(match value {
            Value::List(items) => {
                let items = items.iter().map(|it| self.copy(it));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            Value::Map(entries) => {
                let entries = entries.iter().map(|(key, it)| {
                    self.spend_on_text(key)?;
                    Ok((key.clone(), self.copy(it)?))
                });
                Value::Map(entries.collect::<Result<_, _>>()?)
            }
            scalar => scalar.clone(),
        })
    }
}
