//! Hugging Face `tokenizers`: a tokenizer.json, texts to ids and back.

use crate::error::{guard, Error, MrBuffer, MrError, MrErrorCode, MrSlice};
use std::{ptr, slice};
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::utils::parallelism::set_parallelism;
use tokenizers::{Encoding, PostProcessor, Tokenizer};

/// A loaded tokenizer. Immutable; every function that takes it may run on many threads at once.
pub struct MrTokenizer {
    // Without its post-processor, which runs after the truncation that each call asks for.
    pub tokenizer: Tokenizer,
    post_processor: Option<PostProcessorWrapper>,
    info: MrTokenizerInfo,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct MrTokenizerInfo {
    /// Entries of the vocabulary, added tokens included.
    pub vocab_size: usize,
    /// No call of mr_tokenizer_encode returns a larger id.
    pub max_token_id: u32,
    /// Special tokens put around one text, and around a pair.
    pub num_special_tokens: usize,
    pub num_special_tokens_pair: usize,
}

/// In what the caller counts offsets, if at all.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(dead_code)] // made on the other side of the border
pub enum MrOffsetUnit {
    None,
    Bytes,
    Characters,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct MrEncodeOptions {
    /// At most this many ids, special tokens included; 0: no limit. Never below the special tokens.
    pub max_tokens: usize,
    /// Cut at the beginning instead of the end.
    pub truncate_left: bool,
    pub add_special_tokens: bool,
    pub offsets: MrOffsetUnit,
}

/// Where a token stands in its text: [begin, end), empty for special tokens.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MrTokenSpan {
    pub begin: u32,
    pub end: u32,
    pub special: bool,
}

/// What mr_tokenizer_encode made; its pointers live until mr_encoding_free(owner).
#[repr(C)]
pub struct MrEncoding {
    pub token_ids: *const u32,
    pub type_ids: *const u32,
    /// Null unless offsets were asked for.
    pub spans: *const MrTokenSpan,
    pub num_tokens: usize,
    pub num_tokens_untruncated: usize,
    pub owner: *mut MrEncodingOwner,
}

pub struct MrEncodingOwner {
    encoding: Encoding,
    spans: Vec<MrTokenSpan>,
}

pub fn failed(error: tokenizers::Error) -> Error {
    Error {
        code: MrErrorCode::Failed,
        message: error.to_string(),
    }
}

impl MrTokenizer {
    fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        set_parallelism(false);
        let corrupt = |e: tokenizers::Error| Error {
            code: MrErrorCode::Corrupt,
            message: e.to_string(),
        };
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(corrupt)?;
        tokenizer.with_truncation(None).map_err(corrupt)?;
        tokenizer.with_padding(None);
        let post_processor = tokenizer.get_post_processor().cloned();
        tokenizer.with_post_processor(None::<PostProcessorWrapper>);

        let added = |pair| post_processor.as_ref().map_or(0, |p| p.added_tokens(pair));
        let mut info = MrTokenizerInfo {
            vocab_size: tokenizer.get_vocab_size(true),
            max_token_id: tokenizer.get_vocab(true).into_values().max().unwrap_or(0),
            num_special_tokens: added(false),
            num_special_tokens_pair: added(true),
        };
        // The ids of special tokens stand in the post-processor, not only in the vocabulary.
        let this = MrTokenizer {
            tokenizer,
            post_processor,
            info,
        };
        for pair in [None, Some(Encoding::default())] {
            let around = this.post_process(Encoding::default(), pair, true)?;
            let max = around.get_ids().iter().copied().max().unwrap_or(0);
            info.max_token_id = info.max_token_id.max(max);
        }
        Ok(MrTokenizer { info, ..this })
    }

    /// The tokens of one text, without special tokens.
    fn encode_text(&self, text: &str, offsets: MrOffsetUnit) -> Result<Encoding, Error> {
        match offsets {
            MrOffsetUnit::None => self.tokenizer.encode_fast(text, false),
            MrOffsetUnit::Bytes => self.tokenizer.encode(text, false),
            MrOffsetUnit::Characters => self.tokenizer.encode_char_offsets(text, false),
        }
        .map_err(failed)
    }

