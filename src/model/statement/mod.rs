//! Statements: what one key says for others to check (COSE_Sign1, RFC 9052, over deterministic CBOR, RFC 8949).
