//! Every form and parameter of libpq's documentation.

use std::time::Duration;

use sqlx::postgres::PgSslMode;

use super::{secrets, Address};

fn read(text: &str) -> Address {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    match text.parse::<Address>() {
        Ok(address) => panic!("{text}: {address:?}"),
        Err(error) => error.to_string(),
    }
}

/// Host or folder of the socket, port, user, database.
fn place(text: &str) -> (String, u16, String, String) {
    let options = read(text).options;
    let host = options.get_socket().map_or(options.get_host().to_owned(), |path| path.display().to_string());
    let database = options.get_database().unwrap_or_default().to_owned();
    (host, options.get_port(), options.get_username().to_owned(), database)
}

#[test]
fn every_form_of_a_url_leads_to_its_place() {
    for (text, host, port, user, database) in [
        ("postgres://app:pw@db/shop", "db", 5432, "app", "shop"),
        ("postgresql://app@db:5433/shop", "db", 5433, "app", "shop"),
        ("Postgres://app@db/shop", "db", 5432, "app", "shop"),
        (" postgres://app@db/shop\n", "db", 5432, "app", "shop"),
        ("postgres://app:pw@/shop?host=/run/postgresql&port=5432", "/run/postgresql", 5432, "app", "shop"),
        ("postgres://app:pw@/shop?host=/cloudsql/p:r:i&sslmode=require", "/cloudsql/p:r:i", 5432, "app", "shop"),
        ("postgresql:///shop?host=db&port=5433&user=app", "db", 5433, "app", "shop"),
        ("postgresql://app@%2Frun%2Fpostgresql/shop", "/run/postgresql", 5432, "app", "shop"),
        ("postgres://app@[2001:db8::1]:5433/shop", "2001:db8::1", 5433, "app", "shop"),
        ("postgres://app@[::1]/shop", "::1", 5432, "app", "shop"),
        ("postgres://app@elsewhere/shop?host=db&user=other&dbname=till", "db", 5432, "other", "till"),
        ("postgres://app@db/shop?hostaddr=10.0.0.7", "10.0.0.7", 5432, "app", "shop"),
        ("postgres://a%40b:p%2Fw@db/sh%20op", "db", 5432, "a@b", "sh op"),
        ("postgres://app:p@ss:w@db/shop", "db", 5432, "app", "shop"),
        ("postgres://app:p#s?w@db/shop", "db", 5432, "app", "shop"),
        ("postgres://app:50%off@db/shop", "db", 5432, "app", "shop"),
        ("postgres://app@db?application_name=a@b", "db", 5432, "app", ""),
        ("host=/run/postgresql dbname=shop user=app", "/run/postgresql", 5432, "app", "shop"),
        ("host = 'db' port=5433 dbname='sh op' user = a\\ b password=''", "db", 5433, "a b", "sh op"),
        ("dbname='it\\'s' user=app host=db", "db", 5432, "app", "it's"),
    ] {
        assert_eq!(place(text), (host.to_owned(), port, user.to_owned(), database.to_owned()), "{text}");
    }
}

#[test]
fn parameters_work_as_libpq_says() {
    let mode = |text: &str| format!("{:?}", read(text).options.get_ssl_mode());
    for (text, expected) in [
        ("postgres://db/shop?sslmode=disable", PgSslMode::Disable),
        ("postgres://db/shop?sslmode=allow", PgSslMode::Prefer),
        ("postgres://db/shop?sslmode=require", PgSslMode::Require),
        ("postgres://db/shop?ssl=true", PgSslMode::Require),
        ("postgres://db/shop?sslmode=require&sslrootcert=/ca.pem", PgSslMode::VerifyCa),
        ("postgres://db/shop?sslmode=verify-full&sslrootcert=system", PgSslMode::VerifyFull),
        ("postgres:///shop?host=/run/postgresql&sslmode=require", PgSslMode::Disable),
    ] {
        assert_eq!(mode(text), format!("{expected:?}"), "{text}");
    }
    let address = read("postgres://db/shop?connect_timeout=7&application_name=my%20app&options=-c%20work_mem%3D8MB");
    assert_eq!((address.connect_timeout, address.named), (Some(Duration::from_secs(7)), true));
    assert_eq!(address.options.get_application_name(), Some("my app"));
    assert_eq!(address.options.get_options(), Some("-c work_mem=8MB"));
    for text in
        ["postgres://db/shop?connect_timeout=0", "host=db connect_timeout=-1", "postgres://db/shop?connect_timeout="]
    {
        assert_eq!(read(text).connect_timeout, None, "{text}");
    }
    // What happens anyway, and what other programs read from the same URL.
    for parameter in [
        "target_session_attrs=read-write",
        "target_session_attrs=primary",
        "client_encoding=UTF8",
        "gssencmode=prefer",
        "keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=5&tcp_user_timeout=1000",
        "pool=5&prepared_statements=false&checkout_timeout=5&encoding=unicode&reaping_frequency=10",
        "pgbouncer=true&connection_limit=1&schema=public",
        "fallback_application_name=x",
        "sslsni=1&sslcompression=0&ssl_min_protocol_version=TLSv1.2",
        "channel_binding=prefer",
    ] {
        read(&format!("postgres://db/shop?{parameter}"));
    }
}

