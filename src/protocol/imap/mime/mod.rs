//! Reading a letter for its reader: where its parts lie, and what its headers say.
//!
//! * `scan`: the parts, as offsets, from a stream of chunks
//! * `header`: fields, unfolding, encoded words
//! * `content`: Content-Type and its kin
//! * `address`, `envelope`: ENVELOPE
//! * `structure`: BODYSTRUCTURE
//! * `section`: which bytes a section means
//! * `text`: decoded text, for SEARCH
//!
//! Any bytes are a letter here: nothing fails, and memory stays within `limits`.

pub mod address;
pub mod content;
pub mod envelope;
pub mod header;
pub mod scan;
pub mod section;
pub mod structure;
pub mod text;