    fn post_process(
        &self,
        text: Encoding,
        pair: Option<Encoding>,
        add_special_tokens: bool,
    ) -> Result<Encoding, Error> {
        match &self.post_processor {
            Some(processor) => processor.process(text, pair, add_special_tokens),
            None => self.tokenizer.post_process(text, pair, add_special_tokens),
        }
        .map_err(failed)
    }

    fn encode(
        &self,
        text: &str,
        pair: Option<&str>,
        options: &MrEncodeOptions,
    ) -> Result<(Box<MrEncodingOwner>, usize), Error> {
        let mut text = self.encode_text(text, options.offsets)?;
        let mut pair = pair
            .map(|p| self.encode_text(p, options.offsets))
            .transpose()?;
        if let Some(pair) = &mut pair {
            pair.set_type_ids(vec![1; pair.len()]);
        }

        let mut num_removed = 0;
        if options.max_tokens > 0 {
            let added = match (&self.post_processor, options.add_special_tokens) {
                (Some(processor), true) => processor.added_tokens(pair.is_some()),
                _ => 0,
            };
            let budget = options.max_tokens.saturating_sub(added);
            let lengths = (text.len(), pair.as_ref().map_or(0, Encoding::len));
            let kept = longest_first(lengths, budget);
            num_removed = lengths.0 + lengths.1 - kept.0 - kept.1;
            text = truncate(text, kept.0, options.truncate_left);
            pair = pair.map(|p| truncate(p, kept.1, options.truncate_left));
        }

        let encoding = self.post_process(text, pair, options.add_special_tokens)?;
        let spans = match options.offsets {
            MrOffsetUnit::None => Vec::new(),
            _ => spans(&encoding),
        };
        let num_tokens_untruncated = encoding.len() + num_removed;
        Ok((
            Box::new(MrEncodingOwner { encoding, spans }),
            num_tokens_untruncated,
        ))
    }
}

/// How many tokens of (text, pair) stay under a common budget: the library's `LongestFirst`. The
/// longer one gives way until both have half; of an odd budget the longer, or the second, has more.
fn longest_first((text, pair): (usize, usize), budget: usize) -> (usize, usize) {
    if text + pair <= budget {
        return (text, pair);
    }
    let shorter = text.min(pair).min(budget / 2);
    let longer = budget - shorter;
    if text > pair {
        (longer, shorter)
    } else {
        (shorter, longer)
    }
}

/// The first or last `length` tokens. The library's own truncation also makes an Encoding of every
/// further window of the text; for a long text and a small limit those cost gigabytes.
fn truncate(encoding: Encoding, length: usize, left: bool) -> Encoding {
    if length >= encoding.len() {
        return encoding;
    }
    let begin = if left { encoding.len() - length } else { 0 };
    let kept = begin..begin + length;
    Encoding::new(
        encoding.get_ids()[kept.clone()].to_vec(),
        encoding.get_type_ids()[kept.clone()].to_vec(),
        encoding.get_tokens()[kept.clone()].to_vec(),
        encoding.get_word_ids()[kept.clone()].to_vec(),
        encoding.get_offsets()[kept.clone()].to_vec(),
        encoding.get_special_tokens_mask()[kept.clone()].to_vec(),
        encoding.get_attention_mask()[kept].to_vec(),
        Vec::new(),
        Default::default(),
    )
}

fn spans(encoding: &Encoding) -> Vec<MrTokenSpan> {
    encoding
        .get_offsets()
        .iter()
        .zip(encoding.get_special_tokens_mask())
        .map(|(&(begin, end), &special)| MrTokenSpan {
            begin: begin as u32,
            end: end as u32,
            special: special != 0,
        })
        .collect()
}

/// Loads a tokenizer.json; truncation and padding that stand in it are switched off. Null on error.
///
/// # Safety
/// `json` and `error` are valid.
#[no_mangle]
pub unsafe extern "C" fn mr_tokenizer_from_json(
    json: MrSlice,
    error: *mut MrError,
) -> *mut MrTokenizer {
    guard(error, ptr::null_mut(), || {
        let tokenizer = MrTokenizer::from_json(json.as_bytes())?;
        Ok(Box::into_raw(Box::new(tokenizer)))
    })
}

