//! `guest`: people without a node who read here, what they need for it, and the end of it.

use super::Office;
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::household::store_failure;
use crate::face::control::Guests;
use crate::face::{guests, logins};
use crate::model::address::LocalPart;
use crate::model::guest::{BYTES_MAX, BYTES_MIN};
use crate::model::policy;
use crate::model::seal::Recipient;
use crate::node::desk::Desk;
use crate::node::guests::{GuestError, NewGuest};
use crate::store::StoreError;
use crate::store::guests::GuestRecord;
use onion::{ClientKey, ClientSecret};
use serde_json::{Value, json};

impl Office {
    /// Does what is asked about guest readers.
    pub(super) async fn guests(&self, ask: Guests) -> Result<Value, Failure> {
        match ask {
            Guests::List => self.list_guests().await,
            Guests::Add { name, age, bytes, client } => {
                self.add_guest(&name, &age, bytes, client.as_deref()).await
            }
            Guests::Remove { name } => self.remove_guest(&name).await,
            Guests::Password { name } => self.guest_password(&name).await,
        }
    }

    async fn add_guest(
        &self,
        name: &str,
        age: &str,
        bytes: u64,
        client: Option<&str>,
    ) -> Result<Value, Failure> {
        let usage = |what: String| Failure::new(Exit::Usage, what);
        let name = policy::choose_name(name).map_err(|error| usage(error.to_string()))?;
        let key = Recipient::parse(age).map_err(|error| {
            usage(format!("--age: {error}")).hint("your guest makes a pair with: age-keygen -o key.txt")
        })?;
        if !(BYTES_MIN..=BYTES_MAX).contains(&bytes) {
            return Err(usage("a guest has 1 MiB to 64 GiB: --bytes 1M to --bytes 64G".to_owned()));
        }
        let given = client.map(ClientKey::parse).transpose();
        let given = given.map_err(|error| usage(format!("--client-auth: {error}")))?;
        // The secret is made for the guest, told once, and not kept.
        let secret = given.is_none().then(|| ClientSecret::from_bytes(self.desk.draw()));
        let made = secret.as_ref().map(ClientSecret::public);
        let client = given.or(made).ok_or_else(|| Failure::new(Exit::Software, "no key for the guest"))?;
        let (password, verifier) = logins::mint_for_guest(&self.desk).map_err(store_failure)?;
        let new = NewGuest { name: name.clone(), key, bytes, client, verifier };
        let added = self.desk.add_guest(new).await.map_err(|error| failure(name.as_str(), error))?;
        let mut row = self.guest_row(&added);
        row["password"] = json!(password);
        let onion = Desk::guest_onion(&added);
        row["client_auth"] = json!(secret.map(|secret| secret.tor_line(&onion).to_string()));
        row["client_key"] = json!(client.to_string());
        Ok(row)
    }

    async fn remove_guest(&self, name: &str) -> Result<Value, Failure> {
        let name = known_name(name)?;
        let removed = self.desk.remove_guest(name.as_str().to_owned()).await;
        let was = removed.map_err(|error| failure(name.as_str(), error))?;
        Ok(json!({"name": name.as_str(), "letters": was.messages, "used": was.bytes}))
    }

    async fn guest_password(&self, name: &str) -> Result<Value, Failure> {
        let name = known_name(name)?;
        let (password, verifier) = logins::mint_for_guest(&self.desk).map_err(store_failure)?;
        let changed = self.desk.set_guest_verifier(name.as_str().to_owned(), verifier).await;
        let guest = changed.map_err(|error| failure(name.as_str(), error))?;
        let mut row = self.guest_row(&guest);
        row["password"] = json!(password);
        Ok(row)
    }

    async fn list_guests(&self) -> Result<Value, Failure> {
        let all = self.desk.list_guests().await.map_err(store_failure)?;
        let rows = all.iter().map(|(guest, mailbox)| {
            let mut row = self.guest_row(guest);
            row["letters"] = json!(mailbox.messages);
            row["unseen"] = json!(mailbox.unseen);
            row["used"] = json!(mailbox.bytes);
            row
        });
        Ok(json!({"guests": rows.collect::<Vec<_>>()}))
    }

    fn guest_row(&self, guest: &GuestRecord) -> Value {
        let address = format!("{}@{}", guest.name, self.desk.identity().onion().host());
        json!({
            "name": guest.name, "address": address, "user": address,
            "imap": {"host": Desk::guest_onion(guest).host(), "port": guests::PORT},
            "age": guest.key, "bytes": guest.bytes, "since": guest.made.rfc5322(),
        })
    }
}

/// A name as it may be of a guest; of what never was one there is none.
fn known_name(name: &str) -> Result<LocalPart, Failure> {
    policy::choose_name(name).map_err(|_| failure(name, GuestError::Nobody))
}

fn failure(name: &str, error: GuestError) -> Failure {
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    match error {
        GuestError::Own => {
            Failure::new(Exit::Data, format_args!("{name} is a name of your own; a guest needs another"))
        }
        GuestError::Taken => Failure::new(Exit::Data, format_args!("there is a guest {name} already"))
            .hint("a new password: onionskin guest password NAME; all guests: onionskin guest list"),
        GuestError::Nobody => Failure::new(Exit::NoUser, format_args!("there is no guest {name}"))
            .hint("all guests: onionskin guest list"),
        GuestError::Room => Failure::new(Exit::Usage, error.to_string()),
        GuestError::Store(StoreError::TooMany(_)) => {
            Failure::new(Exit::Data, "there are as many guests as one node can have (16)")
                .hint("remove one who reads here no more: onionskin guest remove NAME")
        }
        GuestError::Store(error) => store_failure(error),
    }
}
