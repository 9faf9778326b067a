//! Chat templates: `minijinja` made to render what Jinja2 renders inside transformers'
//! `apply_chat_template`, under limits.
//!
//! minijinja compiles and runs the template. Where its operators and filters mean something else than
//! Python's (a boolean or a list as text, comparisons of unlike things), and wherever a template could
//! make a text grow without a step being counted, the compiled instruction is replaced by a call of
//! ours. That needs the crate's unstable machinery, and so its exact version.

use crate::chat_request::{ChatRequest, CONTINUE_TAG};
use crate::error::{Error as BridgeError, MrErrorCode};
use crate::lifted::{fold, has_lifted, lift, Guard};
use crate::python::{self, json_into, pairs, text_of, type_error, Dict, JsonStyle};
use crate::python_str;
use minijinja::machinery::{
    make_string_output, parse, CodeGenerator, Instruction, Instructions, Token, Vm,
    WhitespaceConfig,
};
use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, Rest, ValueKind};
use minijinja::{filters, functions, tests};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, FormatStyle, State, UndefinedBehavior, Value,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct MrChatTemplateLimits {
    pub max_template_bytes: usize,
    pub max_output_bytes: usize,
    /// Instructions of one rendering.
    pub max_steps: u64,
    /// Bytes of text that the steps of one rendering may read and make, all together.
    pub max_work_bytes: usize,
    /// Calls within calls, of macros and recursive loops.
    pub max_recursion: usize,
}

/// A list or map literal is one more level that a value may be nested by, and what nests deeply
/// exhausts the stack when it is compared or freed.
const MAX_LITERALS: usize = 4096;
/// Of widths and counts that a template gives to filters.
const MAX_COUNT: i64 = 100_000;
/// What constants of the template may grow to before it runs.
const MAX_CONSTANT_BYTES: u64 = 16 << 20;
/// A variable that no template can name: the clock.
const CLOCK: &str = "the clock";

/// A compiled template. Immutable: any number of threads render it at once.
pub struct ChatTemplate {
    // Borrow from `source`, which moves nowhere and is dropped after them.
    instructions: Instructions<'static>,
    blocks: BTreeMap<&'static str, Instructions<'static>>,
    environment: Environment<'static>,
    special_tokens: Vec<(String, Value)>,
    max_output_bytes: usize,
    source: Box<str>,
}

/// What a rendering has used up, beside its steps.
#[derive(Debug)]
struct Work {
    bytes: AtomicUsize,
    literals: AtomicUsize,
    max_bytes: usize,
}

/// What `raise_exception` was given: the template's own words.
#[derive(Debug)]
struct Raised(String);

impl std::fmt::Display for Raised {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn corrupt(message: String) -> BridgeError {
    BridgeError {
        code: MrErrorCode::Corrupt,
        message,
    }
}

pub fn refused(message: String) -> BridgeError {
    BridgeError {
        code: MrErrorCode::Failed,
        message,
    }
}

/// What a client is told of a rendering that failed.
fn render_error(error: Error) -> BridgeError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(Raised(message)) = cause.downcast_ref() {
            return refused(message.clone());
        }
        source = cause.source();
    }
    let line = error
        .line()
        .map(|line| format!("line {line}: "))
        .unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::OutOfFuel => "it takes more steps than a chat template may".to_string(),
        kind => error
            .detail()
            .map(String::from)
            .unwrap_or_else(|| kind.to_string()),
    };
    refused(format!("{line}{message}"))
}

fn describe_syntax_error(error: &Error) -> BridgeError {
    let line = error
        .line()
        .map(|line| format!("line {line}: "))
        .unwrap_or_default();
    let detail = error
        .detail()
        .map(String::from)
        .unwrap_or_else(|| error.kind().to_string());
    corrupt(format!("{line}{detail}"))
}

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
fn without_generation_tags(source: &str) -> String {
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
fn check_constants(source: &str) -> Result<(), BridgeError> {
    let (mut total, mut longest, mut product, mut repeats) = (0u64, 0u64, 1u64, false);
    for token in minijinja::machinery::tokenize(
        source,
        false,
        Default::default(),
        WhitespaceConfig::default(),
    ) {
        match token.map_err(|e| describe_syntax_error(&e))?.0 {
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
        true => Err(corrupt(format!(
            "it repeats texts to more than {MAX_CONSTANT_BYTES} bytes"
        ))),
        false => Ok(()),
    }
}

/// The operators that Python means otherwise, and those that can make much of little.
fn replacement<'a>(instruction: &Instruction<'a>) -> Option<Instruction<'a>> {
    let call = |name, count| Instruction::ApplyFilter(name, Some(count), !0);
    Some(match instruction {
        Instruction::Add => call("operator:+", 2),
        Instruction::Mul => call("operator:*", 2),
        Instruction::Rem => call("operator:%", 2),
        Instruction::StringConcat => call("operator:~", 2),
        Instruction::Eq => call("operator:==", 2),
        Instruction::Ne => call("operator:!=", 2),
        Instruction::Lt => call("operator:<", 2),
        Instruction::Lte => call("operator:<=", 2),
        Instruction::Gt => call("operator:>", 2),
        Instruction::Gte => call("operator:>=", 2),
        Instruction::In => call("operator:in", 2),
        Instruction::GetItem => call("operator:[]", 2),
        Instruction::Slice => call("operator:[:]", 4),
        Instruction::BuildList(Some(count)) if *count > 0 && *count < u16::MAX as usize => {
            call("literal:[]", *count as u16)
        }
        _ => return None,
    })
}

