//! The API as it is, without the `st2` client in between.
