//! Orquesta: the workflow language, its expressions, and the conductor that decides what runs next.

pub mod conductor;
pub mod expression;
mod inspect;
pub mod spec;
pub mod state;
#[cfg(test)]
mod tests;
