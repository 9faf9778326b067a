//! The bridge between Millrace's C++ and the Rust libraries it uses: one module per library.
//!
//! Rules of the border: plain C types only; what Rust allocates goes back to Rust to be freed;
//! errors are values; a panic becomes an error and never crosses into C++.

mod chat_request;
mod chat_template;
mod chat_tokens;
mod error;
mod lifted;
mod message_pack;
mod python;
mod python_str;

mod token_pieces;
mod tokenizer;
