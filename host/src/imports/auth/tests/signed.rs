//! What is known of a signed request afterwards.

use super::*;
use crate::config::{CredentialSource, SigV4};

fn answered(date: SystemTime) -> response::Parts {
    let date = reqsign_core::time::Timestamp::from_second(
        date.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().try_into().unwrap(),
    );
    let date = date.unwrap().format_http_date();
    http::Response::builder().status(401).header("date", date).body(()).unwrap().into_parts().0
}

#[test]
fn clocks_that_differ_are_named() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let said = |date| clock_skew(&answered(date), now);
    assert_eq!(said(now), None);
    assert_eq!(said(now - Duration::from_secs(300)), None);
    assert_eq!(
        said(now - Duration::from_secs(903)).as_deref(),
        Some("clock skew: this host's clock is 15m 3s ahead of the server's, set it right")
    );
    assert_eq!(
        said(now + Duration::from_secs(7200)).as_deref(),
        Some("clock skew: this host's clock is 2h behind the server's, set it right")
    );
    let no_date = http::Response::new(()).into_parts().0;
    assert_eq!(clock_skew(&no_date, now), None);
    let odd = http::Response::builder().header("date", "yesterday").body(()).unwrap().into_parts().0;
    assert_eq!(clock_skew(&odd, now), None);
}

#[tokio::test]
async fn only_signatures_have_a_time() {
    let aws = SigV4 {
        service: "ec2".into(),
        region: "a".into(),
        credentials: vec![CredentialSource::Static {
            access_key_id: "key-id".into(),
            secret_access_key: "key".into(),
            session_token: None,
        }],
        assume_role: None,
    };
    let bench = Bench::new(&[
        ("aws", AuthMethod::SigV4(aws)),
        ("basic", AuthMethod::Basic { username: text("ann"), password: "password".into() }),
    ]);
    let late = answered(SystemTime::now() - Duration::from_secs(3600));
    for (profile, hinted) in [("aws", true), ("basic", false)] {
        let (mut parts, ()) = http::Request::get("http://127.0.0.1:1/").body(()).unwrap().into_parts();
        let signed = bench.profiles.authorize(profile, &mut parts, b"", Instant::now()).await.unwrap();
        let hint = bench.profiles.hint(&signed, &late);
        assert_eq!(hint.is_some_and(|hint| hint.starts_with("clock skew")), hinted);
        assert_eq!(signed.profile(), profile);
        let shown = format!("{parts:?} {signed:?} {signed:#?}");
        assert!(
            SECRETS.iter().all(|(_, value)| bench.secrets.seen().mask(&shown, [value.as_bytes()]) == shown),
            "{shown}"
        );
    }
}
