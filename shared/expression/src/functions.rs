use crate::budget::Budget;
use crate::error::Problem;
use crate::operators::{describe, whole};
use crate::pattern;
use crate::types::Type;
use crate::value::Value;

/// A function or method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Matches,
    LowerAscii,
    UpperAscii,
    Trim,
    Split,
    Join,
    Replace,
    Int,
    Double,
    String,
    Bool,
}

/// How a function is called.
pub struct Signature {
    pub name: &'static str,
    pub usage: &'static str,
    pub global: bool,
    pub method: bool,
    /// The target of a method is the first one.
    pub parameters: &'static [Parameter],
    pub result: Type,
}

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    Text,
    TextList,
    Sized,
    Number,
    Scalar,
    Boolean,
}

impl Parameter {
    pub fn accepts(self, found: &Type) -> bool {
        match self {
            Self::Text => found.may_be_text(),
            Self::TextList => match found {
                Type::List(items) => items.may_be_text(),
                found => *found == Type::Any,
            },
            Self::Sized => {
                matches!(found, Type::List(_) | Type::Map(_) | Type::Record(_))
                    || found.may_be_text()
            }
            Self::Number => found.may_be_number() || found.may_be_text(),
            Self::Scalar => found.may_be_number() || found.may_be_text() || *found == Type::Bool,
            Self::Boolean => *found == Type::Bool || found.may_be_text(),
        }
    }
}

impl Function {
    pub const ALL: [Self; 15] = [
        Self::Size,
        Self::Contains,
        Self::StartsWith,
        Self::EndsWith,
        Self::Matches,
        Self::LowerAscii,
        Self::UpperAscii,
        Self::Trim,
        Self::Split,
        Self::Join,
        Self::Replace,
        Self::Int,
        Self::Double,
        Self::String,
        Self::Bool,
    ];

    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.signature().name == name)
    }

    pub fn signature(self) -> Signature {
        use Parameter::{Boolean, Number, Scalar, Sized, Text, TextList};
        match self {
            Self::Size => Signature {
                method: true,
                ..global("size", "size(a)", &[Sized], Type::Int)
            },
            Self::Contains => method("contains", "a.contains(\"b\")", &[Text, Text], Type::Bool),
            Self::StartsWith => method(
                "startsWith",
                "a.startsWith(\"b\")",
                &[Text, Text],
                Type::Bool,
            ),
            Self::EndsWith => method("endsWith", "a.endsWith(\"b\")", &[Text, Text], Type::Bool),
            Self::Matches => Signature {
                method: true,
                ..global("matches", "a.matches(r\"b+\")", &[Text, Text], Type::Bool)
            },
            Self::LowerAscii => method("lowerAscii", "a.lowerAscii()", &[Text], Type::Text),
            Self::UpperAscii => method("upperAscii", "a.upperAscii()", &[Text], Type::Text),
            Self::Trim => method("trim", "a.trim()", &[Text], Type::Text),
            Self::Split => {
                let list = Type::List(Box::new(Type::Text));
                method("split", "a.split(\",\")", &[Text, Text], list)
            }
            Self::Join => method("join", "a.join(\",\")", &[TextList, Text], Type::Text),
            Self::Replace => method(
                "replace",
                "a.replace(\"b\", \"c\")",
                &[Text, Text, Text],
                Type::Text,
            ),
            Self::Int => global("int", "int(a)", &[Number], Type::Int),
            Self::Double => global("double", "double(a)", &[Number], Type::Double),
            Self::String => global("string", "string(a)", &[Scalar], Type::Text),
            Self::Bool => global("bool", "bool(a)", &[Boolean], Type::Bool),
        }
    }

    /// The value of a call.
    pub fn call(self, arguments: &[&Value], budget: &Budget) -> Result<Value, Problem> {
        for argument in arguments {
            budget.spend_on(argument)?;
        }
        match (self, arguments) {
            (Self::Int | Self::Double | Self::String | Self::Bool, [value]) => self.convert(value),
            (Self::Size, [value]) => size(value),
            (Self::Join, [Value::List(items), Value::Text(separator)]) => {
                join(items, separator, budget)?
            }
            (_, [Value::Text(text), rest @ ..]) => self.on_text(text, rest, budget)?,
            _ => None,
        }
        .ok_or_else(|| self.undefined(arguments))
    }

    fn undefined(self, arguments: &[&Value]) -> Problem {
        let function = self.signature().name;
        match arguments {
            // The type is right, its value is not.
            [value @ (Value::Text(_) | Value::Double(_))] if function != "size" => {
                Problem::Conversion {
                    function,
                    value: value.excerpt(),
                }
            }
            _ => Problem::Types {
                operation: function.to_owned(),
                values: describe(arguments),
            },
        }
    }

    fn on_text(
        self,
        text: &str,
        rest: &[&Value],
        budget: &Budget,
    ) -> Result<Option<Value>, Problem> {
        Ok(Some(match (self, rest) {
            (Self::LowerAscii, []) => text.to_ascii_lowercase().into(),
            (Self::UpperAscii, []) => text.to_ascii_uppercase().into(),
            (Self::Trim, []) => text.trim().into(),
            (Self::Contains, [Value::Text(part)]) => text.contains(part.as_str()).into(),
            (Self::StartsWith, [Value::Text(part)]) => text.starts_with(part.as_str()).into(),
            (Self::EndsWith, [Value::Text(part)]) => text.ends_with(part.as_str()).into(),
            (Self::Matches, [Value::Text(pattern)]) => {
                pattern::matches(text, pattern, budget)?.into()
            }
            (Self::Split, [Value::Text(separator)]) => split(text, separator, budget)?,
            (Self::Replace, [Value::Text(from), Value::Text(to)]) => {
                replace(text, from, to, budget)?
            }
            _ => return Ok(None),
        }))
    }

    fn convert(self, value: &Value) -> Option<Value> {
        match self {
            Self::Int => to_int(value).map(Value::Int),
            Self::Double => to_double(value).map(Value::Double),
            Self::Bool => to_bool(value).map(Value::Bool),
            _ => to_text(value).map(Value::Text),
        }
    }
}

