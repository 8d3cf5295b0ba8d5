use crate::error::Syntax;
use crate::literals;

#[derive(Clone, Debug, PartialEq)]
pub enum Token<'t> {
    Name(&'t str),
    /// Without its sign.
    Int(u64),
    Double(f64),
    Text(String),
    Symbol(&'static str),
    End,
}

impl Token<'_> {
    /// The token in a message.
    pub fn describe(&self) -> String {
        match self {
            Self::Name(name) => format!("'{name}'"),
            Self::Int(value) => format!("'{value}'"),
            Self::Double(value) => format!("'{value:?}'"),
            Self::Text(_) => "a string".to_owned(),
            Self::Symbol(symbol) => format!("'{symbol}'"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// The longer ones first.
const SYMBOLS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "(", ")", "[", "]", "{", "}", ".", ",", "?", ":", "+", "-",
    "*", "/", "%", "<", ">", "!",
];

/// Symbols of other languages, and what they are here.
const MISTAKEN: [(char, &str); 4] = [
    ('=', "==, which compares"),
    ('&', "&&"),
    ('|', "||"),
    ('`', "a field in brackets: [\"a-b\"]"),
];

/// Where a problem is, in bytes, and what it is.
pub type Located = (usize, Syntax);

/// The tokens of a text, each with its place, and the end.
pub fn tokens(text: &str) -> Result<Vec<(usize, Token<'_>)>, Located> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let at = lexer.at;
        let token = lexer.token()?;
        let end = token == Token::End;
        tokens.push((at, token));
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Takes the longest start of which every character is accepted.
    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !accept(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn skip_blanks(&mut self) {
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\r' | '\n' | '\x0c'));
            if !self.rest().starts_with("//") {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn token(&mut self) -> Result<Token<'t>, Located> {
        let rest = self.rest();
        let mut chars = rest.chars();
        let Some(first) = chars.next() else {
            return Ok(Token::End);
        };
        let second = chars.next();
        let quoted = |c: Option<char>| matches!(c, Some('"' | '\''));
        let raw = |c: Option<char>| matches!(c, Some('r' | 'R'));
        match first {
            '"' | '\'' => self.string(false),
            'r' | 'R' if quoted(second) => {
                self.at += 1;
                self.string(true)
            }
            'b' | 'B' if quoted(second) || raw(second) && quoted(chars.next()) => {
                Err(self.unsupported("bytes", "write a string"))
            }
            '0'..='9' => self.number(),
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => self.number(),
            c if is_word(c) => Ok(Token::Name(self.take_while(is_word))),
            _ => self.symbol(first),
        }
    }

    fn symbol(&mut self, first: char) -> Result<Token<'t>, Located> {
        let rest = self.rest();
        if let Some(symbol) = SYMBOLS.into_iter().find(|it| rest.starts_with(it)) {
            self.at += symbol.len();
            return Ok(Token::Symbol(symbol));
        }
        let mistaken = MISTAKEN.into_iter().find(|it| it.0 == first);
        let expected = mistaken.map_or("a value, a name or an operator", |it| it.1);
        let found = format!("'{}'", first.escape_debug());
        Err((self.at, Syntax::Unexpected { found, expected }))
    }

    fn unsupported(&self, what: &'static str, instead: &'static str) -> Located {
        (self.at, Syntax::Unsupported { what, instead })
    }

    fn number(&mut self) -> Result<Token<'t>, Located> {
        let start = self.at;
        self.take_while(|c| c.is_ascii_digit());
        if self.rest().starts_with('.')
            && self.rest()[1..].starts_with(|c: char| c.is_ascii_digit())
        {
            self.at += 1;
        }
        self.take_while(is_word);
        let exponent = |text: &str| text.ends_with(['e', 'E']) && !text.starts_with("0x");
        if exponent(&self.text[start..self.at]) && self.rest().starts_with(['+', '-']) {
            self.at += 1;
            self.take_while(is_word);
        }
        let text = &self.text[start..self.at];
        if literals::is_unsigned(text) {
            let what = "unsigned integers";
            return Err((
                start,
                Syntax::Unsupported {
                    what,
                    instead: "leave out the u",
                },
            ));
        }
        literals::number(text).ok_or_else(|| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            let text = text.trim_start_matches('.').to_owned();
            let problem = if digits {
                Syntax::IntegerRange(text)
            } else {
                Syntax::Number(text)
            };
            (start, problem)
        })
    }

    fn string(&mut self, raw: bool) -> Result<Token<'t>, Located> {
        let start = self.at;
        let quotes = ["\"\"\"", "'''", "\"", "'"];
        let quote = quotes.into_iter().find(|it| self.rest().starts_with(it));
        let quote = quote.unwrap_or("\"");
        self.at += quote.len();
        let mut text = String::new();
        while !self.rest().starts_with(quote) {
            match self.rest().chars().next() {
                Some('\\') if !raw => self.escape(&mut text)?,
                Some('\r' | '\n') if quote.len() > 1 => self.line_end(&mut text),
                None | Some('\r' | '\n') => return Err((start, Syntax::OpenString(quote))),
                Some(c) => {
                    text.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
        self.at += quote.len();
        Ok(Token::Text(text))
    }

    /// Takes a line end of any kind as a newline.
    fn line_end(&mut self, text: &mut String) {
        self.at += if self.rest().starts_with("\r\n") {
            2
        } else {
            1
        };
        text.push('\n');
    }

    fn escape(&mut self, text: &mut String) -> Result<(), Located> {
        let (c, length) = literals::escape(self.rest()).ok_or_else(|| {
            let sequence = self.rest().chars().take(2).collect();
            (self.at, Syntax::Escape(sequence))
        })?;
        text.push(c);
        self.at += length;
        Ok(())
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}