fn work(state: &State) -> Result<Arc<Work>, Error> {
    let value = state.lookup(CLOCK).unwrap_or_default();
    let work = value
        .downcast_object_ref::<Clock>()
        .map(|clock| clock.work.clone());
    work.ok_or_else(|| type_error("a rendering without its limits"))
}

/// The moment of a rendering, and what it has used up.
#[derive(Debug)]
struct Clock {
    local_seconds: i64,
    work: Arc<Work>,
}

impl Object for Clock {}

fn charge(state: &State, bytes: usize) -> Result<(), Error> {
    let work = work(state)?;
    let spent = work
        .bytes
        .fetch_add(bytes, Ordering::Relaxed)
        .saturating_add(bytes);
    match spent > work.max_bytes {
        true => Err(type_error(format!(
            "it moves more than {} bytes of text about, the limit for a chat template",
            work.max_bytes
        ))),
        false => Ok(()),
    }
}

fn charge_value(state: &State, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if text.len() > 32 => charge(state, text.len()),
        _ => Ok(()),
    }
}

fn charged_text(state: &State, text: String) -> Result<Value, Error> {
    charge(state, text.len())?;
    Ok(Value::from(text))
}

fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

enum Numbers {
    Integers(i128, i128),
    Floats(f64, f64),
}

/// Two numbers, or booleans as numbers; nothing where one side is neither.
fn numbers(a: &Value, b: &Value) -> Option<Numbers> {
    let is_number = |v: &Value| matches!(v.kind(), ValueKind::Number | ValueKind::Bool);
    if !is_number(a) || !is_number(b) {
        return None;
    }
    let whole = |v: &Value| v.kind() == ValueKind::Bool || v.is_integer();
    let integer = |v: &Value| match v.kind() {
        ValueKind::Bool => Some(i128::from(v.is_true())),
        _ => i128::try_from(v.clone()).ok(),
    };
    if let (true, true, Some(x), Some(y)) = (whole(a), whole(b), integer(a), integer(b)) {
        return Some(Numbers::Integers(x, y));
    }
    let float = |v: &Value| match v.kind() {
        ValueKind::Bool => f64::from(u8::from(v.is_true())),
        _ => f64::try_from(v.clone()).unwrap_or(f64::NAN),
    };
    Some(Numbers::Floats(float(a), float(b)))
}

fn integer_value(number: Option<i128>) -> Result<Value, Error> {
    let number = number.ok_or_else(|| type_error("an integer beyond 128 bits"))?;
    Ok(i64::try_from(number)
        .map(Value::from)
        .unwrap_or_else(|_| Value::from(number)))
}

fn unsupported(operator: &str, a: &Value, b: &Value) -> Error {
    type_error(format!(
        "operator {operator} does not take {} and {}",
        a.kind(),
        b.kind()
    ))
}

fn escape_html(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '\'' => Some("&#39;"),
        '"' => Some("&#34;"),
        _ => None,
    }
}

fn add(state: &State, a: Value, b: Value) -> Result<Value, Error> {
    if let (Some(x), Some(y)) = (a.as_str(), b.as_str()) {
        charge(state, x.len() + y.len())?;
        if a.is_safe() != b.is_safe() {
            // Python's Markup: what stands beside a text marked safe is escaped.
            let escaped = |value: &Value, text: &str| match value.is_safe() {
                true => text.to_string(),
                false => python_str::remade_each(text, escape_html),
            };
            let text = escaped(&a, x) + &escaped(&b, y);
            charge(state, text.len())?;
            return Ok(Value::from_safe_string(text));
        }
        let text = [x, y].concat();
        return Ok(if a.is_safe() {
            Value::from_safe_string(text)
        } else {
            Value::from(text)
        });
    }
    if is_list(&a) && is_list(&b) {
        let length = a.len().unwrap_or(0) + b.len().unwrap_or(0);
        charge(state, length * 4 * size_of::<Value>())?; // a copy counts its references
        let all: Vec<Value> = a.try_iter()?.chain(b.try_iter()?).collect();
        return Ok(Value::from(all));
    }
    match numbers(&a, &b) {
        Some(Numbers::Integers(x, y)) => integer_value(x.checked_add(y)),
        Some(Numbers::Floats(x, y)) => Ok(Value::from(x + y)),
        None => Err(unsupported("+", &a, &b)),
    }
}

fn multiply(state: &State, a: Value, b: Value) -> Result<Value, Error> {
    let (repeated, count) = match a.as_str().is_some() || is_list(&a) {
        true => (&a, &b),
        false => (&b, &a),
    };
    if repeated.as_str().is_none() && !is_list(repeated) {
        return match numbers(&a, &b) {
            Some(Numbers::Integers(x, y)) => integer_value(x.checked_mul(y)),
            Some(Numbers::Floats(x, y)) => Ok(Value::from(x * y)),
            None => Err(unsupported("*", &a, &b)),
        };
    }
    let count = match numbers(count, count) {
        Some(Numbers::Integers(count, _)) => usize::try_from(count.max(0)).unwrap_or(usize::MAX),
        _ => return Err(unsupported("*", &a, &b)),
    };
    if let Some(text) = repeated.as_str() {
        charge(state, text.len().saturating_mul(count))?;
        return Ok(Value::from(text.repeat(count)));
    }
    let elements: Vec<Value> = repeated.try_iter()?.collect();
    charge(
        state,
        elements
            .len()
            .saturating_mul(count)
            .saturating_mul(size_of::<Value>()),
    )?;
    Ok((0..count).flat_map(|_| elements.iter().cloned()).collect())
}

