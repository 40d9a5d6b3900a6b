//! Builds anew when a migration is added: `sqlx::migrate!` reads a folder that cargo does not watch.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
