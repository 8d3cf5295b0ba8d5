use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::budget::Budget;
use crate::context::Context;
use crate::error::Problem;
use crate::functions::Function;
use crate::node::{EXIT_CODE, Kind, Logic, Loop, LoopKind, Node, STEPS, selector};
use crate::operators::{self, describe};
use crate::value::Value;

/// Where a problem is, in bytes, and what it is.
pub type Located = Box<(usize, Problem)>;
type Evaluated<'e> = Result<Cow<'e, Value>, Located>;

/// The value of an expression.
pub fn evaluate(node: &Node, context: &Context) -> Result<Value, Located> {
    let budget = Budget::new();
    let evaluator = Evaluator {
        context,
        budget: &budget,
    };
    let value = evaluator.evaluate(node, None)?;
    own(value, &budget).map_err(at(node))
}

/// A variable of a macro and those around it.
#[derive(Clone, Copy)]
struct Variable<'e> {
    name: &'e str,
    value: &'e Value,
    outer: Variables<'e>,
}

type Variables<'e> = Option<&'e Variable<'e>>;

#[derive(Clone, Copy)]
struct Evaluator<'c> {
    context: &'c Context,
    budget: &'c Budget,
}

fn at(node: &Node) -> impl Fn(Problem) -> Located {
    let at = node.at;
    move |problem| Box::new((at, problem))
}

fn own(value: Cow<'_, Value>, budget: &Budget) -> Result<Value, Problem> {
    match value {
        Cow::Owned(value) => Ok(value),
        Cow::Borrowed(value) => budget.copy(value),
    }
}

fn owned<'e>(value: Value) -> Cow<'e, Value> {
    Cow::Owned(value)
}

impl<'c> Evaluator<'c> {
    fn evaluate<'e>(self, node: &'e Node, variables: Variables<'e>) -> Evaluated<'e>
    where
        'c: 'e,
    {
        self.budget.spend(1).map_err(at(node))?;
        match &node.kind {
            Kind::Literal(value) => Ok(Cow::Borrowed(value)),
            Kind::Name(name) => self.name(node, name, variables),
            Kind::List(items) => self.list(items, variables),
            Kind::Map(entries) => self.map(entries, variables),
            Kind::Field { of, field } => {
                let value = self.evaluate(of, variables)?;
                field_of(value, of, field).map_err(at(node))
            }
            Kind::Has { of, field } => {
                let value = self.evaluate(of, variables)?;
                let Value::Map(entries) = value.as_ref() else {
                    return undefined(node, "has", &[&value]);
                };
                Ok(owned(entries.contains_key(field).into()))
            }
            Kind::Index { of, index } => {
                let index = self.evaluate(index, variables)?;
                let value = self.evaluate(of, variables)?;
                element_of(value, of, &index).map_err(at(node))
            }
            Kind::Not(of) => Ok(owned((!self.boolean(node, "!", of, variables)?).into())),
            Kind::Negate(of) => self.negate(node, of, variables),
            Kind::Binary {
                operator,
                left,
                right,
            } => {
                let left = self.evaluate(left, variables)?;
                let right = self.evaluate(right, variables)?;
                let value = operators::apply(*operator, &left, &right, self.budget);
                value.map(Cow::Owned).map_err(at(node))
            }
            Kind::Logic { logic, terms } => {
                let terms = terms
                    .iter()
                    .map(|it| self.boolean(node, logic.symbol(), it, variables));
                decide(*logic, terms).map(|it| owned(it.into()))
            }
            Kind::Conditional(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                let holds = self.boolean(node, "?", condition, variables)?;
                self.evaluate(if holds { then } else { otherwise }, variables)
            }
            Kind::Call {
                function,
                arguments,
            } => self.call(node, *function, arguments, variables),
            Kind::Loop(it) => self.over(node, it, variables),
        }
    }

