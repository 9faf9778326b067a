//! Chat templates: `minijinja` made to render what Jinja2 renders inside transformers'
//! `apply_chat_template`, under limits.
//!
//! minijinja compiles and runs the template. Where its operators and filters mean something else than
//! Python's (a boolean or a list as text, comparisons of unlike things), and wherever a template could
//! make a text grow without a step being counted, the compiled instruction is replaced by a call of
//! ours. That needs the crate's unstable machinery, and so its exact version.

mod filters;
mod functions;
mod limits;
mod operators;
mod program;
mod source;
mod user_text;

use crate::chat_request::{ChatRequest, CONTINUE_TAG};
use crate::error::Error;
use crate::lifted::{fold, Guard};
use crate::python::{text_of, type_error, Dict};
use crate::python_str;
use functions::Raised;
use limits::{charge, Rendering};
use minijinja::machinery::{
    make_string_output, parse, CodeGenerator, Instructions, Vm, WhitespaceConfig,
};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};
use std::collections::BTreeMap;

pub use limits::MrChatTemplateLimits;

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

impl ChatTemplate {
    pub fn compile(
        source: &str,
        special_tokens: Vec<(String, Value)>,
        limits: &MrChatTemplateLimits,
    ) -> Result<Self, Error> {
        if source.len() > limits.max_template_bytes {
            return Err(Error::corrupt(format!(
                "it has {} bytes, the limit for a chat template is {}",
                source.len(),
                limits.max_template_bytes
            )));
        }
        let source = source::without_generation_tags(source).into_boxed_str();
        source::check_constants(&source)?;
        // SAFETY: the text stays where it is while the box lives, and what borrows from it is
        // dropped with this object, before the box (fields are dropped in their order).
        let text: &'static str = unsafe { &*(&*source as *const str) };
        let whitespace = WhitespaceConfig {
            keep_trailing_newline: false,
            lstrip_blocks: true,
            trim_blocks: true,
        };
        let ast = parse(text, "chat template", Default::default(), whitespace)
            .map_err(source::syntax_error)?;
        let mut generator = CodeGenerator::new("chat template", text);
        generator.compile_stmt(&ast);
        let (instructions, blocks) = generator.finish();
        let adapted = blocks
            .iter()
            .map(|(name, code)| (*name, program::adapt(code, text)));
        Ok(ChatTemplate {
            instructions: program::adapt(&instructions, text),
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
            program::literals(code, &mut out);
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
    ) -> Result<String, Error> {
        let _guard = lifted.then(Guard::new);
        let mut variables = vec![Rendering::variable(local_seconds, max_work_bytes)];
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
            return Err(Error::failed(format!(
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
    environment.set_unknown_method_callback(functions::call_method);
    operators::add_operators(&mut environment);
    filters::add_filters(&mut environment);
    functions::add_tests(&mut environment);
    functions::add_functions(&mut environment);
    environment
}

/// Ends the text with the message that is to be continued, as transformers does.
fn cut_at_mark(mut rendered: String, continued: &str) -> Result<String, Error> {
    let plain = fold(&rendered);
    let mark = CONTINUE_TAG.trim_end();
    let at = plain
        .rfind(mark)
        .filter(|_| plain.contains(continued.trim()));
    let Some(at) = at else {
        return Err(Error::failed(
            "continue_final_message: the last message does not appear in the rendered chat",
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

/// What a client is told of a rendering that failed.
fn render_error(error: minijinja::Error) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(Raised(message)) = cause.downcast_ref() {
            return Error::failed(message.clone());
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
    Error::failed(format!("{line}{message}"))
}
