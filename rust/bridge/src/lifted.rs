//! Provenance of characters, carried in the characters themselves.
//!
//! A template moves text about (trims, splits, joins), and afterwards nobody knows which part of its
//! output a user wrote. So a guarded rendering gives it the user's text with every visible character
//! of the basic plane moved to plane 16, a private one that no text needs: the lengths and the order
//! stay, every operation that moves text moves the mark with it, and comparisons look through it
//! (`fold`). White space stays as it is, so that trimming finds it.

//!
//! Outside of a guarded rendering plane 16 means nothing here: `Guard` switches the marks on for the
//! thread that renders.

use std::borrow::Cow;
use std::cell::Cell;

const PLANE: u32 = 0x10_0000;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, characters of plane 16 are lifted ones on this thread.
pub struct Guard(());

impl Guard {
    pub fn new() -> Self {
        GUARDED.set(true);
        Guard(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        GUARDED.set(false);
    }
}

fn stays(c: char) -> bool {
    c as u32 > 0xFFFD || c <= ' ' || c.is_whitespace()
}

pub fn lift_char(c: char) -> char {
    match stays(c) {
        true => c,
        false => char::from_u32(PLANE + c as u32).unwrap_or(c),
    }
}

pub fn is_lifted(c: char) -> bool {
    c as u32 >= PLANE && GUARDED.get()
}

pub fn fold_char(c: char) -> char {
    match is_lifted(c) {
        true => char::from_u32(c as u32 - PLANE).unwrap_or(c),
        false => c,
    }
}

pub fn lift(text: &str) -> String {
    text.chars().map(lift_char).collect()
}

/// Whether any character is of plane 16: in UTF-8 the only ones that begin with 0xF4.
pub fn has_plane_16(text: &str) -> bool {
    text.as_bytes().contains(&0xF4)
}

pub fn has_lifted(text: &str) -> bool {
    GUARDED.get() && has_plane_16(text)
}

pub fn fold(text: &str) -> Cow<'_, str> {
    match has_lifted(text) {
        true => text.chars().map(fold_char).collect::<String>().into(),
        false => text.into(),
    }
}
