//! Encryption of the datastore's secret values, and the hashes of passwords and API keys.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use laas_engine::engine::{Cipher, CipherError};
use sha2::{Digest, Sha512};

/// XChaCha20-Poly1305 with one key for the whole datastore; its nonces are long enough to be random.
pub struct DatastoreCipher {
    aead: XChaCha20Poly1305,
}

/// The key of the datastore cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("cannot read the datastore key `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot create the datastore key `{path}`")]
    Create { path: PathBuf, source: io::Error },
    #[error("the datastore key `{0}` is readable by others; run `chmod 600` on it")]
    Exposed(PathBuf),
    #[error("the datastore key `{0}` is not 64 hexadecimal digits; restore it from a backup")]
    Malformed(PathBuf),
    #[error("the operating system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

const NONCE_LENGTH: usize = 24;

impl DatastoreCipher {
    /// Reads the key from `path`; makes one, readable by its owner only, when there is none.
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        let text = match read_private(path) {
            Ok(text) => text,
            Err(KeyFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                create_key(path)?
            }
            Err(error) => return Err(error),
        };
        let key = from_hex(text.trim()).filter(|key| key.len() == 32);
        let key = key.ok_or_else(|| KeyFileError::Malformed(path.to_path_buf()))?;
        let aead = XChaCha20Poly1305::new_from_slice(&key)
            .map_err(|_| KeyFileError::Malformed(path.to_path_buf()))?;
        Ok(DatastoreCipher { aead })
    }
}

impl Cipher for DatastoreCipher {
    fn encrypt(&self, plain: &str) -> Result<String, CipherError> {
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).map_err(|error| CipherError(error.to_string()))?;
        let sealed = self.aead.encrypt(XNonce::from_slice(&nonce), plain.as_bytes());
        let sealed = sealed.map_err(|_| CipherError("the value is too long to encrypt".into()))?;
        Ok(to_hex(&nonce).to_uppercase() + &to_hex(&sealed).to_uppercase())
    }

    fn decrypt(&self, cipher: &str) -> Result<String, CipherError> {
        let refused = || CipherError("the value was not encrypted with this datastore's key".into());
        let bytes = from_hex(cipher)
            .filter(|bytes| bytes.len() > NONCE_LENGTH)
            .ok_or_else(refused)?;
        let (nonce, sealed) = bytes.split_at(NONCE_LENGTH);
        let plain = self
            .aead
            .decrypt(XNonce::from_slice(nonce), sealed)
            .map_err(|_| refused())?;
        String::from_utf8(plain).map_err(|_| refused())
    }
}

/// The SHA-512 in hexadecimal by which StackStorm names an API key that it refuses; the salt is that of its
/// `st2common/util/hash.py`.
pub fn api_key_hash(key: &str) -> String {
    to_hex(&Sha512::digest(format!("saltnpepper{key}")))
}

/// What to keep of a password.
pub fn hash_password(password: &str) -> Result<String, CipherError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| CipherError(error.to_string()))?;
    let failed = |error: argon2::password_hash::Error| CipherError(error.to_string());
    let salt = SaltString::encode_b64(&salt).map_err(failed)?;
    let hash = Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .map_err(failed)?;
    Ok(hash.to_string())
}

/// Whether `password` is the one that `hash` was made of. Takes tens of milliseconds on purpose.
pub fn verify_password(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

/// 32 random hexadecimal digits.
pub fn random_id() -> Result<String, CipherError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| CipherError(error.to_string()))?;
    Ok(to_hex(&bytes))
}

/// Lower-case hexadecimal digits.
fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

fn read_private(path: &Path) -> Result<String, KeyFileError> {
    let failed = |source| KeyFileError::Read {
        path: path.to_path_buf(),
        source,
    };
    let mut file = std::fs::File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        return Err(KeyFileError::Exposed(path.to_path_buf()));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Writes beside and renames, so that a death in between leaves no half key behind.
fn create_key(path: &Path) -> Result<String, KeyFileError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(KeyFileError::Random)?;
    let text = to_hex(&key);
    write_private(path, &text).map_err(|source| KeyFileError::Create {
        path: path.to_path_buf(),
        source,
    })?;
    Ok(text)
}

/// Replaces the file at `path` by `text`, readable by its owner only.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encrypted_comes_back_and_only_with_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("datastore.key");
        let cipher = DatastoreCipher::open(&path).unwrap();
        for plain in ["", "hunter2", "Grüße\n{\"a\": 1}"] {
            let sealed = cipher.encrypt(plain).unwrap();
            assert!(
                sealed
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()),
                "{sealed}"
            );
            assert_ne!(sealed, cipher.encrypt(plain).unwrap(), "a nonce was used twice");
            assert_eq!(
                DatastoreCipher::open(&path).unwrap().decrypt(&sealed).unwrap(),
                plain
            );
            let other = DatastoreCipher::open(&dir.path().join("other.key")).unwrap();
            assert!(other.decrypt(&sealed).is_err());
        }
        for foreign in ["", "zz", "ä0", "00", &"0".repeat(200)] {
            assert!(cipher.decrypt(foreign).is_err(), "{foreign}");
        }
    }

    #[test]
    fn a_bad_key_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("datastore.key");
        DatastoreCipher::open(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            DatastoreCipher::open(&path),
            Err(KeyFileError::Exposed(_))
        ));
        for text in ["", "abc", "zz", &"0".repeat(66)] {
            write_private(&path, text).unwrap();
            assert!(
                matches!(DatastoreCipher::open(&path), Err(KeyFileError::Malformed(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn passwords_verify() {
        let hash = hash_password("open sesame").unwrap();
        assert!(verify_password("open sesame", &hash));
        assert!(!verify_password("open", &hash));
        assert!(!verify_password("open sesame", "not a hash"));
        assert!(!hash.contains("sesame"));
    }
}
