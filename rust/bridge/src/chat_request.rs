//! What a client asks to be rendered, as `apply_chat_template` of transformers prepares it: JSON
//! with numbers as exact as Python reads them, messages without their null members, the several
//! names of reasoning, and the mark at the end of a message that is to be continued.

use crate::error::{Error, MrErrorCode, MrSlice};
use crate::lifted::{has_plane_16, lift};
use crate::python::Dict;
use minijinja::Value;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt;

const MAX_DEPTH: usize = 64;
/// Put behind the text that is to be continued, and looked for in what was rendered.
pub const CONTINUE_TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];
/// Roles that templates spell into control tokens (`<|user|>`); any other is text like all else.
const ROLES: [&str; 8] = [
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
    "ipython",
    "tool_response",
];
/// What a template is given by us, or names an option of `apply_chat_template`.
const RESERVED: [&str; 8] = [
    "messages",
    "conversation",
    "tools",
    "documents",
    "add_generation_prompt",
    "continue_final_message",
    "chat_template",
    "tokenize",
];

/// What a client asks; the texts are JSON, and empty where there is none.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MrChatRequest {
    /// A list of objects, at least one.
    pub messages: MrSlice,
    /// Lists of objects.
    pub tools: MrSlice,
    pub documents: MrSlice,
    /// An object: further variables of the template.
    pub chat_template_kwargs: MrSlice,
    pub add_generation_prompt: bool,
    /// No JSON: the name of the member of the last message that is to be continued, or empty.
    pub continue_final_message: MrSlice,
    /// Seconds since 1970 of the local calendar: what strftime_now shows.
    pub local_seconds: i64,
    /// Let control tokens in the messages be control tokens.
    pub allow_control_tokens: bool,
}

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(Value),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

/// The members of a JSON object, in order; of equal keys the last value counts, at the first place.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut places = std::collections::HashMap::<String, usize>::new();
                let mut members = Self::Value::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    match places.get(&key) {
                        Some(place) => members[*place].1 = value,
                        None => {
                            places.insert(key.clone(), members.len());
                            members.push((key, value));
                        }
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Visitor).map(Members)
    }
}

