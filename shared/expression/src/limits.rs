/// What a text may contain, so that none takes long to parse, to check or to drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Its length in bytes.
    pub length: usize,
    /// Its literals, names, operators and calls.
    pub nodes: usize,
    /// How deeply they are nested.
    pub depth: u8,
}

impl Limits {
    /// The limits of an expression.
    pub const EXPRESSION: Self = Self {
        length: 4096,
        nodes: 1000,
        depth: 64,
    };

    /// The limits of the text form of a value.
    pub const VALUE: Self = Self {
        length: 256 * 1024,
        nodes: 20_000,
        depth: 64,
    };
}

/// What one evaluation may cost: one for each operation and each element, and for each 16 bytes of strings that it
/// reads or copies.
pub const BUDGET: u32 = 200_000;
