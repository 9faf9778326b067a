//! Filters: minijinja's own where they agree with Jinja2's, under our limits, and ours where not.

use super::limits::{charge, charge_value, charged_text, MAX_COUNT};
use super::operators::{format_text, integer_value};
use super::user_text::{folded, is_user_text, map_texts};
use crate::lifted::{fold, lift};
use crate::python::{json_into, pairs, text_of, type_error, JsonStyle};
use crate::python_str;
use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, Rest, ValueKind};
use minijinja::{filters, Environment, Error, FormatStyle, State, Value};
use std::sync::Arc;

pub fn add_filters(environment: &mut Environment<'static>) {
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

pub fn replace(
    state: &State,
    text: &str,
    old: &str,
    new: &str,
    count: i64,
) -> Result<Value, Error> {
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
