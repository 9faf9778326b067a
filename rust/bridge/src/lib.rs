//! The bridge between Millrace's C++ and the Rust libraries it uses: one module per library.
//!
//! Rules of the border: plain C types only; what Rust allocates goes back to Rust to be freed;
//! errors are values; a panic becomes an error and never crosses into C++.

mod error;
mod message_pack;
mod tokenizer;
