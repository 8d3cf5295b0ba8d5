use crate::error::Mistake;
use crate::functions::Function;
use crate::node::{Kind, Logic, Loop, LoopKind, Node, STEPS};
use crate::operators::Operator;
use crate::types::{Scope, Type};
use crate::value::Value;

/// Where a mistake is, in bytes, and what it is.
pub type Located = (usize, Mistake);
type Checked = Result<Type, Located>;

/// The type of an expression, as far as it is known without values.
pub fn check(node: &Node, scope: &Scope) -> Checked {
    Checker { scope }.check(node, None)
}

/// A variable of a macro and those around it.
#[derive(Clone, Copy)]
struct Variable<'b> {
    name: &'b str,
    r#type: &'b Type,
    outer: Variables<'b>,
}

type Variables<'b> = Option<&'b Variable<'b>>;

fn find<'b>(mut variables: Variables<'b>, name: &str) -> Option<&'b Type> {
    while let Some(variable) = variables {
        if variable.name == name {
            return Some(variable.r#type);
        }
        variables = variable.outer;
    }
    None
}

struct Checker<'s> {
    scope: &'s Scope,
}

impl Checker<'_> {
    fn check(&self, node: &Node, variables: Variables<'_>) -> Checked {
        let part = |part: &Node| self.check(part, variables);
        match &node.kind {
            Kind::Literal(value) => Ok(of_literal(value)),
            Kind::Name(name) => self.name(node, name, variables),
            Kind::List(items) => self
                .items(items.iter(), variables)
                .map(|it| Type::List(Box::new(it))),
            Kind::Map(entries) => self.map(entries, variables),
            Kind::Field { of, field } => self.field(node, of, field, variables),
            Kind::Has { of, field } => self.field(node, of, field, variables).map(|_| Type::Bool),
            Kind::Index { of, index } => self.index(node, of, index, variables),
            Kind::Not(of) => {
                let found = part(of)?;
                let right = found.may_be_bool().then_some(Type::Bool);
                right.ok_or_else(|| undefined(node, "!", &[&found], "it takes a boolean"))
            }
            Kind::Negate(of) => {
                let found = part(of)?;
                let right = found.may_be_number().then(|| found.clone());
                right.ok_or_else(|| undefined(node, "-", &[&found], "it takes a number"))
            }
            Kind::Binary {
                operator,
                left,
                right,
            } => self.binary(node, *operator, left, right, variables),
            Kind::Logic { logic, terms } => self.logic(*logic, terms, variables),
            Kind::Conditional(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                self.boolean(condition, "?", variables)?;
                Ok(part(then)?.or(&part(otherwise)?))
            }
            Kind::Call {
                function,
                arguments,
            } => self.call(node, *function, arguments, variables),
            Kind::Loop(it) => self.macro_loop(node, it, variables),
        }
    }

    fn name(&self, node: &Node, name: &str, variables: Variables<'_>) -> Checked {
        if let Some(found) = find(variables, name) {
            return Ok(found.clone());
        }
        match self.scope.find(name) {
            Some(_) if name == STEPS => Err((node.at, Mistake::StepNotNamed)),
            Some(found) => Ok(found.clone()),
            None => Err((
                node.at,
                Mistake::UnknownName {
                    name: name.to_owned(),
                    known: self.scope.names(),
                },
            )),
        }
    }

    /// The type that all items have, or any.
    fn items<'n>(
        &self,
        mut items: impl Iterator<Item = &'n Node>,
        variables: Variables<'_>,
    ) -> Checked {
        let Some(first) = items.next() else {
            return Ok(Type::Any);
        };
        let first = self.check(first, variables)?;
        items.try_fold(first, |all, item| Ok(all.or(&self.check(item, variables)?)))
    }

    fn map(&self, entries: &[(Node, Node)], variables: Variables<'_>) -> Checked {
        for (key, _) in entries {
            let found = self.check(key, variables)?;
            if !found.may_be_text() {
                return Err(undefined(
                    key,
                    "a key of a map",
                    &[&found],
                    "it is a string",
                ));
            }
        }
        let values = self.items(entries.iter().map(|it| &it.1), variables)?;
        Ok(Type::Map(Box::new(values)))
    }

    fn field(&self, node: &Node, of: &Node, field: &str, variables: Variables<'_>) -> Checked {
        let is_steps = of.is_name(STEPS) && find(variables, STEPS).is_none();
        let found = match self.scope.find(STEPS) {
            Some(steps) if is_steps => steps.clone(),
            _ => self.check(of, variables)?,
        };
        match found {
            Type::Any => Ok(Type::Any),
            Type::Map(value) => Ok(*value),
            Type::Record(fields) => {
                let known: Vec<_> = fields.iter().map(|it| it.0).collect();
                let known = known.join(", ");
                let found = fields.into_iter().find(|it| it.0 == field);
                found.map(|it| it.1).ok_or_else(|| {
                    let of = of.path().unwrap_or_else(|| "the map".to_owned());
                    let field = field.to_owned();
                    (node.at, Mistake::UnknownField { of, field, known })
                })
            }
            other => {
                let operation = format!("the field {field}");
                Err(undefined(
                    node,
                    &operation,
                    &[&other],
                    "only maps have fields",
                ))
            }
        }
    }

    fn index(&self, node: &Node, of: &Node, index: &Node, variables: Variables<'_>) -> Checked {
        let found = self.check(of, variables)?;
        let index = self.check(index, variables)?;
        match &found {
            Type::List(items) if index.may_be_number() => Ok((**items).clone()),
            Type::Map(values) if index.may_be_text() => Ok((**values).clone()),
            Type::Record(_) if index.may_be_text() => Ok(Type::Any),
            Type::Any => Ok(Type::Any),
            _ => {
                let hint = "a list takes an integer, a map a string";
                Err(undefined(node, "[]", &[&found, &index], hint))
            }
        }
    }

    fn binary(
        &self,
        node: &Node,
        operator: Operator,
        left: &Node,
        right: &Node,
        variables: Variables<'_>,
    ) -> Checked {
        if let Some(step) = node
            .hyphenated_step()
            .filter(|_| find(variables, STEPS).is_none())
        {
            return Err((node.at, Mistake::Hyphen { step }));
        }
        let types = [self.check(left, variables)?, self.check(right, variables)?];
        never_equal(operator, (left, &types[0]), (right, &types[1]))?;
        let [left, right] = &types;
        result(operator, left, right).ok_or_else(|| {
            undefined(
                node,
                operator.symbol(),
                &[left, right],
                hint(operator, left, right),
            )
        })
    }

    fn logic(&self, logic: Logic, terms: &[Node], variables: Variables<'_>) -> Checked {
        for term in terms {
            self.boolean(term, logic.symbol(), variables)?;
        }
        Ok(Type::Bool)
    }

    fn boolean(
        &self,
        node: &Node,
        operation: &str,
        variables: Variables<'_>,
    ) -> Result<(), Located> {
        let found = self.check(node, variables)?;
        if found.may_be_bool() {
            return Ok(());
        }
        Err(undefined(
            node,
            operation,
            &[&found],
            "it takes booleans; compare, as in a == b",
        ))
    }

    fn call(
        &self,
        node: &Node,
        function: Function,
        arguments: &[Node],
        variables: Variables<'_>,
    ) -> Checked {
        let signature = function.signature();
        for (argument, parameter) in arguments.iter().zip(signature.parameters) {
            let found = self.check(argument, variables)?;
            if !parameter.accepts(&found) {
                let hint = format!("it is written {}", signature.usage);
                return Err(undefined(node, signature.name, &[&found], &hint));
            }
        }
        Ok(signature.result)
    }

    fn macro_loop(&self, node: &Node, it: &Loop, variables: Variables<'_>) -> Checked {
        let over = self.check(&it.over, variables)?;
        let element = match &over {
            Type::List(items) => (**items).clone(),
            Type::Map(_) | Type::Record(_) => Type::Text,
            Type::Any => Type::Any,
            _ => {
                return Err(undefined(
                    node,
                    it.kind.name(),
                    &[&over],
                    "it takes a list or a map",
                ));
            }
        };
        let variable = Variable {
            name: &it.variable,
            r#type: &element,
            outer: variables,
        };
        let variables = Some(&variable);
        if let Some(filter) = &it.filter {
            self.boolean(filter, it.kind.name(), variables)?;
        }
        if it.kind == LoopKind::Map {
            return Ok(Type::List(Box::new(self.check(&it.body, variables)?)));
        }
        self.boolean(&it.body, it.kind.name(), variables)?;
        Ok(match it.kind {
            LoopKind::Filter => Type::List(Box::new(element)),
            _ => Type::Bool,
        })
    }
}

