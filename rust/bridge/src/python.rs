//! What templates written for Jinja2 take for granted of Python: how values read as text
//! (`str`, `repr`), `json.dumps`, `strftime`, and the order of keys.

use crate::lifted::{fold, fold_char, is_lifted, lift_char};
use minijinja::value::{Enumerator, Object, ObjectRepr, ValueKind};
use minijinja::{Error, ErrorKind, Value};
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::Arc;

/// Nesting beyond which a value is not written out. Requests nest less (their parser sees to it);
/// only a template can build more.
const MAX_DEPTH: usize = 128;

pub fn type_error(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// An object of the request: keys in the order given, looked up whether lifted or not.
#[derive(Debug)]
pub struct Dict {
    entries: Vec<(Value, Value)>,
    places: HashMap<String, usize>,
}

impl Dict {
    pub fn new(entries: Vec<(Value, Value)>) -> Self {
        let text = |key: &Value| fold(key.as_str().unwrap_or_default()).into_owned();
        let places = entries.iter().enumerate();
        let places = places.map(|(i, (key, _))| (text(key), i)).collect();
        Dict { entries, places }
    }
}

impl Object for Dict {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let place = self.places.get(fold(key.as_str()?).as_ref())?;
        Some(self.entries[*place].1.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.entries.iter().map(|(key, _)| key.clone()).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.entries.len())
    }

    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        repr_into(&mut text, &Value::from_dyn_object(self.clone()), 0).map_err(|_| fmt::Error)?;
        out.write_str(&text)
    }
}

/// The pairs of a map.
pub fn pairs(map: &Value) -> Result<Vec<(Value, Value)>, Error> {
    let pairs = map.as_object().and_then(|object| object.try_iter_pairs());
    Ok(pairs
        .ok_or_else(|| type_error("this value has no items"))?
        .collect())
}

/// Whether it is a sequence that is no text.
pub fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

/// `str(value)`; an undefined value is empty, as Jinja2 prints it.
pub fn text_of(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_string());
    }
    let mut out = String::new();
    if !value.is_undefined() {
        repr_into(&mut out, value, 0)?;
    }
    Ok(out)
}

/// Python's `repr`.
fn repr_into(out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(type_error("a value is nested too deeply to be printed"));
    }
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => number_into(out, value),
        ValueKind::String => quote_into(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (i, element) in value.try_iter()?.enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                repr_into(out, &element, depth + 1)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (i, (key, member)) in pairs(value)?.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                repr_into(out, key, depth + 1)?;
                out.push_str(": ");
                repr_into(out, member, depth + 1)?;
            }
            out.push('}');
        }
        _ => {
            let _ = write!(out, "{value}");
        }
    }
    Ok(())
}

fn number_into(out: &mut String, value: &Value) {
    match f64::try_from(value.clone()) {
        Ok(number) if !value.is_integer() => out.push_str(&float_text(number)),
        _ => {
            let _ = write!(out, "{value}");
        }
    }
}