fn global(
    name: &'static str,
    usage: &'static str,
    parameters: &'static [Parameter],
    result: Type,
) -> Signature {
    Signature {
        name,
        usage,
        global: true,
        method: false,
        parameters,
        result,
    }
}

fn method(
    name: &'static str,
    usage: &'static str,
    parameters: &'static [Parameter],
    result: Type,
) -> Signature {
    Signature {
        global: false,
        method: true,
        ..global(name, usage, parameters, result)
    }
}

fn size(value: &Value) -> Option<Value> {
    let size = match value {
        Value::Text(text) => text.chars().count(),
        Value::List(items) => items.len(),
        Value::Map(entries) => entries.len(),
        _ => return None,
    };
    i64::try_from(size).ok().map(Value::Int)
}

fn join(items: &[Value], separator: &str, budget: &Budget) -> Result<Option<Value>, Problem> {
    let mut joined = String::new();
    for (position, item) in items.iter().enumerate() {
        let Value::Text(item) = item else {
            return Ok(None);
        };
        budget.spend_on_text(item)?;
        budget.spend_on_text(separator)?;
        if position > 0 {
            joined.push_str(separator);
        }
        joined.push_str(item);
    }
    Ok(Some(joined.into()))
}

fn split(text: &str, separator: &str, budget: &Budget) -> Result<Value, Problem> {
    if separator.is_empty() {
        budget.spend(text.len())?;
        return Ok(Value::List(
            text.chars().map(|c| c.to_string().into()).collect(),
        ));
    }
    let parts = text.split(separator).map(|part| {
        budget.spend(1)?;
        Ok(part.into())
    });
    parts.collect::<Result<_, _>>().map(Value::List)
}

fn replace(text: &str, from: &str, to: &str, budget: &Budget) -> Result<Value, Problem> {
    for _ in text.matches(from) {
        budget.spend_on_text(to)?;
    }
    Ok(text.replace(from, to).into())
}

fn to_int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(value) => Some(*value),
        // As in cel-go, the least integer is out of range, because a double near it may have been rounded to it.
        Value::Double(value) => whole(*value).filter(|it| *it != i64::MIN),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn to_double(value: &Value) -> Option<f64> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "what the conversion is for")]
        Value::Int(value) => Some(*value as f64),
        Value::Double(value) => Some(*value),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn to_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Text(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// The text of a string, number or boolean.
pub fn to_text(value: &Value) -> Option<String> {
    match value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Int(value) => Some(value.to_string()),
        Value::Double(value) => Some(value.to_string()),
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}