fn of_literal(value: &Value) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Double(_) => Type::Double,
        Value::Text(_) => Type::Text,
        Value::List(_) => Type::List(Box::new(Type::Any)),
        Value::Map(_) => Type::Map(Box::new(Type::Any)),
    }
}

/// The type of an operation, if it is defined.
fn result(operator: Operator, left: &Type, right: &Type) -> Option<Type> {
    let (any, same) = (Type::Any, left.kind() == right.kind());
    let known = if *left == any { right } else { left };
    match operator {
        Operator::Equal | Operator::NotEqual => {
            // Anything may be missing.
            let null = *left == Type::Null || *right == Type::Null;
            (null || left.comparable(right)).then_some(Type::Bool)
        }
        Operator::In => match right {
            Type::List(items) => items.comparable(left).then_some(Type::Bool),
            Type::Map(_) | Type::Record(_) => left.may_be_text().then_some(Type::Bool),
            _ => (*right == any).then_some(Type::Bool),
        },
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            let ordered = |it: &Type| it.may_be_number() || it.may_be_text() || it.may_be_bool();
            (ordered(known) && left.comparable(right)).then_some(Type::Bool)
        }
        _ if *known == any => Some(any),
        _ if !same && *left != any && *right != any => None,
        Operator::Add => match known {
            Type::Int | Type::Double => Some(known.clone()),
            Type::Text | Type::OneOf(_) => Some(Type::Text),
            Type::List(_) if left == right => Some(left.clone()),
            Type::List(_) => Some(Type::List(Box::new(any))),
            _ => None,
        },
        Operator::Remainder => (*known == Type::Int).then_some(Type::Int),
        _ => known.may_be_number().then(|| known.clone()),
    }
}

