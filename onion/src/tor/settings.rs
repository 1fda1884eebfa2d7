//! The configuration that arti gets.
//!
//! Promises: keys in memory only; with a private network's file no public relay remains in the configuration; a
//! bounded memory quota. Leaves all choices about dialling and hosting to `dial` and `service`.

use super::{StartError, TorConfig};
use arti_client::TorClientConfig;
use arti_client::config::TorClientConfigBuilder;
use arti_client::config::dir::{FallbackDir, FallbackDirBuilder};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tor_config::ExplicitOrAuto;
use tor_guardmgr::VanguardMode;
use tor_keymgr::config::ArtiKeystoreKind;
use tor_llcrypto::pk::{ed25519::Ed25519Identity, rsa::RsaIdentity};

/// The only version of the private network's file so far.
const NETWORK_FILE_VERSION: u64 = 1;
/// A private network's file names a handful of nodes; more than this is not such a file, in bytes.
const NETWORK_FILE_MAX: usize = 1 << 20;

/// The folder within an identity's own in which the guards of what it hosts beside its onion are kept.
const BESIDE_DIR: &str = "hosted";

/// The settings of the second client of `config`'s transport: the same directory of relays, other guards.
pub(super) fn beside(config: &TorConfig) -> TorConfig {
    TorConfig { state_dir: config.state_dir.join(BESIDE_DIR), ..config.clone() }
}

/// What arti is told for `config`.
pub(super) fn arti_config(config: &TorConfig) -> Result<TorClientConfig, StartError> {
    let setup = |e: &dyn std::fmt::Display| StartError::Setup(e.to_string());
    let mut arti = TorClientConfigBuilder::from_directories(&config.state_dir, &config.cache_dir);
    // arti's own keystore would write the identity key to the disk, unencrypted.
    arti.storage().keystore().primary().kind(ExplicitOrAuto::Explicit(ArtiKeystoreKind::Ephemeral));
    trust_owner_of_root(&mut arti);
    arti.system().memory().max(config.memory_max.max(TorConfig::MEMORY_MIN));
    // Exit circuits kept ready for browsing are no use here, and a check of the network must not be handed an old one.
    arti.preemptive_circuits().disable_at_threshold(0).set_initial_predicted_ports(Vec::new());
    // A service must hide its guards from whoever makes it build many circuits; arti's default is the lighter mode.
    arti.vanguards().mode(ExplicitOrAuto::Explicit(VanguardMode::Full));
    if let Some(path) = &config.network {
        let text = std::fs::read(path).map_err(|e| StartError::Network(e.to_string()))?;
        private_network(&mut arti, &text).map_err(StartError::Network)?;
    }
    arti.build().map_err(|e| setup(&e))
}

/// Lets whoever owns `/` own the folders above ours.
///
/// arti refuses folders below someone else's. Inside a user namespace even `/` is shown as somebody else's, and who
/// owns `/` cannot be defended against anyway.
#[cfg(unix)]
fn trust_owner_of_root(arti: &mut TorClientConfigBuilder) {
    use std::os::unix::fs::MetadataExt as _;
    if let Some(owner) = std::fs::metadata("/").ok().map(|root| root.uid()).filter(|uid| *uid != 0) {
        arti.storage().permissions().trust_user(owner);
    }
}

#[cfg(not(unix))]
fn trust_owner_of_root(_: &mut TorClientConfigBuilder) {}

/// Replaces every public authority and relay by those of the file.
fn private_network(arti: &mut TorClientConfigBuilder, text: &[u8]) -> Result<(), String> {
    if text.len() > NETWORK_FILE_MAX {
        return Err("it is too long".into());
    }
    let file: Value = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    if file["version"].as_u64() != Some(NETWORK_FILE_VERSION) {
        return Err("its version is not 1".into());
    }
    let authorities = list(&file, "authorities")?;
    let v3idents = authorities.iter().map(|a| rsa(a, "v3ident")).collect::<Result<Vec<_>, _>>()?;
    let dirports =
        authorities.iter().map(|a| socket(a, "dirport").map(|s| vec![s])).collect::<Result<Vec<_>, _>>()?;
    let relays = list(&file, "relays")?.iter().map(fallback).collect::<Result<Vec<_>, _>>()?;
    let reachable = list(&file, "reachable")?
        .iter()
        .map(|pattern| pattern.as_str().unwrap_or_default().parse().map_err(|e| format!("reachable: {e}")))
        .collect::<Result<Vec<_>, _>>()?;
    let tolerance = file["tolerance_secs"].as_u64().ok_or("tolerance_secs is missing")?;

    // Only set_…: the accessors that push would keep the two hundred public relays which are built in.
    arti.tor_network().set_fallback_caches(relays);
    let network = arti.tor_network().authorities();
    network.set_v3idents(v3idents);
    network.set_uploads(dirports.clone());
    network.set_downloads(dirports.clone());
    network.set_votes(dirports);
    // All relays of a private network may share one address.
    arti.path_rules()
        .ipv4_subnet_family_prefix(33)
        .ipv6_subnet_family_prefix(129)
        .set_reachable_addrs(reachable);
    arti.directory_tolerance().post_valid_tolerance(Duration::from_secs(tolerance));
    Ok(())
}

