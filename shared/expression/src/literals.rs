use crate::lexer::Token;

/// Whether a number has the suffix of an unsigned one.
pub fn is_unsigned(text: &str) -> bool {
    text.strip_suffix(['u', 'U'])
        .is_some_and(|digits| number(digits).is_some())
}

/// The value of a number without sign.
pub fn number(text: &str) -> Option<Token<'static>> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    if let Some(digits) = hex {
        // The standard library would accept another sign here.
        let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
        return plain.then(|| u64::from_str_radix(digits, 16).ok().map(Token::Int))?;
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(Token::Int);
    }
    let double = text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let value: f64 = double.then(|| text.parse().ok())??;
    value.is_finite().then_some(Token::Double(value))
}

/// The character of an escape sequence at the start of a text, and the length of the sequence.
pub fn escape(text: &str) -> Option<(char, usize)> {
    let second = text.chars().nth(1)?;
    let simple = match second {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' | '?' | '"' | '\'' | '`' => second,
        'x' | 'X' => return code_point(text, 2, 2, 16),
        'u' => return code_point(text, 2, 4, 16),
        'U' => return code_point(text, 2, 8, 16),
        '0'..='3' => return code_point(text, 1, 3, 8),
        _ => return None,
    };
    Some((simple, 2))
}

fn code_point(text: &str, start: usize, digits: usize, radix: u32) -> Option<(char, usize)> {
    let end = start + digits;
    let digits = text.get(start..end)?;
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = u32::from_str_radix(digits, radix).ok()?;
    Some((char::from_u32(value)?, end))
}
