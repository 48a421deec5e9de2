//! The real slapd.
