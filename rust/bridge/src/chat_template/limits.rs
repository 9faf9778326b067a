//! What one rendering may use up: steps are counted by minijinja, the bytes that they move and the
//! lists that they make here.

use crate::python::type_error;
use minijinja::value::Object;
use minijinja::{Error, State, Value};
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
pub const MAX_COUNT: i64 = 100_000;

/// A variable that no template can name.
const RENDERING: &str = "the rendering";

/// The moment of a rendering, and what it has used up.
#[derive(Debug)]
pub struct Rendering {
    pub local_seconds: i64,
    bytes: AtomicUsize,
    literals: AtomicUsize,
    max_bytes: usize,
}

impl Object for Rendering {}

impl Rendering {
    /// The name and the value of the variable that holds it.
    pub fn variable(local_seconds: i64, max_bytes: usize) -> (Value, Value) {
        let rendering = Rendering {
            local_seconds,
            bytes: AtomicUsize::new(0),
            literals: AtomicUsize::new(0),
            max_bytes,
        };
        (Value::from(RENDERING), Value::from_object(rendering))
    }

    pub fn of(state: &State) -> Result<Arc<Rendering>, Error> {
        let value = state.lookup(RENDERING).unwrap_or_default();
        value
            .downcast_object()
            .ok_or_else(|| type_error("a rendering without its limits"))
    }
}

pub fn charge(state: &State, bytes: usize) -> Result<(), Error> {
    let rendering = Rendering::of(state)?;
    let spent = rendering
        .bytes
        .fetch_add(bytes, Ordering::Relaxed)
        .saturating_add(bytes);
    match spent > rendering.max_bytes {
        true => Err(type_error(format!(
            "it moves more than {} bytes of text about, the limit for a chat template",
            rendering.max_bytes
        ))),
        false => Ok(()),
    }
}

pub fn charge_value(state: &State, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if text.len() > 32 => charge(state, text.len()),
        _ => Ok(()),
    }
}

pub fn charged_text(state: &State, text: String) -> Result<Value, Error> {
    charge(state, text.len())?;
    Ok(Value::from(text))
}

pub fn charge_list(state: &State) -> Result<(), Error> {
    let made = Rendering::of(state)?
        .literals
        .fetch_add(1, Ordering::Relaxed);
    match made >= MAX_LITERALS {
        true => Err(type_error(format!(
            "it makes more than {MAX_LITERALS} lists"
        ))),
        false => Ok(()),
    }
}
