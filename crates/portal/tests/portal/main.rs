//! The portal as its clients see it: a router, a database of its own for each test, a clock that tests move.

mod agreements;
mod allocations;
mod announcements;
mod bulk;
mod calls;
mod certificates;
mod change_sets;
mod clubs;
mod constraints;
mod exchange;
mod health;
mod imports;
mod inputs;
mod looking_glass;
mod lookup;
mod range_challenges;
mod ranges;
mod reachability;
mod sessions;
mod traces;
mod transit;
mod walk;
mod web;
