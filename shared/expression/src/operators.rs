use std::cmp::Ordering;

use crate::budget::Budget;
use crate::error::Problem;
use crate::value::Value;

/// An operator with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

impl Operator {
    pub const ALL: [Self; 12] = [
        Self::Add,
        Self::Subtract,
        Self::Multiply,
        Self::Divide,
        Self::Remainder,
        Self::Equal,
        Self::NotEqual,
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::In,
    ];

    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
        }
    }

    /// How tightly it binds.
    pub fn level(self) -> u8 {
        match self {
            Self::Multiply | Self::Divide | Self::Remainder => 4,
            Self::Add | Self::Subtract => 3,
            _ => 2,
        }
    }
}

/// The value of an operation.
pub fn apply(
    operator: Operator,
    left: &Value,
    right: &Value,
    budget: &Budget,
) -> Result<Value, Problem> {
    use Operator as O;
    let value = match operator {
        O::Equal => equal(left, right, budget)?,
        O::NotEqual => !equal(left, right, budget)?,
        O::In => return is_in(left, right, budget),
        O::Less | O::LessOrEqual | O::Greater | O::GreaterOrEqual => {
            budget.spend_on(left)?;
            return order(operator, left, right).ok_or_else(|| undefined(operator, left, right));
        }
        _ => return arithmetic(operator, left, right, budget),
    };
    Ok(Value::Bool(value))
}

fn undefined(operator: Operator, left: &Value, right: &Value) -> Problem {
    Problem::Types {
        operation: operator.symbol().to_owned(),
        values: describe(&[left, right]),
    }
}

/// Values with their types, in a message.
pub fn describe(values: &[&Value]) -> String {
    let described = values
        .iter()
        .map(|it| format!("{} ({})", it.excerpt(), it.kind()));
    described.collect::<Vec<_>>().join(" and ")
}

/// Whether values are equal. Numbers are compared by their value, whatever their type.
pub fn equal(left: &Value, right: &Value, budget: &Budget) -> Result<bool, Problem> {
    budget.spend_on(left)?;
    Ok(match (left, right) {
        (Value::Int(_) | Value::Double(_), Value::Int(_) | Value::Double(_)) => {
            compare(left, right) == Some(Ordering::Equal)
        }
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len() && all_equal(left.iter().zip(right), budget)?
        }
        (Value::Map(left), Value::Map(right)) => {
            left.len() == right.len()
                && left.keys().eq(right.keys())
                && all_equal(left.values().zip(right.values()), budget)?
        }
        _ => left == right,
    })
}

fn all_equal<'v>(
    mut pairs: impl Iterator<Item = (&'v Value, &'v Value)>,
    budget: &Budget,
) -> Result<bool, Problem> {
    pairs.try_fold(true, |all, (left, right)| {
        Ok(all && equal(left, right, budget)?)
    })
}

fn is_in(item: &Value, within: &Value, budget: &Budget) -> Result<Value, Problem> {
    let found = match (item, within) {
        (_, Value::List(items)) => {
            let mut equal = items.iter().map(|it| equal(item, it, budget));
            let first = equal.find(|it| !matches!(it, Ok(false)));
            first.transpose()?.is_some()
        }
        (Value::Text(key), Value::Map(entries)) => entries.contains_key(key),
        (_, Value::Map(_)) => false,
        _ => return Err(undefined(Operator::In, item, within)),
    };
    Ok(Value::Bool(found))
}

/// `None` if the values have no order.
fn order(operator: Operator, left: &Value, right: &Value) -> Option<Value> {
    let ordered = matches!(
        (left, right),
        (
            Value::Int(_) | Value::Double(_),
            Value::Int(_) | Value::Double(_)
        ) | (Value::Text(_), Value::Text(_))
            | (Value::Bool(_), Value::Bool(_))
    );
    // Without an ordering there is a NaN, which is neither less nor greater.
    let ordering = ordered.then(|| compare(left, right))?;
    Some(Value::Bool(ordering.is_some_and(
        |ordering| match operator {
            Operator::Less => ordering.is_lt(),
            Operator::LessOrEqual => ordering.is_le(),
            Operator::Greater => ordering.is_gt(),
            _ => ordering.is_ge(),
        },
    )))
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
        (Value::Int(left), Value::Double(right)) => compare_mixed(*left, *right),
        (Value::Double(left), Value::Int(right)) => {
            compare_mixed(*right, *left).map(Ordering::reverse)
        }
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// 2^63, the first double beyond the integers.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// The integer with the whole part of a double, which must be in the range of integers.
pub fn whole(double: f64) -> Option<i64> {
    let within = (-BEYOND..BEYOND).contains(&double);
    #[expect(clippy::cast_possible_truncation, reason = "in range")]
    within.then_some(double as i64)
}

fn compare_mixed(int: i64, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    let Some(whole) = whole(double) else {
        return Some(if double > 0.0 {
            Ordering::Less
        } else {
            Ordering::Greater
        });
    };
    Some(int.cmp(&whole).then(0.0_f64.partial_cmp(&double.fract())?))
}

fn arithmetic(
    operator: Operator,
    left: &Value,
    right: &Value,
    budget: &Budget,
) -> Result<Value, Problem> {
    match (left, right) {
        (&Value::Int(left), &Value::Int(right)) => integers(operator, left, right).map(Value::Int),
        (&Value::Double(left), &Value::Double(right)) => doubles(operator, left, right)
            .ok_or_else(|| undefined(operator, &left.into(), &right.into())),
        (Value::Text(start), Value::Text(end)) if operator == Operator::Add => {
            budget.spend_on(left)?;
            budget.spend_on(right)?;
            Ok(Value::Text([start.as_str(), end].concat()))
        }
        (Value::List(start), Value::List(end)) if operator == Operator::Add => {
            let items = start.iter().chain(end);
            items
                .map(|it| budget.copy(it))
                .collect::<Result<_, _>>()
                .map(Value::List)
        }
        _ => Err(undefined(operator, left, right)),
    }
}

fn integers(operator: Operator, left: i64, right: i64) -> Result<i64, Problem> {
    let text = || format!("{left} {} {right}", operator.symbol());
    let divides = matches!(operator, Operator::Divide | Operator::Remainder);
    if divides && right == 0 {
        return Err(Problem::DivisionByZero(text()));
    }
    let value = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide => left.checked_div(right),
        _ => left.checked_rem(right),
    };
    value.ok_or_else(|| Problem::Overflow(text()))
}

fn doubles(operator: Operator, left: f64, right: f64) -> Option<Value> {
    Some(Value::Double(match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        _ => return None,
    }))
}
