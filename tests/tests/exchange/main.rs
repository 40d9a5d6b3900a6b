//! What members and the operator do at an exchange, and what becomes of it when something fails.

mod announcement_live;
mod authority;
mod bad_rows;
mod crash_recovery;
mod disk_full;
mod enum_lookup;
mod graceful_stop;
mod history;
mod import;
mod postgres_outage;
mod range_challenge;
mod restore;
mod rolling_upgrade;
mod saved_table;
mod simulate;
mod transit;
