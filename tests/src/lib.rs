//! Harness of the whole-hub scenarios.
