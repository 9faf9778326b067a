//! The methods of Python's `str`, on texts whose characters may be lifted: what they compare they
//! compare as it reads, what they return keeps the marks of the characters it is made of.

use crate::lifted::{fold, fold_char, has_lifted, lift};
use crate::python::{push_like, text_of, type_error};
use minijinja::value::ValueKind;
use minijinja::{Error, Value};

type Chars = Vec<char>;

fn chars(text: &str) -> Chars {
    text.chars().collect()
}

fn value(text: &[char]) -> Value {
    Value::from(text.iter().collect::<String>())
}

fn same(a: &[char], b: &[char]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| fold_char(*a) == fold_char(*b))
}

/// White space as `str.strip` knows it: Unicode's, and the four separators of ASCII.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// The first place of `needle` at or after `from`.
fn find(text: &[char], needle: &[char], from: usize) -> Option<usize> {
    let last = text.len().checked_sub(needle.len())?;
    (from..=last).find(|&i| same(&text[i..i + needle.len()], needle))
}

fn rfind(text: &[char], needle: &[char]) -> Option<usize> {
    let last = text.len().checked_sub(needle.len())?;
    (0..=last)
        .rev()
        .find(|&i| same(&text[i..i + needle.len()], needle))
}

fn strip(text: &[char], set: Option<&[char]>, left: bool, right: bool) -> Value {
    let cut = |c: &char| match set {
        Some(set) => set.iter().any(|s| fold_char(*s) == fold_char(*c)),
        None => is_space(*c),
    };
    let begin = if left {
        text.iter().take_while(|c| cut(c)).count()
    } else {
        0
    };
    let rest = &text[begin..];
    let end = if right {
        rest.iter().rev().take_while(|c| cut(c)).count()
    } else {
        0
    };
    value(&rest[..rest.len() - end])
}

fn split(text: &[char], separator: &[char], limit: usize) -> Vec<Value> {
    let (mut out, mut begin) = (Vec::new(), 0);
    while out.len() < limit {
        let Some(at) = find(text, separator, begin) else {
            break;
        };
        out.push(value(&text[begin..at]));
        begin = at + separator.len();
    }
    out.push(value(&text[begin..]));
    out
}

fn rsplit(text: &[char], separator: &[char], limit: usize) -> Vec<Value> {
    let (mut out, mut end) = (Vec::new(), text.len());
    while out.len() < limit {
        let Some(at) = rfind(&text[..end], separator) else {
            break;
        };
        out.push(value(&text[at + separator.len()..end]));
        end = at;
    }
    out.push(value(&text[..end]));
    out.reverse();
    out
}

/// Words between white space; the last one keeps the rest when the limit is reached.
fn split_words(text: &[char], limit: usize) -> Vec<Value> {
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        rest = &rest[rest.iter().take_while(|c| is_space(**c)).count()..];
        if rest.is_empty() {
            return out;
        }
        if out.len() == limit {
            let end = rest.iter().rev().take_while(|c| is_space(**c)).count();
            out.push(value(&rest[..rest.len() - end]));
            return out;
        }
        let length = rest.iter().take_while(|c| !is_space(**c)).count();
        out.push(value(&rest[..length]));
        rest = &rest[length..];
    }
}

fn split_lines(text: &[char], keep_ends: bool) -> Vec<Value> {
    let ends =
        |c: char| matches!(c, '\n'..='\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let (mut out, mut begin, mut i) = (Vec::new(), 0, 0);
    while i < text.len() {
        if ends(text[i]) {
            let next = i + if text[i..].starts_with(&['\r', '\n']) {
                2
            } else {
                1
            };
            out.push(value(&text[begin..if keep_ends { next } else { i }]));
            (begin, i) = (next, next);
        } else {
            i += 1;
        }
    }
    if begin < text.len() {
        out.push(value(&text[begin..]));
    }
    out
}

/// `str.splitlines`.
pub fn lines(text: &str) -> Vec<String> {
    let lines = split_lines(&chars(text), false);
    lines
        .iter()
        .filter_map(|line| line.as_str().map(String::from))
        .collect()
}

/// `str.replace`, also the filter; a negative count is no limit.
pub fn replace(text: &str, old: &str, new: &str, count: i64) -> String {
    let (text, old) = (chars(text), chars(old));
    let mut left = if count < 0 {
        usize::MAX
    } else {
        count as usize
    };
    let mut out = String::new();
    let mut i = 0;
    while left > 0 {
        let Some(at) = find(&text, &old, i) else {
            break;
        };
        out.extend(&text[i..at]);
        out.push_str(new);
        left -= 1;
        i = at + old.len();
        if old.is_empty() {
            let Some(c) = text.get(at) else { return out };
            out.push(*c);
            i += 1;
            if i > text.len() {
                return out;
            }
        }
    }
    out.extend(&text[i.min(text.len())..]);
    out
}

pub fn contains(text: &str, needle: &str) -> bool {
    fold(text).contains(fold(needle).as_ref())
}

/// The arguments of a call: by place, then by name.
pub struct Arguments<'a> {
    places: &'a [Value],
    names: Option<&'a Value>,
}