/// # Safety
/// `tokenizer` came from mr_tokenizer_from_json and is freed once.
#[no_mangle]
pub unsafe extern "C" fn mr_tokenizer_free(tokenizer: *mut MrTokenizer) {
    drop(Box::from_raw(tokenizer));
}

/// # Safety
/// `tokenizer` is valid.
#[no_mangle]
pub unsafe extern "C" fn mr_tokenizer_info(tokenizer: *const MrTokenizer) -> MrTokenizerInfo {
    (*tokenizer).info
}

/// Encodes a text, or a text and its pair where `pair` is not null. False on error.
///
/// # Safety
/// The pointers are valid; `out` is written on success and then freed by mr_encoding_free.
#[no_mangle]
pub unsafe extern "C" fn mr_tokenizer_encode(
    tokenizer: *const MrTokenizer,
    text: MrSlice,
    pair: *const MrSlice,
    options: MrEncodeOptions,
    out: *mut MrEncoding,
    error: *mut MrError,
) -> bool {
    guard(error, false, || {
        let pair = pair.as_ref().map(|p| p.as_text()).transpose()?;
        let (owner, num_tokens_untruncated) =
            (*tokenizer).encode(text.as_text()?, pair, &options)?;
        let encoding = &owner.encoding;
        out.write(MrEncoding {
            token_ids: encoding.get_ids().as_ptr(),
            type_ids: encoding.get_type_ids().as_ptr(),
            spans: match options.offsets {
                MrOffsetUnit::None => ptr::null(),
                _ => owner.spans.as_ptr(),
            },
            num_tokens: encoding.len(),
            num_tokens_untruncated,
            owner: Box::into_raw(owner),
        });
        Ok(true)
    })
}

/// # Safety
/// `owner` came from mr_tokenizer_encode and is freed once.
#[no_mangle]
pub unsafe extern "C" fn mr_encoding_free(owner: *mut MrEncodingOwner) {
    drop(Box::from_raw(owner));
}

/// The text of these ids; ids outside the vocabulary are skipped. An empty buffer on error.
///
/// # Safety
/// `token_ids` points to `num_tokens` ids (or is null when that is 0).
#[no_mangle]
pub unsafe extern "C" fn mr_tokenizer_decode(
    tokenizer: *const MrTokenizer,
    token_ids: *const u32,
    num_tokens: usize,
    skip_special_tokens: bool,
    error: *mut MrError,
) -> MrBuffer {
    guard(error, MrBuffer::empty(), || {
        let ids = match num_tokens {
            0 => &[],
            _ => slice::from_raw_parts(token_ids, num_tokens),
        };
        let text = (*tokenizer)
            .tokenizer
            .decode(ids, skip_special_tokens)
            .map_err(failed)?;
        Ok(text.into())
    })
}

/// Writes the id of a token, spelled as in the vocabulary; false when there is none.
///
/// # Safety
/// The pointers are valid.
#[no_mangle]
pub unsafe extern "C" fn mr_tokenizer_token_to_id(
    tokenizer: *const MrTokenizer,
    token: MrSlice,
    out: *mut u32,
    error: *mut MrError,
) -> bool {
    guard(error, false, || {
        let id = (*tokenizer).tokenizer.token_to_id(token.as_text()?);
        if let Some(id) = id {
            out.write(id);
        }
        Ok(id.is_some())
    })
}

/// Writes the token of an id, as the vocabulary spells it; false when there is none.
///
/// # Safety
/// The pointers are valid; `out` is then freed by mr_buffer_free.
#[no_mangle]
pub unsafe extern "C" fn mr_tokenizer_id_to_token(
    tokenizer: *const MrTokenizer,
    token_id: u32,
    out: *mut MrBuffer,
    error: *mut MrError,
) -> bool {
    guard(error, false, || {
        let token = (*tokenizer).tokenizer.id_to_token(token_id);
        let found = token.is_some();
        if let Some(token) = token {
            out.write(token.into());
        }
        Ok(found)
    })
}
