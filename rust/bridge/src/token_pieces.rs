//! What each token adds to a decoded text, by id: what incremental decoding is made of.
//!
//! A decoder of `tokenizers` maps whole lists of tokens. Those of language models are steps that look
//! at one token and whether it is the first (Replace, Metaspace, WordPiece), and then one way to join
//! the pieces. The former are computed here, once for each id and by the library itself; the latter is
//! named.

use crate::error::{guard, Error, MrError, MrErrorCode};
use crate::tokenizer::{failed, MrTokenizer};
use std::ptr;
use tokenizers::{Decoder, DecoderWrapper, Tokenizer};

/// How pieces become text.
#[repr(C)]
#[derive(Clone, Copy, PartialEq)]
pub enum MrPieceJoin {
    /// Side by side.
    Text,
    /// Side by side as bytes, read as UTF-8 with replacement characters for what is none.
    Bytes,
    /// Side by side; a run of tokens that are bytes is one text if it is UTF-8 as a whole, else one
    /// replacement character a token.
    ByteFallback,
    /// Known only of all tokens together.
    Whole,
}

/// Places in MrTokenPieces::text.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct MrTokenPiece {
    pub begin: u32,
    pub end: u32,
    /// Where it is the first token of a text.
    pub first_begin: u32,
    pub first_end: u32,
    /// There is such a token; others are skipped.
    pub exists: bool,
    pub special: bool,
    /// The piece is one byte, of ByteFallback.
    pub is_byte: bool,
}

/// The pieces of a vocabulary; the pointers live until mr_token_pieces_free(owner).
#[repr(C)]
pub struct MrTokenPieces {
    pub join: MrPieceJoin,
    /// Dropped at the beginning of the whole text, up to so many times; 0 is none.
    pub strip_char: u32,
    pub strip_count: usize,
    pub pieces: *const MrTokenPiece,
    pub num_pieces: usize,
    pub text: *const u8,
    pub owner: *mut MrTokenPiecesOwner,
}

pub struct MrTokenPiecesOwner {
    pieces: Vec<MrTokenPiece>,
    text: Vec<u8>,
}

/// Ids beyond leave gaps that cost more than the tokens.
const MAX_ID: u32 = 16 << 20;

/// A decoder as steps on single tokens, and the join behind them.
struct Plan {
    steps: Vec<DecoderWrapper>,
    depends_on_first: bool,
    join: MrPieceJoin,
    strip: Option<(char, usize)>,
}

fn flatten(decoder: &DecoderWrapper, out: &mut Vec<DecoderWrapper>) {
    match decoder {
        DecoderWrapper::Sequence(sequence) => {
            sequence
                .get_decoders()
                .iter()
                .for_each(|decoder| flatten(decoder, out));
        }
        single => out.push(single.clone()),
    }
}

impl Plan {
    fn new(decoder: &DecoderWrapper) -> Self {
        use DecoderWrapper::*;
        let mut all = Vec::new();
        flatten(decoder, &mut all);
        let mut plan = Plan {
            steps: Vec::new(),
            depends_on_first: false,
            join: MrPieceJoin::Text,
            strip: None,
        };
        let (mut joined, mut fused) = (false, false);
        for step in all {
            match step {
                Fuse(_) => (joined, fused) = (true, true),
                Replace(_) if !joined => plan.steps.push(step),
                Strip(ref strip) if !joined && strip.stop == 0 => plan.steps.push(step),
                Metaspace(_) | WordPiece(_) if !joined => {
                    plan.depends_on_first = true;
                    plan.steps.push(step);
                }
                ByteFallback(_) if !joined => {
                    plan.join = MrPieceJoin::ByteFallback;
                    joined = true;
                }
                ByteLevel(_) if !joined => {
                    plan.join = MrPieceJoin::Bytes;
                    (joined, fused) = (true, true);
                }
                Strip(ref strip) if fused && strip.stop == 0 && plan.strip.is_none() => {
                    plan.strip = Some((strip.content, strip.start));
                }
                _ => {
                    plan.join = MrPieceJoin::Whole;
                    return plan;
                }
            }
        }
        plan
    }

    /// The pieces of these tokens, none of which is the first of its text.
    fn pieces(&self, tokens: &[String]) -> Result<Vec<String>, Error> {
        let before = std::iter::once(String::new());
        let mut all = before.chain(tokens.iter().cloned()).collect();
        for step in &self.steps {
            all = step.decode_chain(all).map_err(failed)?;
        }
        all.remove(0);
        Ok(all)
    }

    fn first_piece(&self, token: &str) -> Result<String, Error> {
        let mut one = vec![token.to_string()];
        for step in &self.steps {
            one = step.decode_chain(one).map_err(failed)?;
        }
        Ok(one.concat())
    }

    /// The byte that a piece spells, as ByteFallback reads it.
    fn byte(&self, piece: &str) -> Option<u8> {
        let spelled = piece.len() == 6 && piece.starts_with("<0x") && piece.ends_with('>');
        match self.join == MrPieceJoin::ByteFallback && spelled {
            true => u8::from_str_radix(piece.get(3..5)?, 16).ok(),
            false => None,
        }
    }

