//! Secrets that are made up, in odd places: none survives, and nothing else changes.

mod support;

use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use proptest::prelude::*;
use sqlx::postgres::PgDatabaseError;
use stepwell::store::Store;
use stepwell::telemetry::{mask_field, mask_json, mask_text, mask_url};
use stepwell::Error;
use support::TestDatabase;

/// How many characters in a row of a secret give it away. The texts around it have none of its kind.
const TELLING: usize = 4;

fn survives(secret: &str, masked: &str) -> bool {
    let secret: Vec<char> = secret.chars().collect();
    let parts = secret.windows(TELLING).map(|part| part.iter().collect::<String>());
    parts.filter(|part| !part.contains("***")).any(|part| masked.contains(&part))
}

/// A secret of these characters beside letters that nothing else in the texts has four of in a row.
fn secret(odd: &'static str) -> impl Strategy<Value = String> {
    let chars: Vec<char> = "ZQXJVKzqxjvk79".chars().chain(odd.chars()).collect();
    proptest::collection::vec(proptest::sample::select(chars), 6..32).prop_map(|chars| chars.into_iter().collect())
}

/// Whatever a password may hold.
fn any_secret() -> impl Strategy<Value = String> {
    secret("@:/?#[]!$&'()*+,;=%\"<>\\^`{|}~ \n\té€")
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Keys that nobody would call ordinary.
fn key() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "password",
        "PGPASSWORD",
        "apiKey",
        "X-Api-Key",
        "access_token",
        "client_secret",
        "Authorization",
        "Set-Cookie",
        "credentials",
        "oauth_token",
        "secret_key_base",
        "dbPasswd",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_urls(secret in secret("@:/?#[]!$&'()*+,;=%\"<>\\^`{|}~é€"), scheme in "postgres|postgresql|redis|amqp", after in 0..5usize) {
        let url = format!("{scheme}://app:{secret}@db.internal:5432/shop");
        let text = match after {
            0 => url,
            1 => format!("cannot connect to {url} (refused)"),
            2 => format!("bad URL {url:?}, given up"),
            3 => format!("config={} ok", json(&json(&url))),
            _ => format!("{}?sslmode=require", url),
        };
        let masked = mask_text(&text);
        prop_assert!(!survives(&secret, &masked), "{text} -> {masked}");
        prop_assert!(masked.contains("://app:***"), "{masked}");
    }

    #[test]
    fn in_urls_that_are_known_for_one(secret in any_secret()) {
        let masked = mask_url(&format!("postgres://app:{secret}@db/shop"));
        prop_assert_eq!(masked, "postgres://app:***@db/shop");
    }

    #[test]
    fn in_quoted_values(secret in any_secret(), key in key(), how in 0..7usize) {
        let quoted = json(&secret);
        let single = format!("'{}'", secret.replace('\\', "\\\\").replace('\'', "\\'"));
        let text = match how {
            0 => format!("{{\"a\":1,\"{key}\":{quoted},\"b\":2}}"),
            1 => format!("{{:{key}=>{quoted}, :b=>2}}"),
            2 => format!("failed with {key}: {quoted}, retrying"),
            3 => format!("got {}", json(&format!("{{\"{key}\": {quoted}}}"))),
            4 => format!("got {}", json(&json(&format!("{{\"{key}\": {quoted}}}")))),
            5 => format!("{{'{key}': {single}, 'b': 2}}"),
            _ => format!("{key} = [{quoted}, {{\"x\": {quoted}}}]; rest"),
        };
        let masked = mask_text(&text);
        prop_assert!(!survives(&secret, &masked), "{text} -> {masked}");
        prop_assert!(masked.starts_with(&text[..3]), "{masked}");
    }

    #[test]
    fn in_bare_values(secret in secret("@/?!$*+^~|._-").prop_map(|secret| format!("Z{secret}")), key in key(), how in 0..6usize) {
        let text = match how {
            0 => format!("{key}={secret} user=app"),
            1 => format!("refused: {key}: {secret}"),
            2 => format!("https://api.example.com/v1?a=b&{key}={}&c=d", secret.replace(['?', '+'], "_")),
            3 => format!("curl --{key} {secret} -v"),
            4 => format!("<{key}>{secret}</{key}>"),
            _ => format!("GET /\r\n{key}: {secret}\r\nHost: x"),
        };
        let masked = mask_text(&text);
        prop_assert!(!survives(&secret, &masked), "{text} -> {masked}");
    }

    #[test]
    fn in_nested_json(secret in any_secret(), key in key(), depth in 0..20usize, spaces in "[ \n]{0,2}") {
        let mut text = format!("{{\"{key}\":{spaces}{},\"n\":12345678901234567890.10}}", json(&secret));
        for level in 0..depth {
            text = match level % 3 {
                0 => format!("[{spaces}true,{text}]"),
                1 => format!("{{\"level\":{text},\"monkey\":\"é\"}}"),
                _ => format!("{{\"text\":{spaces}{}}}", json(&text)),
            };
            if text.len() > 20_000 { break; }
        }
        let masked = mask_json(&text);
        prop_assert!(!survives(&secret, &masked), "{text} -> {masked}");
        prop_assert!(serde_json::from_str::<serde_json::Value>(&masked).is_ok(), "{masked}");
        prop_assert!(masked.contains("12345678901234567890.10"), "{masked}");
    }

    #[test]
    fn in_headers(secret in secret("._~+/-").prop_map(|secret| format!("Zz{secret}9")), before in "[a-z ]{0,9}") {
        let basic = base64::prelude::BASE64_STANDARD.encode(format!("app:{secret}"));
        for (text, secret) in [
            (format!("{before} Bearer {secret}"), secret.as_str()),
            (format!("{before} bearer {secret}, and more"), &secret),
            (format!("sent Basic {basic} there"), &basic),
            (format!("{{\"headers\":[\"Authorization: Basic {basic}\"]}}"), &basic),
        ] {
            prop_assert!(!survives(secret, &mask_text(&text)), "{text} -> {}", mask_text(&text));
            prop_assert!(!survives(secret, &mask_json(&json(&text))), "{text}");
        }
    }

    #[test]
    fn in_pem_blocks(lines in proptest::collection::vec("[A-Za-z0-9+/]{40,64}", 1..6), end in 0..4usize, cut in any::<bool>(),
                     kind in "PRIVATE KEY|RSA PRIVATE KEY|EC PRIVATE KEY|CERTIFICATE|OPENSSH PRIVATE KEY") {
        let end = ["\n", "\r\n", "\\n", "\\r\\n"][end];
        let mut text = format!("loading -----BEGIN {kind}-----{end}{}{end}", lines.join(end));
        if !cut { text.push_str(&format!("-----END {kind}-----{end} failed")); }
        for masked in [mask_text(&text).into_owned(), mask_json(&json(&text)).into_owned(), mask_field("pem", &text).into_owned()] {
            prop_assert!(!lines.iter().any(|line| masked.contains(line)), "{masked}");
            prop_assert!(masked.contains("loading ***") && (cut || masked.contains(" failed")), "{masked}");
        }
    }

    #[test]
    fn card_numbers(brand in proptest::sample::select(vec![("4", 16), ("4", 13), ("51", 16), ("2221", 16), ("34", 15), ("36", 14), ("6011", 16), ("3530", 16)]),
                    digits in proptest::collection::vec(0..10u8, 20), separator in "|-| ") {
        let (prefix, length) = brand;
        let mut number: Vec<u8> = prefix.bytes().map(|digit| digit - b'0').chain(digits).take(length - 1).collect();
        let sum: u32 = number.iter().rev().enumerate().map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (0, digit) if digit > 4 => digit * 2 - 9,
            (0, digit) => digit * 2,
            (_, digit) => digit,
        }).sum();
        number.push(u8::try_from((10 - sum % 10) % 10).unwrap());
        let number: String = number.iter().map(u8::to_string).collect();
        let groups: Vec<&str> = (0..number.len()).step_by(4).map(|at| &number[at..number.len().min(at + 4)]).collect();
        let written = groups.join(&separator);
        let text = format!("card {written} was declined");
        prop_assert_eq!(mask_text(&text), "card *** was declined");
        let json = format!("{{\"n\": {number}}}");
        prop_assert_eq!(mask_json(&json), "{\"n\": \"***\"}");
    }

    #[test]
    fn ordinary_text_stays(words in proptest::collection::vec(proptest::sample::select(vec![
        "monkey", "keyboard", "author", "authored_by", "tokenizer", "donkey", "Anna Keyes", "Toni Basic", "turkey", "hockey",
        "idempotency_key", "concurrency_key", "42", "3.14", "1732619333123", "order-42", "naïve", "café", "app/key.rb:12",
        "task_id", "0190b5a0-4111-7111-8111-111111111111", "2026-11-26T11:08:53Z", "http://localhost:8080/a@b", "https://x.y",
    ]), 1..12), separator in " |=|: |, |\n| -> ") {
        let mut words = words;
        if separator == "=" { // what follows a URL without white space is a part of it, and may be its password
            let last = words.len() - 1;
            words = words.into_iter().enumerate().filter(|(place, word)| *place == last || !word.contains("://")).map(|(_, word)| word).collect();
        }
        let text = words.join(&separator);
        prop_assert_eq!(mask_text(&text), text.as_str());
        let json = json(&text);
        prop_assert_eq!(mask_json(&json), json.as_str());
        prop_assert_eq!(mask_field("author", &text), text.as_str());
    }

    #[test]
    fn uuids_stay(bytes in any::<[u8; 16]>(), numbers in proptest::collection::vec(0..1_000_000_000_000u64, 3)) {
        let text = format!("task={} {numbers:?}", uuid::Uuid::from_bytes(bytes));
        prop_assert_eq!(mask_text(&text), text.as_str());
    }

    #[test]
    fn whatever_comes_is_survived(text in any::<String>(), signs in proptest::collection::vec(proptest::sample::select(vec![
        "://", "key", "=", ":", "\"", "'", "\\", "(", ")", "[", "{", "-----BEGIN ", "-----END", "bearer ", "basic ", "@", "é", " ",
        "\n", "4111", "token", "password", "Failing row contains (", ")=(", "parameters: $1", " = '", "<", ">", "--", "cookie",
    ]), 0..24)) {
        let text = format!("{}{text}", signs.concat());
        let _masked = (mask_text(&text), mask_url(&text), mask_field(&text, &text), mask_json(&text));
        let masked = mask_json(&json(&text)).into_owned();
        prop_assert!(serde_json::from_str::<String>(&masked).is_ok(), "{masked}");
    }
}

