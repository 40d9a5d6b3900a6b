//! The repository itself: its structure, its files for operators and its table of MUSTs.

mod architecture;
mod deploy;
mod must;
