//! From messages to token ids, with the text of users kept out of the control tokens; and the C
//! functions of chat templates.

use crate::chat_request::{ChatRequest, Json, MrChatRequest};
use crate::chat_template::{ChatTemplate, MrChatTemplateLimits};
use crate::error::{guard, Error, MrError, MrSlice};
use crate::lifted::{fold_char, is_lifted, Guard};
use crate::tokenizer::{failed, MrTokenizer};
use minijinja::Value;
use std::collections::BTreeSet;
use std::ops::Range;
use std::ptr;
use tokenizers::tokenizer::normalizer::Range as TextRange;
use tokenizers::tokenizer::pre_tokenizer::Split;
use tokenizers::{
    Model, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, Token, Tokenizer,
};

/// A compiled template, and which tokens it takes control with. Immutable, as ChatTemplate.
pub struct MrChatTemplate {
    template: ChatTemplate,
    max_work_bytes: usize,
    /// Special tokens, and added ones that the template writes (`<tool_call>`), white space
    /// excepted: what transformers' `sanitize_control_tokens` guards.
    control_ids: BTreeSet<u32>,
}

/// What mr_chat_template_render made; its pointers live until mr_chat_free(owner).
#[repr(C)]
pub struct MrChat {
    pub text: MrSlice,
    pub token_ids: *const u32,
    pub num_tokens: usize,
    pub owner: *mut MrChatOwner,
}

pub struct MrChatOwner {
    text: String,
    token_ids: Vec<u32>,
}

impl MrChatTemplate {
    fn control_tokens(template: &ChatTemplate, tokenizer: &Tokenizer) -> BTreeSet<u32> {
        let literals = template.literals();
        let added = tokenizer.get_added_tokens_decoder();
        let control = added.iter().filter(|(_, token)| {
            token.special
                || !token.content.trim().is_empty()
                    && literals.iter().any(|text| text.contains(&token.content))
        });
        control.map(|(id, _)| *id).collect()
    }

    fn encode(
        &self,
        tokenizer: &Tokenizer,
        request: &ChatRequest,
        options: &MrChatRequest,
    ) -> Result<MrChatOwner, Error> {
        let seconds = options.local_seconds;
        let text = self
            .template
            .render(request, seconds, self.max_work_bytes, false)?;
        let encoding = tokenizer
            .encode_fast(text.as_str(), false)
            .map_err(failed)?;
        let token_ids = encoding.get_ids().to_vec();
        let owner = MrChatOwner { text, token_ids };
        if options.allow_control_tokens || !self.may_be_forged(tokenizer, request, &owner.token_ids)
        {
            return Ok(owner);
        }

        if request.has_plane_16() {
            return Err(Error::failed(
                "the messages hold a control token's text beside characters of the private plane 16, \
                 so that they cannot be told apart",
            ));
        }
        let lifted = self
            .template
            .render(request, seconds, self.max_work_bytes, true)?;
        let _guard = Guard::new();
        let mut user = Vec::with_capacity(owner.text.len());
        let mut plain = String::with_capacity(owner.text.len());
        for c in lifted.chars() {
            plain.push(fold_char(c));
            user.resize(plain.len(), is_lifted(c));
        }
        if plain != owner.text {
            return Err(Error::failed(
                "this chat template treats the text of the messages in a way that does not let us tell \
                 it from control tokens",
            ));
        }
        let token_ids = encode_guarded(tokenizer, &plain, &user, &self.control_ids)?;
        Ok(MrChatOwner {
            token_ids: token_ids.unwrap_or(owner.token_ids),
            text: owner.text,
        })
    }

    /// Whether any control token among these ids could have come from a text of the request, or
    /// have been put together with one.
    fn may_be_forged(&self, tokenizer: &Tokenizer, request: &ChatRequest, ids: &[u32]) -> bool {
        let found: BTreeSet<u32> = ids
            .iter()
            .copied()
            .filter(|id| self.control_ids.contains(id))
            .collect();
        let tokens: Vec<String> = found
            .iter()
            .filter_map(|id| Some(tokenizer.id_to_token(*id)?.to_lowercase()))
            .collect();
        let mut forged = false;
        for (_, value) in &request.variables {
            value.each_text(&mut |text| {
                let text = text.to_lowercase();
                let text = text.trim();
                forged =
                    forged || !text.is_empty() && tokens.iter().any(|token| touches(text, token));
            });
        }
        forged
    }
}

/// Whether the text holds the token, is a part of it, or overlaps it at an end; both in lower case.
fn touches(text: &str, token: &str) -> bool {
    text.contains(token)
        || token.contains(text)
        || token
            .char_indices()
            .skip(1)
            .any(|(at, _)| text.ends_with(&token[..at]) || text.starts_with(&token[at..]))
}