fn remainder(state: &State, a: Value, b: Value) -> Result<Value, Error> {
    if let Some(format) = a.as_str() {
        let arguments = match is_list(&b) {
            true => b.try_iter()?.collect(),
            false => vec![b],
        };
        return format_text(state, FormatStyle::Printf, format, &arguments);
    }
    match numbers(&a, &b) {
        Some(Numbers::Integers(_, 0)) => Err(type_error("modulo by zero")),
        Some(Numbers::Integers(x, y)) => integer_value(Some((x % y + y) % y)),
        Some(Numbers::Floats(x, y)) => Ok(Value::from(x - y * (x / y).floor())),
        None => Err(unsupported("%", &a, &b)),
    }
}

/// Widths are written in the format, or (`*`) given.
fn format_text(
    state: &State,
    style: FormatStyle,
    format: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let is_wide = |digits: &str| digits.len() > 4;
    let wide = format.split(|c: char| !c.is_ascii_digit()).any(is_wide);
    let starred = format.contains('*') || format.matches('{').count() > 1 && format.contains(":{");
    if wide || starred {
        return Err(type_error(
            "a format with a width of more than four digits, or a computed one",
        ));
    }
    let lifted = has_lifted(format) || arguments.iter().any(is_user_text);
    let plain = |value: &Value| match value.kind() {
        ValueKind::Number => Ok(value.clone()),
        _ if value.is_kwargs() => Ok(value.clone()),
        _ => Ok(Value::from(fold(&text_of(value)?).into_owned())),
    };
    let arguments = arguments
        .iter()
        .map(plain)
        .collect::<Result<Vec<_>, Error>>()?;
    let text = minijinja::format_filter(style, &fold(format), &arguments)?;
    charged_text(state, if lifted { lift(&text) } else { text })
}

fn concatenate(state: &State, a: Value, b: Value) -> Result<Value, Error> {
    charged_text(state, text_of(&a)? + &text_of(&b)?)
}

/// Whether any text in it is the user's.
fn is_user_text(value: &Value) -> bool {
    match value.kind() {
        ValueKind::String => value.as_str().is_some_and(has_lifted),
        ValueKind::Seq | ValueKind::Iterable => value
            .try_iter()
            .is_ok_and(|mut elements| elements.any(|e| is_user_text(&e))),
        ValueKind::Map => pairs(value).is_ok_and(|pairs| {
            pairs
                .iter()
                .any(|(k, v)| is_user_text(k) || is_user_text(v))
        }),
        _ => false,
    }
}

/// The same value with every text mapped by `change`.
fn map_texts(value: &Value, change: &dyn Fn(&str) -> String) -> Value {
    match value.kind() {
        ValueKind::String => Value::from(change(value.as_str().unwrap_or_default())),
        ValueKind::Seq | ValueKind::Iterable => {
            let elements = value.try_iter().into_iter().flatten();
            Value::from(elements.map(|e| map_texts(&e, change)).collect::<Vec<_>>())
        }
        ValueKind::Map if !value.is_kwargs() => {
            let pairs = pairs(value).unwrap_or_default();
            let pairs = pairs
                .iter()
                .map(|(k, v)| (map_texts(k, change), map_texts(v, change)));
            Value::from_object(Dict::new(pairs.collect()))
        }
        _ => value.clone(),
    }
}

fn folded(value: &Value) -> Value {
    match is_user_text(value) {
        true => map_texts(value, &|text| fold(text).into_owned()),
        false => value.clone(),
    }
}

fn equal(state: &State, a: Value, b: Value) -> Result<bool, Error> {
    charge_value(state, &a)?;
    Ok(match (a.as_str(), b.as_str()) {
        (Some(x), Some(y)) => fold(x) == fold(y),
        _ => folded(&a) == folded(&b),
    })
}

/// Whether a < b; only likes are compared.
fn less(a: &Value, b: &Value) -> Result<bool, Error> {
    if let (Some(x), Some(y)) = (a.as_str(), b.as_str()) {
        return Ok(fold(x) < fold(y));
    }
    match numbers(a, b) {
        Some(Numbers::Integers(x, y)) => Ok(x < y),
        Some(Numbers::Floats(x, y)) => Ok(x < y),
        None if is_list(a) && is_list(b) => Ok(folded(a) < folded(b)),
        None => Err(unsupported("<", a, b)),
    }
}

