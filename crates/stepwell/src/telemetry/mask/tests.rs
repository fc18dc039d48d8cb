//! Each notation by example; tests/masking.rs makes secrets up.

use super::*;

fn hides(cases: &[(&str, &str)]) {
    for (text, masked) in cases {
        assert_eq!(mask_text(text), *masked, "{text}");
        assert_eq!(mask_text(masked), *masked, "twice: {masked}");
    }
}

#[test]
fn passwords_in_urls() {
    hides(&[
        ("postgres://app:s3cret@db:5432/shop", "postgres://app:***@db:5432/shop"),
        ("postgres://app:p@ss:w/rd@db/shop", "postgres://app:***@db/shop"),
        ("postgres://app:p?a#b[c]&d=e@db/shop", "postgres://app:***@db/shop"),
        ("postgres://app@corp:pw@db/shop", "postgres://app@corp:***@db/shop"),
        ("redis://:pw@cache:6379/0", "redis://:***@cache:6379/0"),
        ("postgres://a@db/s?password=x&sslmode=require", "postgres://a@db/s?password=***&sslmode=require"),
        (
            "https://api.example.com/v1?api_key=abc#access_token=d",
            "https://api.example.com/v1?api_key=***#access_token=***",
        ),
        ("https://ghp_abc123@github.com/a/b.git", "https://***@github.com/a/b.git"),
        (
            "cannot reach \"postgres://app:p,w\"x@db/shop\", giving up",
            "cannot reach \"postgres://app:***@db/shop\", giving up",
        ),
        (r#"{"a":"http://u:p@h/","e":"x@y.z"}"#, r#"{"a":"http://u:***@h/","e":"x@y.z"}"#),
        ("from amqp://a:b@c to amqp://d:e@f, both", "from amqp://a:***@c to amqp://d:***@f, both"),
        ("https://host/?next=postgres://u:pw@db/x", "https://host/?next=postgres://u:***@db/x"),
        ("postgres://app:two words@db/x", "postgres://app:***@db/x"),
    ]);
    assert_eq!(mask_url("postgres://app:a b @c d@db/x"), "postgres://app:***@db/x");
    assert_eq!(mask_url("host=db password='it''s' user=app"), "host=db password='***' user=app");
    assert_eq!(mask_url(r"host=db password = 'it\'s so' user=app"), "host=db password = '***' user=app");
    assert_eq!(mask_url(r"password=a\ b host=db"), "password=*** host=db");
    assert_eq!(mask_url("postgres:///x?password=a%20b&user=app"), "postgres:///x?password=***&user=app");
}

#[test]
fn values_of_sensitive_keys() {
    hides(&[
        ("password=hunter2 user=bob", "password=*** user=bob"),
        ("login failed, api_key: abc-1, user: bob", "login failed, api_key: ***, user: bob"),
        (r#"{"apiKey":"a\"b","n":1}"#, r#"{"apiKey":"***","n":1}"#),
        (r#"{"m":"{\"token\":\"a\\\"b\",\"n\":1}"}"#, r#"{"m":"{\"token\":\"***\",\"n\":1}"}"#),
        (r#"{:password=>"x y", "Token" => 'z'}"#, r#"{:password=>"***", "Token" => '***'}"#),
        ("#<User id: 1, password: \"x\", name: \"y\">", "#<User id: 1, password: \"***\", name: \"y\">"),
        ("user[password]=x&user[name]=y", "user[password]=***&user[name]=y"),
        ("password=a,b;c&d host=h", "password=*** host=h"),
        ("tokens: [\"a\", \"b]\"] and", "tokens: *** and"),
        ("credentials = {a: {b: 1}}; x", "credentials = ***; x"),
        ("<password>a&amp;b</password>", "<password>***</password>"),
        ("mysql --password hunter2 -h db", "mysql --password *** -h db"),
        ("ALTER ROLE app PASSWORD 'it''s'", "ALTER ROLE app PASSWORD '***'"),
        ("PGPASSWORD=abc psql", "PGPASSWORD=*** psql"),
        ("redirect=%3Ftoken%3Dabc%26x%3D1", "redirect=%3Ftoken%3D***%26x%3D1"),
        ("secret := \"a", "secret := \"***"),
    ]);
}

#[test]
fn headers() {
    hides(&[
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("Authorization: Digest username=\"a\", response=\"b\"\r\nHost: c", "Authorization: ***\r\nHost: c"),
        ("Set-Cookie: sid=a; Path=/\nHost: c", "Set-Cookie: ***\nHost: c"),
        ("with Bearer abcdef.", "with Bearer ***."),
        ("sent bearer s3cr-et!", "sent bearer ***"),
        ("got Basic dXNlcjpwYXNz here", "got Basic *** here"),
        ("X-Api-Key: abc", "X-Api-Key: ***"),
    ]);
}

#[test]
fn pem_blocks() {
    hides(&[
        ("a -----BEGIN RSA PRIVATE KEY-----\r\nMII=\r\n-----END RSA PRIVATE KEY----- b", "a *** b"),
        (r"k -----BEGIN PRIVATE KEY-----\nMII=\n-----END PRIVATE KEY-----\n", r"k ***\n"),
        ("cut -----BEGIN CERTIFICATE-----\nMII", "cut ***"),
    ]);
}

#[test]
fn card_numbers() {
    hides(&[
        ("card 4111111111111111 declined", "card *** declined"),
        ("4111-1111-1111-1111, 3782 822463 10005.", "***, ***."),
        ("order 421 4111 1111 1111 1111 12", "order 421 *** 12"),
    ]);
    assert_eq!(mask_json(r#"{"n": [4111111111111111, 1732619333123]}"#), r#"{"n": ["***", 1732619333123]}"#);
}

#[test]
fn what_postgresql_quotes() {
    hides(&[
        (
            "DETAIL:  Key (tenant, api_key)=(1, a)b) already exists.",
            "DETAIL:  Key (tenant, api_key)=(***) already exists.",
        ),
        (r#"{"password":")=(Zz","n":1}"#, r#"{"password":"***","n":1}"#),
        ("DETAIL:  Failing row contains (1, null, s3c).ret).\nx", "DETAIL:  Failing row contains (***).\nx"),
        ("portal with parameters: $1 = 'a''b', $2 = 'c'", "portal with parameters: $1 = '***', $2 = '***'"),
    ]);
}

#[test]
fn json_keeps_numbers_order_and_spaces() {
    let json = r#" {"z": 36893488147419103232, "a" : {"token": {"b": [1]}, "pin": 1.50, "auth": null}, "t": "x"} "#;
    let masked = r#" {"z": 36893488147419103232, "a" : {"token": "***", "pin": 1.50, "auth": null}, "t": "x"} "#;
    assert_eq!(mask_json(json), masked);
    assert_eq!(mask_json(r#"{"\u0074oken": "a", "m": "key=\u0061 \ud800"}"#).find("\\u0061"), None);
    assert_eq!(mask_json("password=x {"), "password=*** {");
    assert!(matches!(mask_json(r#"{"monkey": "é", "n": 1e400}"#), Cow::Borrowed(_)));
}

#[test]
fn keys() {
    for key in [
        "api_key",
        "apiKey",
        "APIKey",
        "APIkey",
        "X-Api-Key",
        "access_token",
        "Authorization",
        "PGPASSWORD",
        "cookies",
        "user.password",
        "password2",
        "passwd",
        "clientsecret",
        "secret_key_base",
        "credentials",
        "OAuth2",
        "key",
        "aws_secret_access_key",
        "tokenValue",
    ] {
        assert!(is_sensitive(key), "{key}");
    }
    for key in [
        "monkey",
        "keyboard",
        "author",
        "authored_by",
        "tokenizer",
        "authority",
        "idempotency_key",
        "concurrencyKey",
        "primary-key",
        "public_key",
        "token_type",
        "KeyError",
        "max_token_count",
        "turkeys",
        "secretary",
        "",
        "0190b5a0-0000-7000-8000-000000000000",
    ] {
        assert!(!is_sensitive(key), "{key}");
    }
    assert_eq!(mask_field("token", "abc"), MASK);
    assert_eq!(mask_field("token", "nil"), "nil");
    assert_eq!(mask_field("url", "a://b:c@d"), "a://b:***@d");
}

#[test]
fn a_list_of_ones_own() {
    let masker = Masker::new(&["pin".to_owned(), "idempotency_key".to_owned()]);
    for (text, masked) in [
        ("pin=1 userPin=2 spin=3 token=4", "pin=*** userPin=*** spin=3 token=4"),
        ("idempotency_key: a, api_key: b", "idempotency_key: ***, api_key: b"),
        ("Bearer abc", "Bearer ***"),
    ] {
        assert_eq!(masker.text(text), masked);
    }
}

#[test]
fn ordinary_text_is_not_touched() {
    for text in [
        "the monkey at the keyboard, by author: Anna Keyes, authored_by=Bo",
        "task=0190b5a0-4111-7111-8111-111111111111 step=charge attempt=1",
        "41111111-1111-4111-8111-111111111111",
        "idempotency_key=order-42 waited 0.4111111111111111 since 1732619333123",
        "a bearer of bad news about basic income; Basic usage of the Bearer token",
        "app/auth/token.rb:12:in `call' lib/api_key.rs:7",
        "JWT::InvalidToken::Expired in Auth::Token",
        "http://localhost:4873/lodash@4.17.21 and https://host/@user?to=a@b.c, see http://a:80.",
        "password authentication failed for user \"app\"",
        "duplicate key value violates unique constraint \"steps_pkey\"",
        "Key (task_id, position)=(1, 2) already exists.",
        "KeyError: key not found: \"x\"",
        "stepwell serve --help -----",
    ] {
        assert!(matches!(mask_text(text), Cow::Borrowed(_)), "{}", mask_text(text));
    }
}

#[test]
fn hostile_text_takes_linear_time() {
    for part in [
        "a://",
        "\"a://b\" ",
        "'a://",
        "token",
        "token=",
        "key:{",
        "\"token\":\"",
        "bearer=",
        "Basic ",
        "-----BEGIN ",
        "-----BEGIN A-----",
        "4111 ",
        "41111111",
        "\\\"key\\\"",
        "Failing row contains (",
        "parameters: $1 = '",
        "a://b:c ",
        "a://b:@",
        "key)=(",
        "(a://",
        "auth:\n",
        "cookie=a; ",
    ] {
        let text = part.repeat(300_000 / part.len());
        let started = std::time::Instant::now();
        let _masked = mask_text(&text);
        let _json = mask_json(&text);
        assert!(
            started.elapsed().as_secs() < 30,
            "{part}: {:?}, and by its square would be minutes",
            started.elapsed()
        );
    }
}
