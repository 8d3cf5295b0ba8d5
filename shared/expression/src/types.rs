/// What is known of the type of a value without the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Any type.
    Any,
    /// Null.
    Null,
    /// A boolean.
    Bool,
    /// An integer.
    Int,
    /// A number that is not an integer.
    Double,
    /// A string.
    Text,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// A list of values of a type.
    List(Box<Type>),
    /// A map from any strings to values of a type.
    Map(Box<Type>),
    /// A map with these keys and no others.
    Record(Vec<(&'static str, Type)>),
}

impl Type {
    /// What it is, for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Any => "any value",
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Int => "an integer",
            Self::Double => "a double",
            Self::Text | Self::OneOf(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) | Self::Record(_) => "a map",
        }
    }

    pub(crate) fn may_be_text(&self) -> bool {
        matches!(self, Self::Any | Self::Text | Self::OneOf(_))
    }

    pub(crate) fn may_be_number(&self) -> bool {
        matches!(self, Self::Any | Self::Int | Self::Double)
    }

    pub(crate) fn may_be_bool(&self) -> bool {
        matches!(self, Self::Any | Self::Bool)
    }

    /// Whether values of both types can be equal.
    pub(crate) fn comparable(&self, other: &Self) -> bool {
        let numbers = self.may_be_number() && other.may_be_number();
        numbers || *self == Self::Any || *other == Self::Any || self.kind() == other.kind()
    }

    /// The type of a value that has one of two types.
    pub(crate) fn or(self, other: &Self) -> Self {
        if self == *other {
            self
        } else if self.kind() == "a string" && other.kind() == "a string" {
            Self::Text
        } else {
            Self::Any
        }
    }
}

/// What an expression can name, with its types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    roots: Vec<(&'static str, Type)>,
}

impl Scope {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the expressions of a step can name: `steps`, with these phases, `params`, `event`, `workflow` and
    /// `workplan`.
    #[must_use]
    pub fn of_step(phases: &'static [&'static str]) -> Self {
        let step = Type::Record(vec![
            (crate::node::PHASE, Type::OneOf(phases)),
            (crate::node::EXIT_CODE, Type::Int),
            (crate::node::OUTPUTS, Type::Map(Box::new(Type::Text))),
        ]);
        Self::new()
            .with(crate::node::STEPS, Type::Map(Box::new(step)))
            .with("params", Type::Map(Box::new(Type::Any)))
            .with("event", Type::Any)
            .with("workflow", Type::Map(Box::new(Type::Any)))
            .with("workplan", Type::Map(Box::new(Type::Any)))
    }

    /// Adds a name.
    #[must_use]
    pub fn with(mut self, name: &'static str, r#type: Type) -> Self {
        self.roots.retain(|it| it.0 != name);
        self.roots.push((name, r#type));
        self
    }

    /// Removes a name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.roots.retain(|it| it.0 != name);
        self
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Type> {
        let root = self.roots.iter().find(|it| it.0 == name);
        root.map(|it| &it.1)
    }

    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self.roots.iter().map(|it| it.0).collect();
        names.join(", ")
    }
}