#[test]
fn what_is_no_address_of_postgresql_says_so() {
    for (text, expected) in [
        ("mysql2://u:pw@h/db", "is no PostgreSQL URL such as postgres://user@host:5432/database, but one of mysql2"),
        ("jdbc:postgresql://h/db?user=u", "but one of jdbc; take jdbc: away"),
        ("postgresql+psycopg://u:pw@h/db", "write postgres:// instead of postgresql+psycopg://"),
        ("postgis://u:pw@h/db", "write postgres:// instead of postgis://"),
        ("sqlite3:///db.sqlite", "but one of sqlite3"),
        ("db.example.com", "is no PostgreSQL URL such as"),
        ("db.example.com:5432/shop", "is no PostgreSQL URL such as"),
        ("shop", "is no PostgreSQL URL such as"),
        ("//db/shop", "is no PostgreSQL URL such as"),
        ("postgres:/db/shop", "is no PostgreSQL URL such as"),
    ] {
        let error = refused(text);
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("pw"), "{text}: {error}");
    }
}

#[test]
fn what_cannot_work_is_refused_by_its_name() {
    for (text, expected) in [
        ("postgres://a,b/shop", "names several hosts"),
        ("postgres://a:1,b:2/shop", "names several hosts"),
        ("host=a,b dbname=shop", "names several hosts"),
        ("host=a port=1,2", "names several hosts"),
        ("service=shop", "has service, which does not work here: write host, port, dbname and user"),
        ("postgres://db/shop?passfile=/x", "has passfile, which does not work here: set PGPASSFILE"),
        ("postgres://db/shop?channel_binding=require", "has channel_binding=require: only prefer, disable works"),
        ("postgres://db/shop?target_session_attrs=standby", "has target_session_attrs=standby: only any, read-write"),
        ("postgres://db/shop?client_encoding=LATIN1", "has client_encoding=LATIN1"),
        ("postgres://db/shop?gssencmode=require", "has gssencmode=require"),
        ("postgres://db/shop?sslmode=on", "has sslmode=on: allowed are disable, allow,"),
        ("postgres://db/shop?ssl=1", "has ssl=1: only true works"),
        ("postgres://db/shop?sslcrl=/x", "has sslcrl"),
        ("postgres://db/shop?requirepeer=x", "has requirepeer"),
        ("postgres://db/shop?replication=database", "has replication=database"),
        (
            "postgres://db/shop?aplication_name=x",
            "has the unknown parameter aplication_name; did you mean application_name?",
        ),
        ("postgres://db/shop?sslmode", "has a parameter without ="),
        ("postgres://db/shop?connect_timeout=5s", "has connect_timeout=5s: must be whole seconds"),
        ("postgres://db:port/shop", "has a port that is no number"),
        ("postgres://db:0/shop", "has a port that is no number"),
        ("postgres://[::1/shop", "has a [ without its ]"),
        ("postgres://[::1]x/shop", "behind the ] of the host"),
        ("postgres://app:p%00w@db/shop", "has a value of password that is not UTF-8, or holds the character NUL"),
        ("postgres://app:p%FFw@db/shop", "has a value of password that is not UTF-8"),
        ("host=db password=a b", "has a word without =; put quotes"),
        ("host=db password='a b", "has no closing quote after password="),
        ("host=@abstract", "names an abstract socket"),
        ("hostaddr=db.example.com", "has a hostaddr that is no IP address"),
        ("host=db hostaddr=10.0.0.7 sslmode=verify-full", "give one of the two"),
    ] {
        let error = refused(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn every_password_of_an_address_is_found() {
    let hidden =
        |text: &str| -> Vec<String> { secrets(text).into_iter().map(|place| text[place].to_owned()).collect() };
    for (text, expected) in [
        ("postgres://app:s3@db/shop", vec!["s3"]),
        ("postgres://app:s@3/x@db/shop", vec!["s"]),
        ("postgres:///shop?password=s3&sslpassword=s4&user=app", vec!["s3", "s4"]),
        ("host=db password = s3 dbname=x", vec!["s3"]),
        ("password='it\\'s s3' host=db sslpassword=s4", vec!["it\\'s s3", "s4"]),
        ("password='open s3", vec![]),
        ("postgres://db/shop", vec![]),
        ("shop", vec![]),
    ] {
        assert_eq!(hidden(text), expected, "{text}");
    }
}