/// The ids of a text in which `user` says of every byte whether a user wrote it. Tokens are found
/// as always, but a control token with a byte of a user in it is text: it and what surrounds it, up
/// to the next tokens that hold, is encoded as if there were no added tokens. Nothing where all
/// tokens hold.
fn encode_guarded(
    tokenizer: &Tokenizer,
    text: &str,
    user: &[bool],
    control_ids: &BTreeSet<u32>,
) -> Result<Option<Vec<u32>>, Error> {
    let normalizer = tokenizer.get_normalizer();
    let found = tokenizer
        .get_added_vocabulary()
        .extract_and_normalize(normalizer, text);
    let splits = found.get_splits(OffsetReferential::Original, OffsetType::Byte);
    let mut kept: Vec<(Range<usize>, Token)> = Vec::new();
    let mut all_hold = true;
    for (_, (begin, end), tokens) in splits {
        let Some(token) = tokens.as_ref().and_then(|tokens| tokens.first()) else {
            continue;
        };
        if control_ids.contains(&token.id) && user[begin..end].contains(&true) {
            all_hold = false;
        } else {
            kept.push((begin..end, token.clone()));
        }
    }
    if all_hold {
        return Ok(None);
    }

    let mut pieces = PreTokenizedString::from(text);
    let split = |_, whole: NormalizedString| -> tokenizers::Result<Vec<Split>> {
        let mut out = Vec::new();
        let mut text_from = 0;
        let push_text = |out: &mut Vec<Split>, range: Range<usize>| {
            if let (false, Some(piece)) =
                (range.is_empty(), whole.slice(TextRange::Original(range)))
            {
                out.push(Split::from(piece));
            }
        };
        for (range, token) in &kept {
            push_text(&mut out, text_from..range.start);
            if let Some(piece) = whole.slice(TextRange::Original(range.clone())) {
                out.push(Split::from((piece, Some(vec![token.clone()]))));
            }
            text_from = range.end;
        }
        push_text(&mut out, text_from..text.len());
        Ok(out)
    };
    pieces.split(split).map_err(failed)?;
    if let Some(normalizer) = normalizer {
        pieces
            .normalize(|piece| normalizer.normalize(piece))
            .map_err(failed)?;
    }
    if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
        pre_tokenizer.pre_tokenize(&mut pieces).map_err(failed)?;
    }
    let model = tokenizer.get_model();
    pieces
        .tokenize(|piece| model.tokenize(piece.get()))
        .map_err(failed)?;
    let encoding = pieces
        .into_encoding(None, 0, OffsetType::None)
        .map_err(failed)?;
    Ok(Some(encoding.get_ids().to_vec()))
}

/// Compiles a template. `special_tokens` is a JSON object of names and texts (bos_token and its
/// like) that the template may write. `tokenizer` may be null: then the template renders, and makes
/// no ids. Null on error: Corrupt where the template does not parse.
///
/// # Safety
/// The pointers are valid.
#[no_mangle]
pub unsafe extern "C" fn mr_chat_template_compile(
    source: MrSlice,
    special_tokens: MrSlice,
    tokenizer: *const MrTokenizer,
    limits: MrChatTemplateLimits,
    error: *mut MrError,
) -> *mut MrChatTemplate {
    guard(error, ptr::null_mut(), || {
        let special_tokens = match Json::parse(special_tokens.as_text()?) {
            Ok(Json::Map(members)) => members,
            _ => Vec::new(),
        };
        let special_tokens: Vec<(String, Value)> = special_tokens
            .into_iter()
            .map(|(name, token)| (name, token.value(false)))
            .collect();
        let template = ChatTemplate::compile(source.as_text()?, special_tokens, &limits)?;
        let control_ids = match tokenizer.as_ref() {
            Some(tokenizer) => MrChatTemplate::control_tokens(&template, &tokenizer.tokenizer),
            None => BTreeSet::new(),
        };
        let max_work_bytes = limits.max_work_bytes;
        Ok(Box::into_raw(Box::new(MrChatTemplate {
            template,
            max_work_bytes,
            control_ids,
        })))
    })
}

/// # Safety
/// `template` came from mr_chat_template_compile and is freed once.
#[no_mangle]
pub unsafe extern "C" fn mr_chat_template_free(template: *mut MrChatTemplate) {
    drop(Box::from_raw(template));
}

/// Renders a request, and encodes it where `tokenizer` is not null: the one
/// that the template was compiled with. False on error: Failed where the request or the template
/// refuses, with the template's own words where it has any.
///
/// # Safety
/// The pointers are valid; `out` is written on success and then freed by mr_chat_free.
#[no_mangle]
pub unsafe extern "C" fn mr_chat_template_render(
    template: *const MrChatTemplate,
    tokenizer: *const MrTokenizer,
    request: MrChatRequest,
    out: *mut MrChat,
    error: *mut MrError,
) -> bool {
    guard(error, false, || {
        let this = &*template;
        let options = request;
        let request = ChatRequest::parse(&options, this.template.source())?;
        let owner = match tokenizer.as_ref() {
            Some(tokenizer) => this.encode(&tokenizer.tokenizer, &request, &options)?,
            None => MrChatOwner {
                text: this.template.render(
                    &request,
                    options.local_seconds,
                    this.max_work_bytes,
                    false,
                )?,
                token_ids: Vec::new(),
            },
        };
        let owner = Box::new(owner);
        out.write(MrChat {
            text: MrSlice {
                data: owner.text.as_ptr(),
                size: owner.text.len(),
            },
            token_ids: owner.token_ids.as_ptr(),
            num_tokens: owner.token_ids.len(),
            owner: Box::into_raw(owner),
        });
        Ok(true)
    })
}

/// # Safety
/// `owner` came from mr_chat_template_render and is freed once.
#[no_mangle]
pub unsafe extern "C" fn mr_chat_free(owner: *mut MrChatOwner) {
    drop(Box::from_raw(owner));
}