impl Json {
    pub fn parse(text: &str) -> Result<Self, String> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|e| e.to_string())?;
        Self::from_raw(raw.get(), 0)
    }

    /// The parser of `serde_json` takes numbers for what fits 64 bits; here they stay text until
    /// they are read, at the price of one more scan for each level.
    fn from_raw(text: &str, depth: usize) -> Result<Self, String> {
        if depth > MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH}"));
        }
        let failed = |e: serde_json::Error| e.to_string();
        Ok(match text.as_bytes().first() {
            Some(b'{') => {
                let members: Members = serde_json::from_str(text).map_err(failed)?;
                let read = |(key, raw): (String, &RawValue)| {
                    Ok((key, Self::from_raw(raw.get(), depth + 1)?))
                };
                Json::Map(
                    members
                        .0
                        .into_iter()
                        .map(read)
                        .collect::<Result<_, String>>()?,
                )
            }
            Some(b'[') => {
                let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(failed)?;
                let read = |raw: &&RawValue| Self::from_raw(raw.get(), depth + 1);
                Json::List(elements.iter().map(read).collect::<Result<_, String>>()?)
            }
            Some(b'"') => Json::Text(serde_json::from_str(text).map_err(failed)?),
            Some(b't') => Json::Bool(true),
            Some(b'f') => Json::Bool(false),
            Some(b'n') => Json::Null,
            _ if text.contains(['.', 'e', 'E']) => {
                let number: f64 = text.parse().map_err(|_| format!("{text} is no number"))?;
                Json::Number(Value::from(number))
            }
            _ => {
                let number: i128 = text
                    .parse()
                    .map_err(|_| format!("{text} is beyond integers of 128 bits"))?;
                let small = i64::try_from(number).map(Value::from);
                Json::Number(small.unwrap_or_else(|_| Value::from(number)))
            }
        })
    }

    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Map(members) => members.iter().find(|(name, _)| name == key).map(|(_, v)| v),
            _ => None,
        }
    }

    fn set(&mut self, key: &str, value: Json, first: bool) {
        let Json::Map(members) = self else { return };
        match members.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None if first => members.insert(0, (key.to_string(), value)),
            None => members.push((key.to_string(), value)),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As the template sees it; `lifted`: with every text marked as the user's.
    pub fn value(&self, lifted: bool) -> Value {
        let text = |text: &str| match lifted {
            true => Value::from(lift(text)),
            false => Value::from(text),
        };
        match self {
            Json::Null => Value::from(()),
            Json::Bool(truth) => Value::from(*truth),
            Json::Number(number) => number.clone(),
            Json::Text(content) => text(content),
            Json::List(elements) => {
                Value::from(elements.iter().map(|e| e.value(lifted)).collect::<Vec<_>>())
            }
            Json::Map(members) => {
                let member = |(key, value): &(String, Json)| {
                    let role = key == "role" && value.text().is_some_and(|r| ROLES.contains(&r));
                    (text(key), value.value(lifted && !role))
                };
                Value::from_object(Dict::new(members.iter().map(member).collect()))
            }
        }
    }

    /// Calls `visit` with every text and key that a user wrote, roles of the list excepted.
    pub fn each_text(&self, visit: &mut dyn FnMut(&str)) {
        match self {
            Json::Text(text) => visit(text),
            Json::List(elements) => elements.iter().for_each(|e| e.each_text(visit)),
            Json::Map(members) => {
                for (key, value) in members {
                    visit(key);
                    let role = key == "role" && value.text().is_some_and(|r| ROLES.contains(&r));
                    if !role {
                        value.each_text(visit);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A request, ready to be rendered.
pub struct ChatRequest {
    /// messages, tools, documents, add_generation_prompt and what the client adds, by name.
    pub variables: Vec<(String, Json)>,
    /// Of a message that is to be continued: the text, without the mark.
    pub continued: Option<String>,
}

impl ChatRequest {
    /// `template` is its source.
    pub fn parse(texts: &MrChatRequest, template: &str) -> Result<Self, Error> {
        let failed = |message: String| Error {
            code: MrErrorCode::Failed,
            message,
        };
        let read = |name: &str, text: MrSlice| {
            // SAFETY: the caller of the bridge keeps the texts for the time of the call.
            let text = unsafe { text.as_text()? };
            match text.is_empty() {
                true => Ok(Json::Null),
                false => Json::parse(text).map_err(|e| failed(format!("{name}: {e}"))),
            }
        };
        let messages = read("messages", texts.messages)?;
        let tools = read("tools", texts.tools)?;
        let documents = read("documents", texts.documents)?;
        let kwargs = read("chat_template_kwargs", texts.chat_template_kwargs)?;
        // SAFETY: as above.
        let field = unsafe { texts.continue_final_message.as_text()? };
        let prompt = texts.add_generation_prompt;
        Self::prepare(
            [messages, tools, documents, kwargs],
            prompt,
            field,
            template,
        )
        .map_err(failed)
    }

    fn prepare(
        [messages, tools, documents, kwargs]: [Json; 4],
        prompt: bool,
        field: &str,
        template: &str,
    ) -> Result<Self, String> {
        let messages = match messages {
            Json::List(messages) if !messages.is_empty() => messages,
            Json::List(_) => return Err("messages is empty: give at least one".into()),
            _ => return Err("messages must be a list".into()),
        };
        let mut messages = messages
            .iter()
            .map(prepare_message)
            .collect::<Result<Vec<_>, _>>()?;
        for (name, list) in [("tools", &tools), ("documents", &documents)] {
            let fine = match list {
                Json::Null => true,
                Json::List(all) => all.iter().all(|e| matches!(e, Json::Map(_))),
                _ => false,
            };
            if !fine {
                return Err(format!("{name} must be a list of objects"));
            }
        }
        if !field.is_empty() && prompt {
            return Err(
                "continue_final_message and add_generation_prompt exclude each other".into(),
            );
        }
        let continued = match (field, messages.last_mut()) {
            ("", _) | (_, None) => None,
            (field, Some(last)) => Some(mark_continued(last, field, template)?),
        };
        let mut variables = match kwargs {
            Json::Null => Vec::new(),
            Json::Map(members) => members,
            _ => return Err("chat_template_kwargs must be an object".into()),
        };
        let reserved = variables
            .iter()
            .find(|(name, _)| RESERVED.contains(&name.as_str()));
        if let Some((name, _)) = reserved {
            return Err(format!("chat_template_kwargs may not hold \"{name}\""));
        }
        variables.push(("messages".into(), Json::List(messages)));
        variables.push(("tools".into(), tools));
        variables.push(("documents".into(), documents));
        variables.push(("add_generation_prompt".into(), Json::Bool(prompt)));
        Ok(ChatRequest {
            variables,
            continued,
        })
    }

    pub fn has_plane_16(&self) -> bool {
        let mut found = false;
        for (_, value) in &self.variables {
            value.each_text(&mut |text| found |= has_plane_16(text));
        }
        found
    }
}

/// Null members are dropped (many templates would print "None"), and reasoning stands under the
/// name that templates read, and the one that gpt-oss reads.
fn prepare_message(message: &Json) -> Result<Json, String> {
    let Json::Map(members) = message else {
        return Err("every message must be an object".into());
    };
    let kept = members
        .iter()
        .filter(|(_, value)| *value != Json::Null)
        .cloned();
    let mut message = Json::Map(kept.collect());
    let reasoning = REASONING.iter().find_map(|name| message.get(name)).cloned();
    if let Some(reasoning) = reasoning {
        if message.get("thinking").is_none() {
            message.set("thinking", reasoning.clone(), true);
        }
        message.set("reasoning_content", reasoning, false);
    }
    Ok(message)
}

/// Marks the end of the text that is to be continued, and returns that text.
fn mark_continued(message: &mut Json, field: &str, template: &str) -> Result<String, String> {
    let Some(content) = message.get(field).cloned() else {
        return Err(format!(
            "continue_final_message: the last message has no \"{field}\""
        ));
    };
    let mut fields = vec![field];
    if REASONING.contains(&field) {
        fields = REASONING
            .into_iter()
            .filter(|f| message.get(f) == Some(&content))
            .collect();
    }
    if !fields.iter().any(|field| template.contains(field)) {
        return Err(format!(
            "continue_final_message: this chat template reads no \"{field}\""
        ));
    }
    match content {
        Json::Text(text) => {
            for field in fields {
                message.set(field, Json::Text(format!("{text}{CONTINUE_TAG}")), false);
            }
            Ok(text)
        }
        Json::List(mut parts) => {
            let last = parts
                .iter_mut()
                .rev()
                .find(|part| part.get("text").is_some());
            let text = last.and_then(|part| {
                let text = part.get("text")?.text()?.to_string();
                part.set("text", Json::Text(format!("{text}{CONTINUE_TAG}")), false);
                Some(text)
            });
            message.set(field, Json::List(parts), false);
            text.ok_or_else(|| "continue_final_message: the last message has no text".into())
        }
        _ => Err(format!("continue_final_message: \"{field}\" is no text")),
    }
}
