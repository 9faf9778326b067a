//! Values that hold the user's text: lifted.rs for lists and maps of texts.

use crate::lifted::{fold, has_lifted};
use crate::python::{pairs, Dict};
use minijinja::value::ValueKind;
use minijinja::Value;

/// Whether any text in it is the user's.
pub fn is_user_text(value: &Value) -> bool {
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
pub fn map_texts(value: &Value, change: &dyn Fn(&str) -> String) -> Value {
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

pub fn folded(value: &Value) -> Value {
    match is_user_text(value) {
        true => map_texts(value, &|text| fold(text).into_owned()),
        false => value.clone(),
    }
}
