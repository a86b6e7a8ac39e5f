//! Keys for tests: made once a process, because RSA keys take their time.

use std::sync::OnceLock;

use dkimctl::host::order::KeyOrder;
use dkimctl_state::record::dkim::{Algorithm, PublicKey};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};

/// A private key and its public half.
#[derive(Clone)]
pub struct Key {
    pub pem: String,
    pub public: PublicKey,
}

/// Two keys that differ; 1024 bits are enough for a test.
pub fn keys() -> &'static [Key; 2] {
    static KEYS: OnceLock<[Key; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [generate(), generate()])
}

impl Key {
    pub fn order(&self, selector: &str) -> KeyOrder {
        KeyOrder {
            fingerprint: self.public.fingerprint(),
            selector: selector.parse().unwrap(),
            algorithm: Algorithm::Rsa,
            public: self.public.clone(),
        }
    }
}

fn generate() -> Key {
    let private = RsaPrivateKey::new(&mut rand_core::OsRng, 1024).unwrap();
    Key {
        pem: private.to_pkcs8_pem(LineEnding::LF).unwrap().to_string(),
        public: PublicKey::from_bytes(private.to_public_key().to_public_key_der().unwrap().into_vec()),
    }
}
