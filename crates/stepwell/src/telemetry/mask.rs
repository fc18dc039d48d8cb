//! Credentials never stand in a log line, an error or a status.

/// A database URL without its password: `postgres://app:***@db/shop`. Passwords in the query are masked too; text
/// that is no URL is returned as it is when it cannot hold one, else hidden whole.
pub fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return if url.contains("password") { "***".to_owned() } else { url.to_owned() };
    };
    // The authority ends at the first / or ?; the last @ in it ends the credentials (passwords may hold an @).
    let (before_query, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    let masked = match before_query.rsplit_once('@') {
        Some((credentials, host)) => match credentials.split_once(':') {
            Some((user, _password)) => format!("{user}:***@{host}"),
            None => before_query.to_owned(),
        },
        None => before_query.to_owned(),
    };
    let query = query.map(|query| {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((key, _)) if key.eq_ignore_ascii_case("password") || key.eq_ignore_ascii_case("sslpassword") => {
                format!("{key}=***")
            }
            _ => pair.to_owned(),
        });
        pairs.collect::<Vec<_>>().join("&")
    });
    match query {
        Some(query) => format!("{scheme}://{masked}?{query}"),
        None => format!("{scheme}://{masked}"),
    }
}

#[cfg(test)]
mod tests {
    use super::mask_url;

    #[test]
    fn hides_passwords_wherever_a_url_holds_them() {
        for (url, masked) in [
            ("postgres://app:s3cret@db:5432/shop", "postgres://app:***@db:5432/shop"),
            ("postgres://app:p@ss:w/rd@db/shop", "postgres://app:***@db/shop"),
            (
                "postgres://app@db/shop?password=s3cret&sslmode=require",
                "postgres://app@db/shop?password=***&sslmode=require",
            ),
            ("postgres://stepwell@%2Ftmp%2Fx/stepwell", "postgres://stepwell@%2Ftmp%2Fx/stepwell"),
            ("postgres:///shop", "postgres:///shop"),
            ("host=db password=s3cret", "***"),
        ] {
            assert_eq!(mask_url(url), masked, "{url}");
        }
    }
}