fn is_in(state: &State, needle: Value, container: Value) -> Result<bool, Error> {
    charge_value(state, &container)?;
    if let Some(text) = container.as_str() {
        let needle = needle
            .as_str()
            .ok_or_else(|| unsupported("in", &needle, &container))?;
        return Ok(python_str::contains(text, needle));
    }
    match container.kind() {
        ValueKind::Undefined => Ok(false),
        ValueKind::Map => {
            let needle = folded(&needle);
            Ok(container
                .as_object()
                .is_some_and(|map| map.get_value(&needle).is_some()))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            for element in container.try_iter()? {
                if equal(state, element, needle.clone())? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Err(unsupported("in", &needle, &container)),
    }
}

/// Objects of the request find a key as it reads; maps of the template as it is.
fn subscript(object: Value, key: Value) -> Result<Value, Error> {
    let found = object.get_item(&folded(&key))?;
    match found.is_undefined() {
        true => object.get_item(&key),
        false => Ok(found),
    }
}

/// `value[start:stop:step]`; what has no places has no slice.
fn slice(
    state: &State,
    value: Value,
    start: Value,
    stop: Value,
    step: Value,
) -> Result<Value, Error> {
    let bound = |v: &Value| match v.kind() {
        ValueKind::None => Ok(None),
        _ => v
            .as_i64()
            .map(Some)
            .ok_or_else(|| type_error("a slice takes integers")),
    };
    let (start, stop, step) = (bound(&start)?, bound(&stop)?, bound(&step)?.unwrap_or(1));
    if step == 0 {
        return Err(type_error("a slice cannot step by 0"));
    }
    charge_value(state, &value)?;
    let elements: Vec<Value> = match value.kind() {
        ValueKind::String | ValueKind::Seq => value.try_iter()?.collect(),
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        _ => return Ok(Value::UNDEFINED),
    };
    let length = elements.len() as i64;
    let (low, high) = if step > 0 {
        (0, length)
    } else {
        (-1, length - 1)
    };
    let place = |bound: Option<i64>, otherwise: i64| match bound {
        None => otherwise,
        Some(i) if i < 0 => i.saturating_add(length).clamp(low, high),
        Some(i) => i.clamp(low, high),
    };
    let (mut at, end) = match step > 0 {
        true => (place(start, low), place(stop, high)),
        false => (place(start, high), place(stop, low)),
    };
    let mut chosen = Vec::new();
    while if step > 0 { at < end } else { at > end } {
        chosen.push(elements[at as usize].clone());
        at = at.saturating_add(step);
    }
    Ok(match value.kind() {
        ValueKind::String => {
            Value::from(chosen.iter().filter_map(|c| c.as_str()).collect::<String>())
        }
        _ => Value::from(chosen),
    })
}

/// A list that a template spells out.
fn literal(state: &State, elements: Rest<Value>) -> Result<Value, Error> {
    let made = work(state)?.literals.fetch_add(1, Ordering::Relaxed);
    match made >= MAX_LITERALS {
        true => Err(type_error(format!(
            "it makes more than {MAX_LITERALS} lists"
        ))),
        false => Ok(Value::from(elements.0)),
    }
}

/// transformers' own: no escaping for HTML, text as it is.
fn tojson(state: &State, value: Value, arguments: Rest<Value>) -> Result<Value, Error> {
    let given = python_str::Arguments::new(&arguments);
    let get = |place, name| given.get(place, name);
    let indent = match get(1, "indent") {
        None => None,
        Some(indent) => Some(match (indent.as_str(), indent.as_i64()) {
            (Some(text), _) => text.to_string(),
            (None, Some(width)) if width <= 64 => " ".repeat(width.max(0) as usize),
            _ => return Err(type_error("tojson: indent must be a text or at most 64")),
        }),
    };
    let mut separators = [if indent.is_some() { "," } else { ", " }, ": "].map(String::from);
    if let Some(given) = get(2, "separators") {
        for (i, separator) in separators.iter_mut().enumerate() {
            *separator = text_of(&given.get_item_by_index(i)?)?;
        }
    }
    let [item_separator, key_separator] = separators;
    let style = JsonStyle {
        ensure_ascii: get(0, "ensure_ascii").is_some_and(|v| v.is_true()),
        indent,
        item_separator,
        key_separator,
        sort_keys: get(3, "sort_keys").is_some_and(|v| v.is_true()),
    };
    let mut out = String::new();
    json_into(&mut out, &value, &style, 0)?;
    charged_text(state, out)
}

fn raise_exception(message: Value) -> Result<Value, Error> {
    let message = fold(&text_of(&message)?).into_owned();
    Err(type_error(message.clone()).with_source(Raised(message)))
}

fn strftime_now(state: &State, format: &str) -> Result<String, Error> {
    let value = state.lookup(CLOCK).unwrap_or_default();
    let clock = value.downcast_object_ref::<Clock>();
    let clock = clock.ok_or_else(|| type_error("a rendering without a clock"))?;
    python::strftime(&fold(format), clock.local_seconds)
}

fn range(state: &State, arguments: Rest<i64>) -> Result<Value, Error> {
    let (start, stop, step) = match arguments[..] {
        [stop] => (0, stop, 1),
        [start, stop] => (start, stop, 1),
        [start, stop, step] if step != 0 => (start, stop, step),
        _ => {
            return Err(type_error(
                "range takes one to three integers, the last one not 0",
            ))
        }
    };
    let length = match step > 0 {
        true => (i128::from(stop) - i128::from(start) + i128::from(step) - 1) / i128::from(step),
        false => (i128::from(start) - i128::from(stop) - i128::from(step) - 1) / -i128::from(step),
    };
    let length = length.max(0);
    if length > i128::from(MAX_COUNT) {
        return Err(type_error(format!(
            "range is too long: {MAX_COUNT} at most"
        )));
    }
    charge(state, length as usize * size_of::<Value>())?;
    Ok(Value::from(
        (0..length as i64)
            .map(|i| start + i * step)
            .collect::<Vec<_>>(),
    ))
}

/// What Python's lazy filters return: it can be run through, and no more than that.
#[derive(Debug)]
struct Generator(Vec<Value>);

impl Object for Generator {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.clone())
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }
}