fn hint(operator: Operator, left: &Type, right: &Type) -> &'static str {
    let one_is = |it: &dyn Fn(&Type) -> bool| it(left) || it(right);
    let number = one_is(&Type::may_be_number);
    let text = one_is(&Type::may_be_text);
    match operator {
        Operator::In if matches!(right, Type::List(_)) => "convert it to the type of the elements",
        _ if number && text => "convert one of them with int(), double() or string()",
        Operator::In => "to the right of it is a list or a map",
        _ if number && *left != *right => "convert one of them with int() or double()",
        Operator::Remainder => "it takes integers",
        Operator::Add => "it takes two numbers, two strings or two lists",
        Operator::Subtract | Operator::Multiply | Operator::Divide => "it takes two numbers",
        _ => "both sides have one type",
    }
}

/// Refuses the comparison with a value that a string never has.
fn never_equal(
    operator: Operator,
    left: (&Node, &Type),
    right: (&Node, &Type),
) -> Result<(), Located> {
    let (of, known, literals) = match (operator, left, right) {
        (
            Operator::Equal | Operator::NotEqual | Operator::In,
            (of, Type::OneOf(known)),
            (literal, _),
        )
        | (Operator::Equal | Operator::NotEqual, (literal, _), (of, Type::OneOf(known))) => {
            match &literal.kind {
                Kind::List(items) if operator == Operator::In => (of, *known, items.as_slice()),
                _ if operator == Operator::In => return Ok(()),
                _ => (of, *known, std::slice::from_ref(literal)),
            }
        }
        _ => return Ok(()),
    };
    for literal in literals {
        if let Kind::Literal(Value::Text(value)) = &literal.kind
            && !known.contains(&value.as_str())
        {
            let mistake = Mistake::NeverEqual {
                of: of.path().unwrap_or_else(|| "the value".to_owned()),
                value: value.clone(),
                known: known.join(", "),
            };
            return Err((literal.at, mistake));
        }
    }
    Ok(())
}

fn undefined(node: &Node, operation: &str, types: &[&Type], hint: &str) -> Located {
    let types: Vec<_> = types.iter().map(|it| it.kind()).collect();
    let mistake = Mistake::Types {
        operation: operation.to_owned(),
        types: types.join(" and "),
        hint: hint.to_owned(),
    };
    (node.at, mistake)
}
