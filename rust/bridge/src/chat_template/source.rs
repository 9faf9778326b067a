//! A template's text before it is compiled: tags that minijinja does not know, and constants that
//! would grow.

use crate::error::Error;
use minijinja::machinery::{tokenize, Token, WhitespaceConfig};

/// What constants of the template may grow to before it runs.
const MAX_CONSTANT_BYTES: u64 = 16 << 20;

/// Where a tag ends, behind its closing marks; texts in quotes are passed over.
fn tag_end(tag: &str, closing: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in tag.char_indices().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if tag[at..].starts_with(closing) => return Some(at + closing.len()),
            None if c == '"' || c == '\'' => quote = Some(c),
            None => {}
        }
    }
    None
}

/// `{% generation %}`, which marks the assistant's text for training, as a block of its own scope.
pub fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut raw = false;
    while let Some(at) = rest.find('{') {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let end = match tag.as_bytes().get(1) {
            Some(b'%') => tag_end(tag, "%}"),
            Some(b'{') if !raw => tag_end(tag, "}}"),
            Some(b'#') if !raw => tag.find("#}").map(|end| end + 2),
            _ => None,
        };
        let (tag, after) = tag.split_at(end.unwrap_or(1));
        rest = after;
        let inner = tag
            .strip_prefix("{%")
            .and_then(|tag| tag.strip_suffix("%}"))
            .unwrap_or("");
        let word = inner.trim_matches(['-', '+']).trim();
        match word {
            "raw" => raw = true,
            "endraw" => raw = false,
            _ => {}
        }
        match word {
            "generation" | "endgeneration" if !raw => {
                let name = if word == "generation" {
                    "with"
                } else {
                    "endwith"
                };
                out.push_str(&tag.replacen(word, name, 1));
            }
            _ => out.push_str(tag),
        }
    }
    out.push_str(rest);
    out
}

/// Constants are computed when a template is compiled: `'x' * 100000000` must not be.
pub fn check_constants(source: &str) -> Result<(), Error> {
    let (mut total, mut longest, mut product, mut repeats) = (0u64, 0u64, 1u64, false);
    for token in tokenize(
        source,
        false,
        Default::default(),
        WhitespaceConfig::default(),
    ) {
        match token.map_err(syntax_error)?.0 {
            Token::Str(text) => longest = longest.max(text.len() as u64),
            Token::String(text) => longest = longest.max(text.len() as u64),
            Token::Int(number) => product = product.saturating_mul(number.max(1)),
            Token::Int128(_) => product = u64::MAX,
            Token::Mul | Token::Pow => repeats = true,
            Token::VariableEnd | Token::BlockEnd => {
                if repeats && longest > 0 {
                    total = total.saturating_add(longest.saturating_mul(product));
                }
                (longest, product, repeats) = (0, 1, false);
            }
            _ => {}
        }
    }
    match total > MAX_CONSTANT_BYTES {
        true => Err(Error::corrupt(format!(
            "it repeats texts to more than {MAX_CONSTANT_BYTES} bytes"
        ))),
        false => Ok(()),
    }
}

/// What is told of a template that does not parse.
pub fn syntax_error(error: minijinja::Error) -> Error {
    let line = error
        .line()
        .map(|line| format!("line {line}: "))
        .unwrap_or_default();
    let detail = error
        .detail()
        .map(String::from)
        .unwrap_or_else(|| error.kind().to_string());
    Error::corrupt(format!("{line}{detail}"))
}