    fn bytes(&self, piece: &str) -> Vec<u8> {
        match (self.join, self.byte(piece)) {
            (_, Some(byte)) => vec![byte],
            (MrPieceJoin::Bytes, _) => byte_level(piece),
            _ => piece.as_bytes().to_vec(),
        }
    }
}

/// The bytes that a piece of byte-level BPE spells: printable bytes of Latin-1 stand for themselves,
/// the others for the characters from U+0100 on, in order. A piece with any other character is text.
fn byte_level(piece: &str) -> Vec<u8> {
    let is_printable = |b: u32| matches!(b, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let byte = |c: char| match c as u32 {
        b if is_printable(b) => Some(b as u8),
        code @ 0x100..=0x143 => {
            let mut others = (0..=0xFFu32).filter(|b| !is_printable(*b));
            others.nth((code - 0x100) as usize).map(|b| b as u8)
        }
        _ => None,
    };
    let bytes: Option<Vec<u8>> = piece.chars().map(byte).collect();
    bytes.unwrap_or_else(|| piece.as_bytes().to_vec())
}

fn build(tokenizer: &Tokenizer) -> Result<(Plan, MrTokenPiecesOwner), Error> {
    let mut ids: Vec<u32> = tokenizer.get_vocab(true).into_values().collect();
    ids.sort_unstable();
    ids.dedup();
    let max_id = ids.last().copied().unwrap_or(0);
    if max_id > MAX_ID {
        return Err(Error {
            code: MrErrorCode::Failed,
            message: format!(
                "token id {max_id} is over the limit of {MAX_ID} for decoding in steps"
            ),
        });
    }
    let known: Vec<(u32, String)> = ids
        .into_iter()
        .filter_map(|id| Some((id, tokenizer.id_to_token(id)?)))
        .collect();
    let tokens: Vec<String> = known.iter().map(|(_, token)| token.clone()).collect();

    let (mut plan, rest) = match tokenizer.get_decoder() {
        Some(decoder) => {
            let plan = Plan::new(decoder);
            let rest = match plan.join {
                MrPieceJoin::Whole => tokens.clone(),
                _ => plan.pieces(&tokens)?,
            };
            (plan, rest)
        }
        // Without a decoder, tokens stand apart by a space.
        None => {
            let plan = Plan {
                steps: Vec::new(),
                depends_on_first: true,
                join: MrPieceJoin::Text,
                strip: None,
            };
            (
                plan,
                tokens.iter().map(|token| format!(" {token}")).collect(),
            )
        }
    };
    let added = tokenizer.get_added_vocabulary();
    let mut owner = MrTokenPiecesOwner {
        pieces: vec![MrTokenPiece::default(); max_id as usize + 1],
        text: Vec::new(),
    };
    for ((id, token), piece) in known.iter().zip(&rest) {
        let mut put = |bytes: &[u8]| {
            let begin = owner.text.len() as u32;
            owner.text.extend(bytes);
            (begin, owner.text.len() as u32)
        };
        let (begin, end) = put(&plan.bytes(piece));
        let (mut first_begin, mut first_end) = (begin, end);
        if plan.depends_on_first && plan.join != MrPieceJoin::Whole {
            let first = plan.first_piece(token)?;
            if plan.byte(&first) != plan.byte(piece) {
                plan.join = MrPieceJoin::Whole;
            }
            (first_begin, first_end) = put(&plan.bytes(&first));
        }
        owner.pieces[*id as usize] = MrTokenPiece {
            begin,
            end,
            first_begin,
            first_end,
            exists: true,
            special: added.is_special_token(token),
            is_byte: plan.byte(piece).is_some(),
        };
    }
    Ok((plan, owner))
}

/// The pieces of a tokenizer's vocabulary. False on error: ids too far apart.
///
/// # Safety
/// The pointers are valid; `out` is written on success and then freed by mr_token_pieces_free.
#[no_mangle]
pub unsafe extern "C" fn mr_token_pieces(
    tokenizer: *const MrTokenizer,
    out: *mut MrTokenPieces,
    error: *mut MrError,
) -> bool {
    guard(error, false, || {
        let (plan, owner) = build(&(*tokenizer).tokenizer)?;
        let owner = Box::new(owner);
        let strip = plan.strip.unwrap_or(('\0', 0));
        out.write(MrTokenPieces {
            join: plan.join,
            strip_char: strip.0 as u32,
            strip_count: strip.1,
            pieces: owner.pieces.as_ptr(),
            num_pieces: owner.pieces.len(),
            text: match owner.text.is_empty() {
                true => ptr::null(),
                false => owner.text.as_ptr(),
            },
            owner: Box::into_raw(owner),
        });
        Ok(true)
    })
}

/// # Safety
/// `owner` came from mr_token_pieces and is freed once.
#[no_mangle]
pub unsafe extern "C" fn mr_token_pieces_free(owner: *mut MrTokenPiecesOwner) {
    drop(Box::from_raw(owner));
}
