//! Errors as values, borrowed and owned bytes, and the guard that keeps panics on this side.

use std::panic::{self, AssertUnwindSafe};
use std::{any::Any, mem, ptr, slice, str, sync::Once};

/// Bytes that the caller owns; read during the call only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MrSlice {
    pub data: *const u8,
    pub size: usize,
}

impl MrSlice {
    /// # Safety
    /// `data` points to `size` readable bytes for the lifetime 'a; it may be null when `size` is 0.
    pub unsafe fn as_bytes<'a>(self) -> &'a [u8] {
        if self.size == 0 {
            return &[];
        }
        slice::from_raw_parts(self.data, self.size)
    }

    /// # Safety
    /// As `as_bytes`.
    pub unsafe fn as_text<'a>(self) -> Result<&'a str, Error> {
        str::from_utf8(self.as_bytes()).map_err(|e| Error {
            code: MrErrorCode::InvalidUtf8,
            message: format!("byte {} does not continue valid UTF-8", e.valid_up_to()),
        })
    }
}

/// Bytes that Rust allocated; given back by mr_buffer_free.
#[repr(C)]
pub struct MrBuffer {
    pub data: *mut u8,
    pub size: usize,
    pub capacity: usize,
}

impl MrBuffer {
    pub const fn empty() -> Self {
        MrBuffer {
            data: ptr::null_mut(),
            size: 0,
            capacity: 0,
        }
    }
}

impl From<String> for MrBuffer {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<Vec<u8>> for MrBuffer {
    fn from(bytes: Vec<u8>) -> Self {
        let mut bytes = mem::ManuallyDrop::new(bytes);
        MrBuffer {
            data: bytes.as_mut_ptr(),
            size: bytes.len(),
            capacity: bytes.capacity(),
        }
    }
}

/// Frees a buffer. An empty one (null data) is allowed.
///
/// # Safety
/// `buffer` came from this library and is freed once.
#[no_mangle]
pub unsafe extern "C" fn mr_buffer_free(buffer: MrBuffer) {
    if !buffer.data.is_null() {
        drop(Vec::from_raw_parts(
            buffer.data,
            buffer.size,
            buffer.capacity,
        ));
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MrErrorCode {
    /// What the caller starts with.
    #[allow(dead_code)]
    Ok,
    /// A text that is not UTF-8.
    InvalidUtf8,
    /// A file that does not follow its format.
    Corrupt,
    /// The library refused this input.
    Failed,
    /// A panic: the library's fault or ours, not the input's.
    Panic,
}

/// Filled by a call that fails and untouched by one that succeeds; the caller frees `message`.
#[repr(C)]
pub struct MrError {
    pub code: MrErrorCode,
    pub message: MrBuffer,
}

/// The error inside this crate.
#[derive(Debug)]
pub struct Error {
    pub code: MrErrorCode,
    pub message: String,
}

impl Error {
    pub fn corrupt(message: impl Into<String>) -> Self {
        Error {
            code: MrErrorCode::Corrupt,
            message: message.into(),
        }
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Error {
            code: MrErrorCode::Failed,
            message: message.into(),
        }
    }
}

/// Runs the body of an exported function: its value, or `otherwise` with `error` filled.
///
/// # Safety
/// `error` points to a writable MrError.
pub unsafe fn guard<T>(
    error: *mut MrError,
    otherwise: T,
    body: impl FnOnce() -> Result<T, Error>,
) -> T {
    silence_panic_messages();
    let failure = match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => return value,
        Ok(Err(failure)) => failure,
        Err(payload) => Error {
            code: MrErrorCode::Panic,
            message: panic_message(payload),
        },
    };
    error.write(MrError {
        code: failure.code,
        message: failure.message.into(),
    });
    otherwise
}

/// A library does not print: what a panic says travels in the error instead of to stderr.
fn silence_panic_messages() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(Box::new(|_| {})));
}

fn panic_message(payload: Box<dyn Any + Send>) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return text.to_string();
    }
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(_) => "a panic without a message".to_string(),
    }
}
