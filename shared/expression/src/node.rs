use crate::functions::Function;
use crate::operators::Operator;
use crate::value::Value;

/// A part of an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it is in the text, in bytes: an operation at its operator.
    pub at: usize,
    /// How deeply its parts are nested.
    pub depth: u8,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Literal(Value),
    Name(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// `of.field` or `of["field"]`.
    Field {
        of: Box<Node>,
        field: String,
    },
    Has {
        of: Box<Node>,
        field: String,
    },
    Index {
        of: Box<Node>,
        index: Box<Node>,
    },
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary {
        operator: Operator,
        left: Box<Node>,
        right: Box<Node>,
    },
    Logic {
        logic: Logic,
        terms: Vec<Node>,
    },
    /// Condition, value if true, value if false.
    Conditional(Box<[Node; 3]>),
    /// The target of a method is the first argument.
    Call {
        function: Function,
        arguments: Vec<Node>,
    },
    Loop(Box<Loop>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logic {
    And,
    Or,
}

impl Logic {
    /// The value of a term that decides the value of all.
    pub fn decisive(self) -> bool {
        self == Self::Or
    }

    pub fn symbol(self) -> &'static str {
        match self {
            Self::And => "&&",
            Self::Or => "||",
        }
    }
}

/// A macro over the elements of a list or the keys of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    pub kind: LoopKind,
    pub over: Node,
    pub variable: String,
    /// The condition in `map(x, condition, value)`.
    pub filter: Option<Node>,
    pub body: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

impl LoopKind {
    pub const ALL: [Self; 5] = [
        Self::All,
        Self::Exists,
        Self::ExistsOne,
        Self::Filter,
        Self::Map,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Exists => "exists",
            Self::ExistsOne => "exists_one",
            Self::Filter => "filter",
            Self::Map => "map",
        }
    }

    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Kind {
    /// Calls `visit` with each direct part.
    pub fn for_each_part<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        match self {
            Self::Literal(_) | Self::Name(_) => {}
            Self::List(parts)
            | Self::Logic { terms: parts, .. }
            | Self::Call {
                arguments: parts, ..
            } => parts.iter().for_each(visit),
            Self::Map(entries) => {
                for (key, value) in entries {
                    visit(key);
                    visit(value);
                }
            }
            Self::Field { of, .. } | Self::Has { of, .. } | Self::Not(of) | Self::Negate(of) => {
                visit(of);
            }
            Self::Index { of: a, index: b }
            | Self::Binary {
                left: a, right: b, ..
            } => {
                visit(a);
                visit(b);
            }
            Self::Conditional(parts) => parts.iter().for_each(visit),
            Self::Loop(it) => {
                visit(&it.over);
                it.filter.iter().for_each(&mut *visit);
                visit(&it.body);
            }
        }
    }
}

impl Node {
    /// The step that the node names: `a` for `steps.a`.
    pub fn step(&self) -> Option<&str> {
        match &self.kind {
            Kind::Field { of, field } if of.is_name(STEPS) => Some(field),
            _ => None,
        }
    }

    /// The step whose outputs the node is: `a` for `steps.a.outputs`.
    pub fn outputs_of(&self) -> Option<&str> {
        match &self.kind {
            Kind::Field { of, field } if field == OUTPUTS => of.step(),
            _ => None,
        }
    }

    /// The step whose name was written as a subtraction: `a-b` for `steps.a-b.phase`.
    pub fn hyphenated_step(&self) -> Option<String> {
        let Kind::Binary {
            operator: Operator::Subtract,
            left,
            right,
        } = &self.kind
        else {
            return None;
        };
        let start = left.step().map(str::to_owned);
        let start = start.or_else(|| left.hyphenated_step())?;
        Some(format!("{start}-{}", right.first_word()?))
    }

    /// The word that the text begins with: `b` for `b.phase`.
    fn first_word(&self) -> Option<String> {
        match &self.kind {
            Kind::Name(name) => Some(name.clone()),
            Kind::Literal(Value::Int(value)) => Some(value.to_string()),
            Kind::Field { of, .. } | Kind::Index { of, .. } => of.first_word(),
            Kind::Call { arguments, .. } => arguments.first()?.first_word(),
            Kind::Loop(it) => it.over.first_word(),
            _ => None,
        }
    }

    pub fn is_name(&self, name: &str) -> bool {
        matches!(&self.kind, Kind::Name(it) if it == name)
    }

    /// The text of names and fields: `steps["a-b"].phase`. Absent for anything else.
    pub fn path(&self) -> Option<String> {
        match &self.kind {
            Kind::Name(name) => Some(name.clone()),
            Kind::Field { of, field } => Some(of.path()? + &selector(field)),
            _ => None,
        }
    }
}

/// How a field is selected: `.a` or `["a-b"]`.
pub fn selector(field: &str) -> String {
    let mut bytes = field.bytes();
    let first = bytes
        .next()
        .is_some_and(|b| b == b'_' || b.is_ascii_alphabetic());
    if first && bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
        format!(".{field}")
    } else {
        format!("[{}]", Value::from(field))
    }
}

/// The root with the steps.
pub const STEPS: &str = "steps";
/// The field of a step with its outputs.
pub const OUTPUTS: &str = "outputs";
/// The field of a step with its exit code.
pub const EXIT_CODE: &str = "exitCode";
/// The field of a step with its phase.
pub const PHASE: &str = "phase";