    fn name<'e>(self, node: &Node, name: &str, mut variables: Variables<'e>) -> Evaluated<'e>
    where
        'c: 'e,
    {
        while let Some(variable) = variables {
            if variable.name == name {
                return Ok(Cow::Borrowed(variable.value));
            }
            variables = variable.outer;
        }
        let value = self.context.find(name).map(Cow::Borrowed);
        value.ok_or_else(|| at(node)(Problem::NoName(name.to_owned())))
    }

    fn value<'e>(self, node: &'e Node, variables: Variables<'e>) -> Result<Value, Located>
    where
        'c: 'e,
    {
        own(self.evaluate(node, variables)?, self.budget).map_err(at(node))
    }

    fn list<'e>(self, items: &'e [Node], variables: Variables<'e>) -> Evaluated<'e>
    where
        'c: 'e,
    {
        let items = items.iter().map(|it| self.value(it, variables));
        Ok(owned(Value::List(items.collect::<Result<_, _>>()?)))
    }

    fn map<'e>(self, entries: &'e [(Node, Node)], variables: Variables<'e>) -> Evaluated<'e>
    where
        'c: 'e,
    {
        let mut map = BTreeMap::new();
        for (node, value) in entries {
            let key = match self.value(node, variables)? {
                Value::Text(key) => key,
                other => return undefined(node, "a key of a map", &[&other]),
            };
            let value = self.value(value, variables)?;
            if map.contains_key(&key) {
                return Err(at(node)(Problem::DuplicateKey(Value::Text(key).excerpt())));
            }
            map.insert(key, value);
        }
        Ok(owned(Value::Map(map)))
    }

    fn boolean<'e>(
        self,
        node: &Node,
        operation: &str,
        of: &'e Node,
        variables: Variables<'e>,
    ) -> Result<bool, Located>
    where
        'c: 'e,
    {
        match self.evaluate(of, variables)?.as_ref() {
            Value::Bool(value) => Ok(*value),
            other => undefined(node, operation, &[other]),
        }
    }

    fn negate<'e>(self, node: &Node, of: &'e Node, variables: Variables<'e>) -> Evaluated<'e>
    where
        'c: 'e,
    {
        match self.evaluate(of, variables)?.as_ref() {
            Value::Int(value) => {
                let negative = value.checked_neg().map(|it| owned(it.into()));
                negative.ok_or_else(|| at(node)(Problem::Overflow(format!("-({value})"))))
            }
            Value::Double(value) => Ok(owned((-value).into())),
            other => undefined(node, "-", &[other]),
        }
    }

    fn call<'e>(
        self,
        node: &Node,
        function: Function,
        arguments: &'e [Node],
        variables: Variables<'e>,
    ) -> Evaluated<'e>
    where
        'c: 'e,
    {
        let arguments = arguments.iter().map(|it| self.evaluate(it, variables));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        let arguments: Vec<&Value> = arguments.iter().map(AsRef::as_ref).collect();
        let value = function.call(&arguments, self.budget);
        value.map(Cow::Owned).map_err(at(node))
    }

    fn over<'e>(self, node: &Node, it: &'e Loop, variables: Variables<'e>) -> Evaluated<'e>
    where
        'c: 'e,
    {
        let over = self.evaluate(&it.over, variables)?;
        let keys;
        let elements = match over.as_ref() {
            Value::List(items) => items,
            Value::Map(entries) => {
                let copies = entries.keys().map(|key| {
                    self.budget.spend_on_text(key)?;
                    Ok(Value::Text(key.clone()))
                });
                keys = copies.collect::<Result<Vec<_>, _>>().map_err(at(node))?;
                &keys
            }
            other => return undefined(node, it.kind.name(), &[other]),
        };
        self.elements(node, it, elements, variables).map(Cow::Owned)
    }

    fn elements(
        self,
        node: &Node,
        it: &Loop,
        elements: &[Value],
        outer: Variables<'_>,
    ) -> Result<Value, Located> {
        let holds = |condition: &Node, value: &Value| {
            let variable = Variable {
                name: &it.variable,
                value,
                outer,
            };
            self.boolean(node, it.kind.name(), condition, Some(&variable))
        };
        let body = |value: &Value| {
            let variable = Variable {
                name: &it.variable,
                value,
                outer,
            };
            self.value(&it.body, Some(&variable))
        };
        let bodies = || elements.iter().map(|value| holds(&it.body, value));
        match it.kind {
            LoopKind::All => decide(Logic::And, bodies()).map(Value::Bool),
            LoopKind::Exists => decide(Logic::Or, bodies()).map(Value::Bool),
            LoopKind::ExistsOne => {
                let holds: Vec<bool> = bodies().collect::<Result<_, _>>()?;
                let count = holds.into_iter().filter(|it| *it).count();
                Ok(Value::Bool(count == 1))
            }
            LoopKind::Filter => {
                let mut found = Vec::new();
                for value in elements {
                    if holds(&it.body, value)? {
                        found.push(self.budget.copy(value).map_err(at(node))?);
                    }
                }
                Ok(Value::List(found))
            }
            LoopKind::Map => {
                let mut values = Vec::new();
                for value in elements {
                    let filter = it.filter.as_ref().map(|it| holds(it, value));
                    if filter.transpose()?.unwrap_or(true) {
                        values.push(body(value)?);
                    }
                }
                Ok(Value::List(values))
            }
        }
    }
}