impl<'a> Arguments<'a> {
    pub fn new(values: &'a [Value]) -> Self {
        match values.split_last() {
            Some((last, places)) if last.is_kwargs() => Arguments {
                places,
                names: Some(last),
            },
            _ => Arguments {
                places: values,
                names: None,
            },
        }
    }

    /// `None` where it is not given, or given as none.
    pub fn get(&self, place: usize, name: &str) -> Option<Value> {
        let named = || self.names.and_then(|names| names.get_attr(name).ok());
        let found = self.places.get(place).cloned().or_else(named);
        found.filter(|value| !value.is_none() && !value.is_undefined())
    }

    fn text(&self, place: usize, name: &str) -> Result<Option<Chars>, Error> {
        let Some(value) = self.get(place, name) else {
            return Ok(None);
        };
        let text = value.as_str().map(chars);
        text.map(Some).ok_or_else(|| {
            type_error(format!(
                "argument {name} must be a string, not {}",
                value.kind()
            ))
        })
    }

    fn need(&self, place: usize, name: &str) -> Result<Chars, Error> {
        self.text(place, name)?
            .ok_or_else(|| type_error(format!("argument {name} is missing")))
    }

    fn integer(&self, place: usize, name: &str, otherwise: i64) -> Result<i64, Error> {
        match self.get(place, name) {
            Some(value) => value
                .as_i64()
                .ok_or_else(|| type_error(format!("argument {name} must be an integer"))),
            None => Ok(otherwise),
        }
    }
}

fn not_empty(separator: Chars) -> Result<Chars, Error> {
    match separator.is_empty() {
        true => Err(type_error("empty separator")),
        false => Ok(separator),
    }
}

