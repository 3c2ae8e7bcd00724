//! Known answers, by which another implementation is checked.

use serde_json::{Value, json};

use crate::{
    context::Context,
    domain::Id,
    encryption::{
        DataKey, KeyRing, KeyService as _,
        place::Place,
        seal::{self, NONCE},
    },
    ports::{KeyId, WrappedKey},
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/encryption.json");

fn id<K>(byte: u8) -> Id<K> {
    Id::from_bytes([byte; 16])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn places() -> [(&'static str, Place); 9] {
    let (chat, message, user, session, job) = (id(1), id(2), id(3), id(4), id(5));
    [
        ("text", Place::Text { chat, message, author: user }),
        ("note", Place::Note { chat, message, actor: user }),
        ("title", Place::Title { chat }),
        ("address", Place::Address { user }),
        ("displayName", Place::DisplayName { user }),
        ("device", Place::Device { session, user }),
        ("payload", Place::Payload { job }),
        ("reason", Place::Reason { job }),
        ("bus", Place::Bus),
    ]
}

/// A plain value that tells where it is cut.
fn plain(length: usize) -> String {
    (0..length).map(|n| char::from(b'a' + u8::try_from(n % 26).unwrap())).collect()
}

async fn vectors() -> Value {
    let context = Context::fixed();
    let key = DataKey::from_bytes(&[0x11; 32]);
    let mut values = Vec::new();
    for (name, place) in places() {
        for (length, padding) in [(5, 0), (5, 27), (1024, 0), (1025, 0), (2500, 60)] {
            if padding > 0 && name != "text" {
                continue;
            }
            let plain = plain(length);
            let sealed = seal::seal(&key, &place, plain.as_bytes(), padding, || context.random::<NONCE>());
            values.push(json!({
                "field": name,
                "place": place.with_bytes(hex),
                "plain": plain,
                "sealed": hex(&sealed.unwrap()),
            }));
        }
    }
    let kek = [0x22; 32];
    let ring = KeyRing::new(&kek).context(context);
    let owner = KeyId::of_user(id(3));
    let wrapped = ring.wrap(owner, &key).await.unwrap();
    json!({
        "dataKey": hex(key.expose()),
        "values": values,
        "wrapped": { "kek": hex(&kek), "owner": hex(&owner.owner_bytes()), "number": owner.number, "wrapped": hex(&wrapped.0) },
    })
}

/// Set `MESSENGER_WRITE_VECTORS` to write the file anew.
#[tokio::test]
async fn values_are_sealed_as_the_known_answers_say() {
    let vectors = vectors().await;
    if std::env::var_os("MESSENGER_WRITE_VECTORS").is_some() {
        std::fs::write(FILE, format!("{vectors:#}\n")).unwrap();
    }
    let known: Value = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    assert_eq!(vectors, known);
    assert_eq!(
        known["values"].as_array().unwrap().iter().filter(|value| value["field"] == "note").count(),
        3
    );

    let bytes = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let wrapped = WrappedKey(bytes(known["wrapped"]["wrapped"].as_str().unwrap()));
    let opened = KeyRing::new(&[0x22; 32]).unwrap(KeyId::of_user(id(3)), &wrapped).await.unwrap();
    assert_eq!(opened.expose(), &[0x11; 32]);
}