/// Terms until one decides. An error counts only if no other term decides.
fn decide(
    logic: Logic,
    terms: impl Iterator<Item = Result<bool, Located>>,
) -> Result<bool, Located> {
    let mut error = None;
    for term in terms {
        match term {
            Ok(value) if value == logic.decisive() => return Ok(value),
            Ok(_) => {}
            Err(problem) if matches!(problem.1, Problem::TooExpensive(_)) => return Err(problem),
            Err(problem) => error = error.or(Some(problem)),
        }
    }
    error.map_or(Ok(!logic.decisive()), Err)
}

fn field_of<'e>(value: Cow<'e, Value>, of: &Node, field: &str) -> Result<Cow<'e, Value>, Problem> {
    match value {
        Cow::Borrowed(Value::Map(entries)) => {
            let found = entries.get(field).map(Cow::Borrowed);
            found.ok_or_else(|| no_field(entries, of, field))
        }
        Cow::Owned(Value::Map(mut entries)) => {
            let found = entries.remove(field).map(Cow::Owned);
            found.ok_or_else(|| no_field(&entries, of, field))
        }
        other => Err(Problem::Types {
            operation: format!("the field {field}"),
            values: describe(&[&other]),
        }),
    }
}

fn element_of<'e>(
    value: Cow<'e, Value>,
    of: &Node,
    index: &Value,
) -> Result<Cow<'e, Value>, Problem> {
    let (length, position) = match (value.as_ref(), index) {
        (Value::Map(_), Value::Text(key)) => return field_of(value, of, key),
        (Value::List(items), Value::Int(index)) => (items.len(), usize::try_from(*index).ok()),
        (Value::List(items), Value::Double(index)) if index.fract() == 0.0 => {
            let whole = operators::whole(*index);
            (items.len(), whole.and_then(|it| usize::try_from(it).ok()))
        }
        (value, index) => {
            return Err(Problem::Types {
                operation: "[]".to_owned(),
                values: describe(&[value, index]),
            });
        }
    };
    let element = position.and_then(|position| match value {
        Cow::Borrowed(Value::List(items)) => items.get(position).map(Cow::Borrowed),
        Cow::Owned(Value::List(items)) => items.into_iter().nth(position).map(Cow::Owned),
        _ => None,
    });
    let index = index.excerpt();
    element.ok_or(Problem::NoElement { index, length })
}

fn no_field(entries: &BTreeMap<String, Value>, of: &Node, field: &str) -> Problem {
    if let Some(step) = of.outputs_of() {
        let known: Vec<_> = entries.keys().map(String::as_str).collect();
        return Problem::NoOutput {
            step: step.to_owned(),
            output: field.to_owned(),
            known: match known.as_slice() {
                [] => "it has none".to_owned(),
                known => format!("its outputs are {}", known.join(", ")),
            },
        };
    }
    match of.step() {
        Some(step) if field == EXIT_CODE => Problem::NoExitCode(step.to_owned()),
        _ if of.is_name(STEPS) => Problem::NoStep(field.to_owned()),
        _ => Problem::NoKey {
            of: of.path().unwrap_or_else(|| "the map".to_owned()),
            key: selector(field).trim_start_matches('.').to_owned(),
        },
    }
}

fn undefined<T>(node: &Node, operation: &str, values: &[&Value]) -> Result<T, Located> {
    Err(at(node)(Problem::Types {
        operation: operation.to_owned(),
        values: describe(values),
    }))
}
