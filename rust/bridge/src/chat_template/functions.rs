//! What a template calls by name beside filters: tests, functions, and methods of values.

use super::filters::replace;
use super::limits::{charge, charge_value, Rendering, MAX_COUNT};
use super::operators::{equal, format_text, is_in, less};
use super::user_text::folded;
use crate::lifted::fold;
use crate::python::{self, text_of, type_error};
use crate::python_str;
use minijinja::value::{Rest, ValueKind};
use minijinja::{functions, tests, Environment, Error, ErrorKind, FormatStyle, State, Value};

pub fn add_tests(environment: &mut Environment<'static>) {
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

pub fn add_functions(environment: &mut Environment<'static>) {
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_function("range", range);
    environment.add_function("dict", functions::dict);
    environment.add_function("namespace", functions::namespace);
}

/// What `raise_exception` was given: the template's own words.
#[derive(Debug)]
pub struct Raised(pub String);

impl std::fmt::Display for Raised {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn raise_exception(message: Value) -> Result<Value, Error> {
    let message = fold(&text_of(&message)?).into_owned();
    Err(type_error(message.clone()).with_source(Raised(message)))
}

fn strftime_now(state: &State, format: &str) -> Result<String, Error> {
    python::strftime(&fold(format), Rendering::of(state)?.local_seconds)
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

/// Methods of Python's texts; of maps and lists those of the compatibility add-on.
pub fn call_method(
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
