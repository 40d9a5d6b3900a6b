//! Passwords: Argon2id, in the few threads that may spend their time on it.

use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc};
use tandem_model::Reason;
use tokio::sync::Semaphore;

use crate::app::Entropy;
use crate::problem::{ApiError, Faults};

/// Hashes that are worked on at once; each takes a core for some 20 ms, and 19 MiB.
const AT_ONCE: usize = 2;

/// Longest wait for a turn.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Fewest characters of a password.
const MIN_CHARS: usize = 12;

/// Most characters of a password.
const MAX_CHARS: usize = 256;

/// The Argon2id hash of a password, in PHC form. Takes a while: not on a thread that serves others.
///
/// # Panics
/// If the password is longer than Argon2 takes, which is 4 GiB.
pub fn hash_password(password: &str, entropy: &Entropy) -> String {
    let mut salt = [0; 16];
    entropy(&mut salt);
    let hash: phc::PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .expect("16 octets are a salt, and the password is short enough");
    hash.to_string()
}

/// A new password that nobody can guess, for a first log-in: 125 bits in letters and digits that are told
/// apart when read aloud.
pub fn new_password(entropy: &Entropy) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bits = [0; 25];
    entropy(&mut bits);
    bits.iter().map(|octet| char::from(ALPHABET[usize::from(octet % 32)])).collect()
}

/// Notes what keeps a text from being a password.
pub(crate) fn check(faults: &mut Faults, password: &str, email: &str) {
    let chars = password.chars().count();
    if !(MIN_CHARS..=MAX_CHARS).contains(&chars) {
        faults.note("password", format!("it has {chars} characters; choose {MIN_CHARS} to {MAX_CHARS}"));
    } else if has_one_character(password) || password.eq_ignore_ascii_case(email) {
        faults.note("password", "it is too easy to guess; choose another");
    }
}

fn has_one_character(password: &str) -> bool {
    password.chars().next().is_some_and(|first| password.chars().all(|c| c == first))
}

/// The threads that hash.
pub(crate) struct Hashing {
    turn: Semaphore,
    /// What an unknown user's password is checked against, so that the answer takes as long.
    nobody: String,
}

impl Hashing {
    pub(crate) fn new(entropy: &Entropy) -> Self {
        Self { turn: Semaphore::new(AT_ONCE), nobody: hash_password("nobody", entropy) }
    }

    /// The hash of a new password.
    pub(crate) async fn hash(&self, password: String, entropy: &Entropy) -> Result<String, ApiError> {
        let entropy = entropy.clone();
        self.work(move || hash_password(&password, &entropy)).await
    }

    /// Whether the password is the one of this hash. With no hash, no password is, and that takes as long.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, ApiError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        let matches =
            self.work(move || Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok());
        Ok(matches.await? && known)
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = tokio::time::timeout(LONGEST_WAIT, self.turn.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(ApiError::new(Reason::Overloaded)) };
        tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::new(Reason::InternalError))
    }
}