/// How a filter of minijinja treats the user's text.
#[derive(Clone, Copy, PartialEq)]
enum Marks {
    /// It moves values or white space about, and the marks with them.
    Keep,
    /// The same, and what it returns is a generator of Python's.
    Generate,
    /// It looks at text or makes a new one: it is given the text as it reads, and what it makes of
    /// any text of the user is the user's.
    Remake,
}

fn add_filter(
    environment: &mut Environment<'static>,
    name: &'static str,
    marks: Marks,
    filter: Value,
) {
    environment.add_filter(name, move |state: &State, arguments: Rest<Value>| {
        for argument in arguments.iter() {
            charge_value(state, argument)?;
        }
        for argument in arguments.iter().skip(1) {
            let large = |v: &Value| {
                v.as_i64()
                    .is_some_and(|n| !(-MAX_COUNT..=MAX_COUNT).contains(&n))
            };
            let named = argument.is_kwargs() && pairs(argument)?.iter().any(|(_, v)| large(v));
            if large(argument) || named {
                return Err(type_error(format!("filter {name}: more than {MAX_COUNT}")));
            }
        }
        let lifted = marks == Marks::Remake && arguments.iter().any(is_user_text);
        let result = match lifted {
            true => {
                let arguments: Vec<Value> = arguments.iter().map(folded).collect();
                map_texts(&filter.call(state, &arguments)?, &|text| lift(&fold(text)))
            }
            false => filter.call(state, &arguments)?,
        };
        charge_value(state, &result)?;
        match marks {
            Marks::Generate => Ok(Value::from_object(Generator(result.try_iter()?.collect()))),
            _ => Ok(result),
        }
    });
}

/// A filter of one text.
fn add_text_filter(
    environment: &mut Environment<'static>,
    name: &'static str,
    make: fn(&str) -> String,
) {
    environment.add_filter(name, move |state: &State, value: Value| {
        charged_text(state, python_str::remade(&text_of(&value)?, make))
    });
}

fn add_filters(environment: &mut Environment<'static>) {
    macro_rules! add {
        ($marks:ident: $($name:literal $function:path),*) => {
            $(add_filter(environment, $name, Marks::$marks, Value::from_function($function));)*
        };
    }
    add!(Keep: "safe" filters::safe, "reverse" filters::reverse, "default" filters::default,
         "d" filters::default, "first" filters::first, "last" filters::last, "list" filters::list,
         "batch" filters::batch, "slice" filters::slice, "items" filters::items,
         "attr" filters::attr, "round" filters::round, "abs" filters::abs, "sum" filters::sum);
    add!(Generate: "select" filters::select, "reject" filters::reject, "map" filters::map,
         "selectattr" filters::selectattr, "rejectattr" filters::rejectattr);
    add!(Remake: "escape" filters::escape, "e" filters::escape, "pprint" filters::pprint,
         "dictsort" filters::dictsort, "sort" filters::sort, "min" filters::min,
         "max" filters::max, "unique" filters::unique, "groupby" filters::groupby);
    environment.add_filter("int", |value: Value, otherwise: Option<Value>| {
        let text = fold(&text_of(&value)?).trim().to_string();
        let float = || {
            text.parse::<f64>()
                .ok()
                .filter(|x| x.is_finite())
                .map(|x| x as i128)
        };
        match text.parse::<i128>().ok().or_else(float) {
            _ if value.kind() == ValueKind::Bool => Ok(Value::from(i32::from(value.is_true()))),
            Some(number) => integer_value(Some(number)),
            None => Ok(otherwise.unwrap_or_else(|| Value::from(0))),
        }
    });
    environment.add_filter("float", |value: Value, otherwise: Option<Value>| {
        let text = fold(&text_of(&value)?).trim().to_string();
        match text.parse::<f64>() {
            Ok(number) => Ok::<_, Error>(Value::from(number)),
            Err(_) => Ok(otherwise.unwrap_or_else(|| Value::from(0.0))),
        }
    });
    add_text_filter(environment, "upper", str::to_uppercase);
    add_text_filter(environment, "lower", str::to_lowercase);
    add_text_filter(environment, "title", python_str::title);
    add_text_filter(environment, "capitalize", python_str::capitalize);
    environment.add_filter("tojson", tojson);
    environment.add_filter("string", |state: &State, value: Value| {
        charged_text(state, text_of(&value)?)
    });
    for name in ["length", "count"] {
        environment.add_filter(name, |value: Value| match value.kind() {
            ValueKind::Undefined => Ok(0),
            _ if value.downcast_object_ref::<Generator>().is_some() => {
                Err(type_error("a generator has no length"))
            }
            kind => value
                .len()
                .ok_or_else(|| type_error(format!("{kind} has no length"))),
        });
    }
    environment.add_filter("trim", |state: &State, value: Value, set: Option<Value>| {
        let arguments: Vec<Value> = set.into_iter().collect();
        let text = text_of(&value)?;
        charge(state, text.len())?;
        python_str::call(&text, "strip", &arguments)
    });
    environment.add_filter(
        "replace",
        |state: &State, value: Value, old: Value, new: Value, count: Option<i64>| {
            let [text, old, new] = [text_of(&value)?, text_of(&old)?, text_of(&new)?];
            replace(state, &text, &old, &new, count.unwrap_or(-1))
        },
    );
    environment.add_filter(
        "join",
        |state: &State, value: Value, separator: Option<Value>, named: Kwargs| {
            let named_separator: Option<Value> = named.get("d")?;
            let attribute: Option<Value> = named.get("attribute")?;
            let separator = text_of(&separator.or(named_separator).unwrap_or_default())?;
            if value.is_undefined() {
                return Ok(Value::from(""));
            }
            charged_text(
                state,
                python_str::join(&value, &separator, attribute.as_ref())?,
            )
        },
    );
    environment.add_filter("indent", indent);
    environment.add_filter(
        "format",
        |state: &State, format: Value, arguments: Rest<Value>| {
            format_text(state, FormatStyle::Printf, &text_of(&format)?, &arguments)
        },
    );
}