fn fallback(relay: &Value) -> Result<FallbackDirBuilder, String> {
    let ed25519 = text(relay, "ed25519")?;
    let mut builder = FallbackDir::builder();
    builder
        .rsa_identity(rsa(relay, "rsa")?)
        .ed_identity(Ed25519Identity::from_base64(ed25519).ok_or("ed25519: no such key")?);
    builder.orports().push(socket(relay, "orport")?);
    Ok(builder)
}

/// The list `name`, which must not be empty: an empty one could mean arti's own default.
fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>, String> {
    value[name].as_array().filter(|list| !list.is_empty()).ok_or(format!("{name} is missing or empty"))
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    value[name].as_str().ok_or(format!("{name} is missing"))
}

fn rsa(value: &Value, name: &str) -> Result<RsaIdentity, String> {
    RsaIdentity::from_hex(text(value, name)?).ok_or(format!("{name}: no such fingerprint"))
}

fn socket(value: &Value, name: &str) -> Result<SocketAddr, String> {
    text(value, name)?.parse().map_err(|e| format!("{name}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const FILE: &str = r#"{"version": 1, "tolerance_secs": 86400, "reachable": ["127.0.0.0/8:*"],
        "authorities": [{"name": "a", "v3ident": "0123456789ABCDEF0123456789ABCDEF01234567",
            "dirport": "127.0.0.1:20100"}],
        "relays": [{"rsa": "89ABCDEF0123456789ABCDEF0123456789ABCDEF", "orport": "127.0.0.1:20000",
            "ed25519": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}]}"#;

    fn configure(text: &str) -> Result<TorClientConfig, String> {
        let mut arti = TorClientConfigBuilder::from_directories(Path::new("state"), Path::new("cache"));
        private_network(&mut arti, text.as_bytes())?;
        arti.build().map_err(|e| e.to_string())
    }

    #[test]
    fn a_private_network_leaves_no_public_relay() {
        let config = configure(FILE).unwrap();
        let directory = config.dir_mgr_config().unwrap();
        let known = format!("{directory:?}").to_lowercase();
        assert!(known.contains("0123456789abcdef0123456789abcdef01234567"), "{known}");
        assert!(known.contains("127.0.0.1:20100") && known.contains("127.0.0.1:20000"), "{known}");
        let public = format!(
            "{:?}",
            TorClientConfigBuilder::from_directories(Path::new("state"), Path::new("cache"))
                .build()
                .unwrap()
                .dir_mgr_config()
                .unwrap()
        );
        let addresses = |text: &str| text.matches(":9001").count() + text.matches(":443").count();
        assert!(addresses(&public) > 20, "the public configuration names relays");
        assert_eq!(addresses(&known), 0, "{known}");
    }

    #[test]
    fn a_file_that_leaves_anything_out_is_refused() {
        for (from, to) in [
            ("\"version\": 1", "\"version\": 2"),
            ("\"relays\": [", "\"others\": ["),
            ("\"authorities\": [", "\"others\": ["),
            ("[\"127.0.0.0/8:*\"]", "[]"),
            ("[\"127.0.0.0/8:*\"]", "[\"anywhere\"]"),
            ("89ABCDEF", "XXABCDEF"),
            ("AAEC", "?AEC"),
            ("127.0.0.1:20000", "127.0.0.1"),
            ("tolerance_secs", "tolerance"),
        ] {
            let broken = FILE.replacen(from, to, 1);
            assert_ne!(broken, FILE);
            assert!(configure(&broken).is_err(), "{from} -> {to}");
        }
        assert!(configure("").is_err());
        assert!(configure("[]").is_err());
    }
}
