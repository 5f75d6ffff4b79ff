//! The key that signs checkpoints: in a file beside the key ring, made once, and never printed.

use mfa_domain::ports::SystemEntropy;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use mfa_crypto::{PublicKey, SigningKey};
use tracing::info;

use crate::config::Config;
use crate::data_dir;
use crate::failure::{Misuse, Refusal};

/// The key that signs; the first time, it is made.
pub(crate) fn open(config: &Config) -> Result<SigningKey> {
    let settings = &config.settings;
    let path = data_dir::inside(&settings.data_dir, &settings.audit.signing_key_file)?;
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    data_dir::make(&settings.data_dir)?;
    // Two processes that start at once must not make two keys.
    let _turn = data_dir::lock(&settings.data_dir)?;
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    let key = SigningKey::generate(&SystemEntropy)?;
    data_dir::replace(&path, key.to_pem().as_bytes())?;
    // Servers that write to one folder must have the same.
    info!(key = key.public_key().id(), file = %path.display(), "a key to sign checkpoints was made");
    Ok(key)
}

/// The key to check with: that of a file, or the other half of the one that signs here.
pub(crate) fn public(config: &Config, file: Option<&Path>) -> Result<PublicKey> {
    let Some(file) = file else {
        let settings = &config.settings;
        let path = data_dir::inside(&settings.data_dir, &settings.audit.signing_key_file)?;
        let key = read(&path)?.ok_or_else(|| {
            let text =
                format!("there is no key {} here; name its public key in --public-key", path.display());
            Misuse(text)
        })?;
        return Ok(key.public_key());
    };
    let text = fs::read_to_string(file)
        .with_context(|| format!("the public key {} cannot be read", file.display()))?;
    PublicKey::from_pem(&text).with_context(|| format!("the public key {}", file.display()))
}

/// Reads the key; none if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<SigningKey>> {
    let Some(text) = data_dir::read_key_file(path, "signing key")? else { return Ok(None) };
    let key = SigningKey::from_pem(&text).map_err(|error| {
        let what = format!("the signing key {} is damaged: {error}", path.display());
        Refusal::new(what, "restore it from its backup, or move it away and let a new one be made")
    })?;
    Ok(Some(key))
}