/// Every line but the first, and empty ones, behind a margin: a text, or a number of spaces.
fn indent(state: &State, value: Value, arguments: Rest<Value>) -> Result<Value, Error> {
    let given = python_str::Arguments::new(&arguments);
    let margin = match given.get(0, "width") {
        None => " ".repeat(4),
        Some(width) => match (width.as_str(), width.as_i64()) {
            (Some(text), _) => text.to_string(),
            (None, Some(width)) if width <= 1024 => " ".repeat(width.max(0) as usize),
            _ => return Err(type_error("indent: width must be a text or at most 1024")),
        },
    };
    let truth = |place, name| given.get(place, name).is_some_and(|v| v.is_true());
    let (first, blank) = (truth(1, "first"), truth(2, "blank"));
    let text = text_of(&value)?;
    charge(state, text.len())?;
    let lines = python_str::lines(&(text + "\n"));
    charge(state, lines.len().saturating_mul(margin.len()))?;
    let mut out = if first { margin.clone() } else { String::new() };
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if i > 0 && (blank || !line.is_empty()) {
            out.push_str(&margin);
        }
        out.push_str(line);
    }
    charged_text(state, out)
}

fn replace(state: &State, text: &str, old: &str, new: &str, count: i64) -> Result<Value, Error> {
    let places = if old.is_empty() {
        text.len() + 1
    } else {
        fold(text).matches(fold(old).as_ref()).count()
    };
    charge(
        state,
        places.saturating_mul(new.len()).saturating_add(text.len()),
    )?;
    Ok(Value::from(python_str::replace(text, old, new, count)))
}

fn add_operators(environment: &mut Environment<'static>) {
    environment.add_filter("operator:+", add);
    environment.add_filter("operator:*", multiply);
    environment.add_filter("operator:%", remainder);
    environment.add_filter("operator:~", concatenate);
    environment.add_filter("operator:==", equal);
    environment.add_filter("operator:!=", |s: &State, a: Value, b: Value| {
        equal(s, a, b).map(|x| !x)
    });
    environment.add_filter("operator:<", |a: Value, b: Value| less(&a, &b));
    environment.add_filter("operator:>", |a: Value, b: Value| less(&b, &a));
    environment.add_filter("operator:<=", |a: Value, b: Value| less(&b, &a).map(|x| !x));
    environment.add_filter("operator:>=", |a: Value, b: Value| less(&a, &b).map(|x| !x));
    environment.add_filter("operator:in", is_in);
    environment.add_filter("operator:[]", subscript);
    environment.add_filter("operator:[:]", slice);
    environment.add_filter("operator:for", |value: Value| match value.kind() {
        ValueKind::None | ValueKind::Bool | ValueKind::Number => Err(type_error(format!(
            "a {} cannot be iterated over",
            value.kind()
        ))),
        _ => Ok(value),
    });
    environment.add_filter("literal:[]", literal);
}