/// `repr` of a float: the fewest digits that read back equal, with an exponent below 1e-4 and from
/// 1e16 on.
pub fn float_text(number: f64) -> String {
    if !number.is_finite() {
        let sign = if number < 0.0 { "-" } else { "" };
        return match number.is_nan() {
            true => "nan".to_string(),
            false => format!("{sign}inf"),
        };
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{number}");
        return match plain.contains('.') {
            true => plain,
            false => plain + ".0",
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Whether Python's `repr` shows a character as itself: no control, format, separator or private
/// one. Unassigned code points count as printable here.
fn printable(c: char) -> bool {
    !(c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c as u32, 0xAD | 0x600..=0x605 | 0x61C | 0x6DD | 0x70F | 0x180E | 0x200B..=0x200F
            | 0x2028..=0x202E | 0x2060..=0x206F | 0xE000..=0xF8FF | 0xFEFF | 0xFFF9..=0xFFFB
            | 0xE0001..=0xE007F | 0xF0000..=0x10FFFF))
}

fn quote_into(out: &mut String, text: &str) {
    let has = |wanted| text.chars().any(|c| fold_char(c) == wanted);
    let quote = if has('\'') && !has('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        let plain = fold_char(c);
        let escaped = match plain {
            '\n' => "\\n".to_string(),
            '\r' => "\\r".to_string(),
            '\t' => "\\t".to_string(),
            '\\' => "\\\\".to_string(),
            _ if plain == quote => format!("\\{quote}"),
            _ if printable(plain) => {
                out.push(c);
                continue;
            }
            _ if (plain as u32) < 0x100 => format!("\\x{:02x}", plain as u32),
            _ if (plain as u32) < 0x10000 => format!("\\u{:04x}", plain as u32),
            _ => format!("\\U{:08x}", plain as u32),
        };
        push_like(out, c, &escaped);
    }
    out.push(quote);
}

/// Text that stands for the character `c` is the user's where `c` was.
pub fn push_like(out: &mut String, c: char, text: &str) {
    match is_lifted(c) {
        true => out.extend(text.chars().map(lift_char)),
        false => out.push_str(text),
    }
}

/// The arguments of `json.dumps` that transformers' `tojson` passes on.
pub struct JsonStyle {
    pub ensure_ascii: bool,
    pub indent: Option<String>,
    pub item_separator: String,
    pub key_separator: String,
    pub sort_keys: bool,
}

pub fn json_into(
    out: &mut String,
    value: &Value,
    style: &JsonStyle,
    depth: usize,
) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(type_error("a value is nested too deeply for JSON"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => match f64::try_from(value.clone()) {
            Ok(number) if !value.is_integer() && !number.is_finite() => {
                out.push_str(match number {
                    _ if number.is_nan() => "NaN",
                    _ if number > 0.0 => "Infinity",
                    _ => "-Infinity",
                })
            }
            _ => number_into(out, value),
        },
        ValueKind::String => {
            json_string_into(out, value.as_str().unwrap_or_default(), style.ensure_ascii)
        }
        ValueKind::Seq => {
            let elements: Vec<Value> = value.try_iter()?.collect();
            json_items_into(out, ['[', ']'], elements.len(), style, depth, |out, i| {
                json_into(out, &elements[i], style, depth + 1)
            })?;
        }
        ValueKind::Map => {
            let mut members = Vec::new();
            for (key, member) in pairs(value)? {
                let name = match key.kind() {
                    ValueKind::Bool | ValueKind::None | ValueKind::Number => {
                        let mut name = String::new();
                        json_into(&mut name, &key, style, depth + 1)?;
                        name
                    }
                    _ => text_of(&key)?,
                };
                members.push((name, member));
            }
            if style.sort_keys {
                members.sort_by(|a, b| fold(&a.0).cmp(&fold(&b.0)));
            }
            json_items_into(out, ['{', '}'], members.len(), style, depth, |out, i| {
                json_string_into(out, &members[i].0, style.ensure_ascii);
                out.push_str(&style.key_separator);
                json_into(out, &members[i].1, style, depth + 1)
            })?;
        }
        kind => {
            let kind = if kind == ValueKind::Undefined {
                "Undefined".into()
            } else {
                kind.to_string()
            };
            return Err(type_error(format!(
                "Object of type {kind} is not JSON serializable"
            )));
        }
    }
    Ok(())
}

/// The brackets, separators and line breaks around `count` items.
fn json_items_into(
    out: &mut String,
    brackets: [char; 2],
    count: usize,
    style: &JsonStyle,
    depth: usize,
    mut write_item: impl FnMut(&mut String, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let break_line = |out: &mut String, depth: usize| {
        if let (Some(indent), true) = (&style.indent, count > 0) {
            out.push('\n');
            out.extend(std::iter::repeat_n(indent.as_str(), depth));
        }
    };
    out.push(brackets[0]);
    for i in 0..count {
        if i > 0 {
            out.push_str(&style.item_separator);
        }
        break_line(out, depth + 1);
        write_item(out, i)?;
    }
    break_line(out, depth);
    out.push(brackets[1]);
    Ok(())
}

fn json_string_into(out: &mut String, text: &str, ensure_ascii: bool) {
    out.push('"');
    for c in text.chars() {
        let plain = fold_char(c);
        match plain {
            '"' => push_like(out, c, "\\\""),
            '\\' => push_like(out, c, "\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            _ if (plain as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", plain as u32);
            }
            _ if ensure_ascii && !plain.is_ascii() => {
                for unit in plain.encode_utf16(&mut [0; 2]) {
                    push_like(out, c, &format!("\\u{unit:04x}"));
                }
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// `strftime` of the C locale at a moment given as seconds since 1970 of the local calendar, which
/// like `datetime.now()` knows no zone.
pub fn strftime(format: &str, local_seconds: i64) -> Result<String, Error> {
    const DAYS: [&str; 7] = [
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
    ];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (days, seconds) = (
        local_seconds.div_euclid(86400),
        local_seconds.rem_euclid(86400),
    );
    let (year, month, day) = civil_from_days(days);
    let day_of_year = days - days_from_civil(year, 1, 1) + 1;
    let weekday = (days.rem_euclid(7) + 4) % 7; // 0 is Sunday
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let day_name = DAYS[days.rem_euclid(7) as usize];
    let month_name = MONTHS[(month - 1) as usize];
    let hour12 = (hour + 11) % 12 + 1;
    let half = if hour < 12 { "AM" } else { "PM" };

    let mut out = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = rest.next();
        let padded = directive != Some('-'); // glibc's flag: no leading zeros
        if !padded {
            directive = rest.next();
        }
        let mut number = |value: i64, width: usize| {
            let width = if padded { width } else { 0 };
            let _ = write!(out, "{value:0width$}");
        };
        match directive {
            Some('Y') => number(year, 4),
            Some('y') => number(year.rem_euclid(100), 2),
            Some('m') => number(month, 2),
            Some('d') => number(day, 2),
            Some('H') => number(hour, 2),
            Some('I') => number(hour12, 2),
            Some('M') => number(minute, 2),
            Some('S') => number(second, 2),
            Some('f') => number(0, 6),
            Some('j') => number(day_of_year, 3),
            Some('w') => number(weekday, 1),
            Some('u') => number((weekday + 6) % 7 + 1, 1),
            Some('s') => number(local_seconds, 1),
            Some('U') => number((day_of_year + 6 - weekday) / 7, 2),
            Some('W') => number((day_of_year + 6 - (weekday + 6) % 7) / 7, 2),
            Some('e') if padded => out.push_str(&format!("{day:2}")),
            Some('e') => number(day, 1),
            Some('A') => out.push_str(day_name),
            Some('a') => out.push_str(&day_name[..3]),
            Some('B') => out.push_str(month_name),
            Some('b' | 'h') => out.push_str(&month_name[..3]),
            Some('p') => out.push_str(half),
            Some('F') => out.push_str(&strftime("%Y-%m-%d", local_seconds)?),
            Some('T' | 'X') => out.push_str(&strftime("%H:%M:%S", local_seconds)?),
            Some('D' | 'x') => out.push_str(&strftime("%m/%d/%y", local_seconds)?),
            Some('R') => out.push_str(&strftime("%H:%M", local_seconds)?),
            Some('c') => out.push_str(&strftime("%a %b %e %H:%M:%S %Y", local_seconds)?),
            Some('Z' | 'z') => {}
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('%') => out.push('%'),
            other => {
                let name = other.map(String::from).unwrap_or_default();
                return Err(type_error(format!(
                    "strftime_now knows no directive %{name}"
                )));
            }
        }
    }
    Ok(out)
}

/// Year, month and day of a day number, 0 being 1970-01-01, in the proleptic Gregorian calendar:
/// eras of 400 years that begin on 1 March.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