/// Whether the text begins (or ends) with the argument, or with one of its elements.
fn is_affix(text: &[char], affix: Option<&Value>, at_end: bool) -> Result<bool, Error> {
    let affix = affix.ok_or_else(|| type_error("argument prefix is missing"))?;
    if let Some(affix) = affix.as_str() {
        let affix = chars(affix);
        let Some(rest) = text.len().checked_sub(affix.len()) else {
            return Ok(false);
        };
        let begin = if at_end { rest } else { 0 };
        return Ok(same(&text[begin..begin + affix.len()], &affix));
    }
    if !matches!(affix.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Err(type_error(format!(
            "expected a string or a tuple of strings, not {}",
            affix.kind()
        )));
    }
    for element in affix.try_iter()? {
        if element.as_str().is_none() {
            return Err(type_error("a tuple of prefixes must hold strings"));
        }
        if is_affix(text, Some(&element), at_end)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn partition(text: &[char], at: Option<usize>, length: usize, from_right: bool) -> Value {
    let parts = match (at, from_right) {
        (Some(at), _) => [&text[..at], &text[at..at + length], &text[at + length..]],
        (None, false) => [text, &[], &[]],
        (None, true) => [&[], &[], text],
    };
    Value::from(parts.map(value).to_vec())
}

/// Upper case at the beginning of every word, lower case within, as `str.title` does.
pub fn title(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in text.chars() {
        match inside {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
        inside = c.is_alphabetic();
    }
    out
}

pub fn capitalize(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + &rest.as_str().to_lowercase()
}

/// A text that one call makes of another: the user's as a whole where any of it was.
pub fn remade(text: &str, make: impl FnOnce(&str) -> String) -> String {
    match has_lifted(text) {
        true => lift(&make(&fold(text))),
        false => make(text),
    }
}

/// A text with some of its characters spelled otherwise; what stands for the user's is the user's.
pub fn remade_each(text: &str, spelling: impl Fn(char) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match spelling(fold_char(c)) {
            Some(spelled) => push_like(&mut out, c, spelled),
            None => out.push(c),
        }
    }
    out
}

/// Whether all characters are so, and there is one; `str.is...`.
fn all(text: &str, is: impl Fn(char) -> bool) -> Value {
    Value::from(!text.is_empty() && fold(text).chars().all(is))
}

/// The method of a string; nothing where there is none of this name here.
pub fn call(text: &str, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    let given = Arguments::new(arguments);
    let all_chars = || chars(text);
    let limit = |limit: i64| {
        if limit < 0 {
            usize::MAX
        } else {
            limit as usize
        }
    };
    Ok(Some(match method {
        "strip" | "lstrip" | "rstrip" => {
            let set = given.text(0, "chars")?;
            strip(
                &all_chars(),
                set.as_deref(),
                method != "rstrip",
                method != "lstrip",
            )
        }
        "split" | "rsplit" => {
            let limit = limit(given.integer(1, "maxsplit", -1)?);
            let parts = match (given.text(0, "sep")?, method) {
                (Some(separator), "split") => split(&all_chars(), &not_empty(separator)?, limit),
                (Some(separator), _) => rsplit(&all_chars(), &not_empty(separator)?, limit),
                (None, "rsplit") if limit != usize::MAX => return Ok(None),
                (None, _) => split_words(&all_chars(), limit),
            };
            Value::from(parts)
        }
        "splitlines" => {
            let keep_ends = given.get(0, "keepends").is_some_and(|keep| keep.is_true());
            Value::from(split_lines(&all_chars(), keep_ends))
        }
        "partition" | "rpartition" => {
            let (separator, text) = (not_empty(given.need(0, "sep")?)?, all_chars());
            let from_right = method == "rpartition";
            let at = if from_right {
                rfind(&text, &separator)
            } else {
                find(&text, &separator, 0)
            };
            partition(&text, at, separator.len(), from_right)
        }
        "replace" => {
            let [old, new] = [given.need(0, "old")?, given.need(1, "new")?];
            let count = given.integer(2, "count", -1)?;
            let [old, new] = [old, new].map(|chars| chars.into_iter().collect::<String>());
            Value::from(replace(text, &old, &new, count))
        }
        "startswith" => Value::from(is_affix(&all_chars(), given.places.first(), false)?),
        "endswith" => Value::from(is_affix(&all_chars(), given.places.first(), true)?),
        "removeprefix" | "removesuffix" => {
            let (affix, text) = (given.need(0, "prefix")?, all_chars());
            let at_end = method == "removesuffix";
            let [begin, end] = match is_affix(&text, given.places.first(), at_end)? {
                true if at_end => [0, text.len() - affix.len()],
                true => [affix.len(), text.len()],
                false => [0, text.len()],
            };
            value(&text[begin..end])
        }
        "find" | "index" | "rfind" | "rindex" => {
            let (needle, text) = (given.need(0, "sub")?, all_chars());
            let at = match method.starts_with('r') {
                true => rfind(&text, &needle),
                false => find(
                    &text,
                    &needle,
                    given.integer(1, "start", 0)?.max(0) as usize,
                ),
            };
            match at {
                Some(at) => Value::from(at),
                None if method.ends_with("find") => Value::from(-1),
                None => return Err(type_error("substring not found")),
            }
        }
        "count" => {
            let needle: String = given.need(0, "sub")?.into_iter().collect();
            let (text, needle) = (fold(text), fold(&needle));
            Value::from(match needle.is_empty() {
                true => text.chars().count() + 1,
                false => text.matches(needle.as_ref()).count(),
            })
        }
        "join" => {
            let mut out = String::new();
            let elements = given.places.first().cloned().unwrap_or_default();
            for (i, element) in elements.try_iter()?.enumerate() {
                let Some(element) = element.as_str() else {
                    return Err(type_error(format!("sequence item {i}: expected a string")));
                };
                if i > 0 {
                    out.push_str(text);
                }
                out.push_str(element);
            }
            Value::from(out)
        }
        "upper" => Value::from(remade(text, str::to_uppercase)),
        "lower" | "casefold" => Value::from(remade(text, str::to_lowercase)),
        "title" => Value::from(remade(text, title)),
        "capitalize" => Value::from(remade(text, capitalize)),
        "isspace" => all(text, is_space),
        "isalpha" => all(text, char::is_alphabetic),
        "isalnum" => all(text, char::is_alphanumeric),
        "isdigit" | "isdecimal" | "isnumeric" => all(text, char::is_numeric),
        "isascii" => Value::from(fold(text).is_ascii()),
        "isupper" | "islower" => {
            let text = fold(text);
            let is = |c: char| {
                if method == "isupper" {
                    c.is_uppercase()
                } else {
                    c.is_lowercase()
                }
            };
            let cased = |c: &char| c.is_uppercase() || c.is_lowercase();
            let mut cased = text.chars().filter(cased).peekable();
            Value::from(cased.peek().is_some() && cased.all(is))
        }
        _ => return Ok(None),
    }))
}

/// The filter `join`: elements, or one attribute of each, as text.
pub fn join(elements: &Value, separator: &str, attribute: Option<&Value>) -> Result<String, Error> {
    let mut out = String::new();
    for (i, element) in elements.try_iter()?.enumerate() {
        if i > 0 {
            out.push_str(separator);
        }
        match attribute {
            Some(key) => out.push_str(&text_of(&element.get_item(key)?)?),
            None => out.push_str(&text_of(&element)?),
        }
    }
    Ok(out)
}