fn add_tests(environment: &mut Environment<'static>) {
    macro_rules! add {
        ($($name:literal $test:path),*) => { $(environment.add_test($name, $test);)* };
    }
    add!("undefined" tests::is_undefined, "defined" tests::is_defined, "none" tests::is_none,
         "boolean" tests::is_boolean, "odd" tests::is_odd, "even" tests::is_even,
         "divisibleby" tests::is_divisibleby, "integer" tests::is_integer,
         "float" tests::is_float, "string" tests::is_string, "mapping" tests::is_mapping,
         "sameas" tests::is_sameas, "true" tests::is_true, "false" tests::is_false,
         "escaped" tests::is_safe);
    for name in ["eq", "==", "equalto"] {
        environment.add_test(name, equal);
    }
    for name in ["ne", "!="] {
        environment.add_test(name, |s: &State, a: Value, b: Value| {
            equal(s, a, b).map(|x| !x)
        });
    }
    for name in ["lt", "<", "lessthan"] {
        environment.add_test(name, |a: Value, b: Value| less(&a, &b));
    }
    for name in ["gt", ">", "greaterthan"] {
        environment.add_test(name, |a: Value, b: Value| less(&b, &a));
    }
    for name in ["le", "<="] {
        environment.add_test(name, |a: Value, b: Value| less(&b, &a).map(|x| !x));
    }
    for name in ["ge", ">="] {
        environment.add_test(name, |a: Value, b: Value| less(&a, &b).map(|x| !x));
    }
    environment.add_test("in", is_in);
    environment.add_test("number", |v: Value| {
        matches!(v.kind(), ValueKind::Number | ValueKind::Bool)
    });
    // Everything with a length and places, texts and maps among them; iterators have neither.
    environment.add_test("sequence", |value: Value| {
        use ValueKind::{Map, Seq, String, Undefined};
        matches!(value.kind(), Seq | Undefined | String | Map)
    });
    environment.add_test("iterable", |value: Value| {
        use ValueKind::{Iterable, Map, Seq, String, Undefined};
        matches!(value.kind(), Seq | Iterable | Undefined | String | Map)
    });
    environment.add_test("callable", |value: Value| value.kind() == ValueKind::Plain);
    for name in ["lower", "upper"] {
        environment.add_test(name, move |value: Value| {
            let method = format!("is{name}");
            Ok::<_, Error>(
                python_str::call(&text_of(&value)?, &method, &[])?.is_some_and(|v| v.is_true()),
            )
        });
    }
}

/// Methods of Python's texts; of maps and lists those of the compatibility add-on.
fn call_method(
    state: &State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        let arguments: Vec<Value> = match method {
            "get" => {
                let key = arguments.first().map(folded);
                key.into_iter()
                    .chain(arguments.iter().skip(1).cloned())
                    .collect()
            }
            _ => arguments.to_vec(),
        };
        return minijinja_contrib::pycompat::unknown_method_callback(
            state, value, method, &arguments,
        );
    };
    charge(state, text.len() + 16)?;
    match (method, arguments) {
        ("format", _) => format_text(state, FormatStyle::StrFormat, text, arguments),
        ("replace", [old, new]) => match (old.as_str(), new.as_str()) {
            (Some(old), Some(new)) => replace(state, text, old, new, -1),
            _ => Err(type_error("replace takes two strings")),
        },
        _ => {
            let result = python_str::call(text, method, arguments)?;
            let result = result.ok_or_else(|| Error::from(ErrorKind::UnknownMethod))?;
            charge_value(state, &result)?;
            Ok(result)
        }
    }
}

fn make_environment(limits: &MrChatTemplateLimits) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_fuel(Some(limits.max_steps));
    environment.set_recursion_limit(limits.max_recursion);
    environment.set_debug(false);
    let max_output = limits.max_output_bytes;
    environment.set_formatter(move |out, state, value| {
        if let Some(text) = value.as_str() {
            charge(state, text.len())?;
            return Ok(out.write_str(text)?);
        }
        let text = text_of(value)?;
        if text.len() > max_output {
            return Err(type_error("the output is too large"));
        }
        charge(state, text.len())?;
        Ok(out.write_str(&text)?)
    });
    environment.set_unknown_method_callback(call_method);
    add_operators(&mut environment);
    add_filters(&mut environment);
    add_tests(&mut environment);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_function("range", range);
    environment.add_function("dict", functions::dict);
    environment.add_function("namespace", functions::namespace);
    environment
}

