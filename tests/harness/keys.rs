//! Key pairs, made anew for every test run: nothing that looks like a secret lies in the repository.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey};

/// A fresh private key for RS256, ES256 or EdDSA.
pub fn generate(algorithm: Algorithm) -> EncodingKey {
    let key = match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(rsa_private_key_pem().as_bytes()),
        Algorithm::ES256 => Ok(EncodingKey::from_ec_der(
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .expect("randomness")
                .as_ref(),
        )),
        Algorithm::EdDSA => Ok(EncodingKey::from_ed_der(
            Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("randomness").as_ref(),
        )),
        other => panic!("{other:?} is not an algorithm of key sets here"),
    };
    key.expect("our own key is valid")
}

/// A fresh RSA key in PKCS#8 PEM, as Google's service-account files hold it.
pub fn rsa_private_key_pem() -> String {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("randomness");
    let der: Pkcs8V1Der<'_> = pair.as_der().expect("a key can be written");
    let encoded = BASE64_STANDARD.encode(der.as_ref());
    let lines: Vec<_> = encoded.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}