/// As a driver shows it to people, and as a program that prints all of it does.
fn told(error: &sqlx::Error) -> Result<[String; 2]> {
    let all = format!("{error:?}");
    let error = error.as_database_error().context("not of the server")?.downcast_ref::<PgDatabaseError>();
    Ok([format!("ERROR:  {}\nDETAIL:  {}", error.message(), error.detail().unwrap_or_default()), all])
}

#[tokio::test]
async fn in_errors_of_a_server() -> Result<()> {
    let db = TestDatabase::new().await?;
    let store = Store::connect(&db.url(), 2, Duration::from_secs(10)).await?;
    let pool = sqlx::PgPool::connect(&db.url()).await?;
    for sql in [
        "create table logins (id int primary key, api_key text unique, note text not null, unique (note, api_key))",
        "insert into logins values (1, 'ZQ79xj,)(zk', 'a')",
    ] {
        sqlx::query(sql).execute(&pool).await?;
    }
    for sql in [
        "insert into logins values (2, 'ZQ79xj,)(zk', 'b')",
        "insert into logins values (3, 'ZQ79xj,)(zk', null)",
        "create role x encrypted password 'ZQ79xj,)(zk' nonsense",
        "select '{\"password\": \"ZQ79xj,)(zk\" nonsense}'::json",
        "do $$ begin raise 'cannot reach postgres://app:ZQ79xj,)(zk@db/shop'; end $$",
        "do $$ begin raise 'refused' using detail = 'Authorization: Bearer ZQ79xjzkQZ'; end $$",
    ] {
        let error = sqlx::query(sql).execute(&pool).await.err().with_context(|| sql.to_owned())?;
        for text in told(&error)? {
            assert!(!survives("ZQ79xj,)(zk", &mask_text(&text)), "{sql}: {}", mask_text(&text));
        }
        let error = Error::Database { url: "postgres://db".to_owned(), source: error };
        assert!(!survives("ZQ79xj,)(zk", &error.to_string()), "{error}");
    }
    let wrong = db.url().replacen("://", "://nobody:ZQ79xj,zk@", 1);
    for url in [
        wrong.as_str(),
        "postgres://app:ZQ79xj,zk@/x?port=none",
        "postgres://app:ZQ79xj,zk@127.0.0.1:1/x",
        "mysql://a:ZQ79xj,zk@h/x",
    ] {
        let error = Store::connect(url, 1, Duration::from_secs(10)).await.err().with_context(|| url.to_owned())?;
        assert!(!survives("ZQ79xj,zk", &error.to_string()), "{error}");
    }
    pool.close().await;
    store.close().await;
    db.finish().await
}