impl ChatTemplate {
    pub fn compile(
        source: &str,
        special_tokens: Vec<(String, Value)>,
        limits: &MrChatTemplateLimits,
    ) -> Result<Self, BridgeError> {
        if source.len() > limits.max_template_bytes {
            return Err(corrupt(format!(
                "it has {} bytes, the limit for a chat template is {}",
                source.len(),
                limits.max_template_bytes
            )));
        }
        let source = without_generation_tags(source).into_boxed_str();
        check_constants(&source)?;
        // SAFETY: the text stays where it is while the box lives, and what borrows from it is
        // dropped with this object, before the box (fields are dropped in their order).
        let text: &'static str = unsafe { &*(&*source as *const str) };
        let whitespace = WhitespaceConfig {
            keep_trailing_newline: false,
            lstrip_blocks: true,
            trim_blocks: true,
        };
        let ast = parse(text, "chat template", Default::default(), whitespace)
            .map_err(|e| describe_syntax_error(&e))?;
        let mut generator = CodeGenerator::new("chat template", text);
        generator.compile_stmt(&ast);
        let (instructions, blocks) = generator.finish();
        let adapted = blocks.iter().map(|(name, code)| (*name, adapt(code, text)));
        Ok(ChatTemplate {
            instructions: adapt(&instructions, text),
            blocks: adapted.collect(),
            environment: make_environment(limits),
            special_tokens,
            max_output_bytes: limits.max_output_bytes,
            source,
        })
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// The texts that the template itself writes, or compares with.
    pub fn literals(&self) -> Vec<String> {
        let mut out = Vec::new();
        for code in std::iter::once(&self.instructions).chain(self.blocks.values()) {
            for i in 0.. {
                match code.get(i) {
                    Some(Instruction::EmitRaw(text)) => out.push(text.to_string()),
                    Some(Instruction::LoadConst(value)) => collect_texts(value, &mut out),
                    Some(_) => {}
                    None => break,
                }
            }
        }
        out
    }

    /// The rendered text; `lifted`: with the user's characters marked, under a Guard.
    pub fn render(
        &self,
        request: &ChatRequest,
        local_seconds: i64,
        max_work_bytes: usize,
        lifted: bool,
    ) -> Result<String, BridgeError> {
        let _guard = lifted.then(Guard::new);
        let work = Work {
            bytes: AtomicUsize::new(0),
            literals: AtomicUsize::new(0),
            max_bytes: max_work_bytes,
        };
        let clock = Clock {
            local_seconds,
            work: work.into(),
        };
        let mut variables = vec![(Value::from(CLOCK), Value::from_object(clock))];
        for (name, value) in &self.special_tokens {
            if !request.variables.iter().any(|(given, _)| given == name) {
                variables.push((Value::from(name.as_str()), value.clone()));
            }
        }
        let given = request.variables.iter();
        variables
            .extend(given.map(|(name, value)| (Value::from(name.as_str()), value.value(lifted))));
        let root = Value::from_object(Dict::new(variables));
        let mut out = String::new();
        let mut output = make_string_output(&mut out);
        Vm::new(&self.environment)
            .eval(
                &self.instructions,
                root,
                &self.blocks,
                &mut output,
                AutoEscape::None,
            )
            .map_err(render_error)?;
        drop(output);
        if out.len() > self.max_output_bytes {
            return Err(refused(format!(
                "it writes {} bytes, the limit for a chat is {}",
                out.len(),
                self.max_output_bytes
            )));
        }
        match &request.continued {
            Some(text) => cut_at_mark(out, text),
            None => Ok(out),
        }
    }
}

/// The same program with our operators, and with long texts of the template written where they are
/// counted.
fn adapt(code: &Instructions<'static>, source: &'static str) -> Instructions<'static> {
    // Two instructions stand for one here and there, so that targets of jumps move.
    let mut places = Vec::new();
    let mut next = 0u32;
    let all: Vec<_> = (0..).map_while(|i| code.get(i)).collect();
    for instruction in &all {
        places.push(next);
        next += if first_of_two(instruction).is_some() {
            2
        } else {
            1
        };
    }
    places.push(next);
    let place = |target: u32| places.get(target as usize).copied().unwrap_or(next);

    let mut out = Instructions::new("chat template", source);
    for (i, instruction) in all.into_iter().enumerate() {
        let line = code.get_line(i as u32).unwrap_or(0);
        let first = first_of_two(instruction);
        if let Some(first) = first.clone() {
            out.add_with_line(first, line as u16);
        }
        let adapted = match instruction {
            Instruction::EmitRaw(_) if first.is_some() => Instruction::Emit,
            Instruction::Jump(target) => Instruction::Jump(place(*target)),
            Instruction::JumpIfFalse(target) => Instruction::JumpIfFalse(place(*target)),
            Instruction::JumpIfFalseOrPop(target) => Instruction::JumpIfFalseOrPop(place(*target)),
            Instruction::JumpIfTrueOrPop(target) => Instruction::JumpIfTrueOrPop(place(*target)),
            Instruction::Iterate(target) => Instruction::Iterate(place(*target)),
            Instruction::BuildMacro(name, target, flags) => {
                Instruction::BuildMacro(name, place(*target), *flags)
            }
            other => replacement(other).unwrap_or_else(|| other.clone()),
        };
        out.add_with_line(adapted, line as u16);
    }
    out
}

/// What is put before an instruction: a long text of the template is a value that is written, and
/// loops run over what Python iterates.
fn first_of_two<'a>(instruction: &Instruction<'a>) -> Option<Instruction<'a>> {
    match instruction {
        Instruction::EmitRaw(text) if text.len() > 64 => {
            Some(Instruction::LoadConst(Value::from(*text)))
        }
        Instruction::PushLoop(_) => Some(Instruction::ApplyFilter("operator:for", Some(1), !0)),
        _ => None,
    }
}

fn collect_texts(value: &Value, out: &mut Vec<String>) {
    if let Some(text) = value.as_str() {
        out.push(text.to_string());
    } else if is_list(value) {
        value
            .try_iter()
            .into_iter()
            .flatten()
            .for_each(|e| collect_texts(&e, out));
    } else if value.kind() == ValueKind::Map {
        for (key, member) in pairs(value).unwrap_or_default() {
            collect_texts(&key, out);
            collect_texts(&member, out);
        }
    }
}

/// Ends the text with the message that is to be continued, as transformers does.
fn cut_at_mark(mut rendered: String, continued: &str) -> Result<String, BridgeError> {
    let plain = fold(&rendered);
    let mark = CONTINUE_TAG.trim_end();
    let at = plain
        .rfind(mark)
        .filter(|_| plain.contains(continued.trim()));
    let Some(at) = at else {
        return Err(refused(
            "continue_final_message: the last message does not appear in the rendered chat".into(),
        ));
    };
    let kept = plain[..at].chars().count();
    let whole = plain[at..].starts_with(CONTINUE_TAG);
    let end = rendered
        .char_indices()
        .nth(kept)
        .map_or(rendered.len(), |(place, _)| place);
    rendered.truncate(end);
    if !whole {
        rendered.truncate(rendered.trim_end_matches(python_str::is_space).len());
    }
    Ok(rendered)
}
