//! Operators, comparisons and subscripts as Python means them.

use super::limits::{charge, charge_list, charge_value, charged_text};
use super::user_text::{folded, is_user_text};
use crate::lifted::{fold, has_lifted, lift};
use crate::python::{is_list, text_of, type_error};
use crate::python_str;
use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, FormatStyle, State, Value};

pub fn add_operators(environment: &mut Environment<'static>) {
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

pub fn integer_value(number: Option<i128>) -> Result<Value, Error> {
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
pub fn format_text(
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

pub fn equal(state: &State, a: Value, b: Value) -> Result<bool, Error> {
    charge_value(state, &a)?;
    Ok(match (a.as_str(), b.as_str()) {
        (Some(x), Some(y)) => fold(x) == fold(y),
        _ => folded(&a) == folded(&b),
    })
}

/// Whether a < b; only likes are compared.
pub fn less(a: &Value, b: &Value) -> Result<bool, Error> {
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

pub fn is_in(state: &State, needle: Value, container: Value) -> Result<bool, Error> {
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
    charge_list(state)?;
    Ok(Value::from(elements.0))
}
