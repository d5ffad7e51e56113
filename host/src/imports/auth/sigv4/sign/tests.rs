//! Against AWS's published test suite for Signature Version 4: names, requests and signatures are from there.

use super::*;

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SUITE: Scope<'_> = Scope { service: "service", region: "us-east-1" };
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn signature(parts: &Parts) -> &str {
    let value = parts.headers[header::AUTHORIZATION].to_str().unwrap();
    value.split_once("Signature=").unwrap().1
}

#[test]
fn requests_of_the_suite() {
    for (name, method, target, expected) in [
        ("get-vanilla", "GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("post-vanilla", "POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "get-relative-normalized",
            "GET",
            "/example/..",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "get-relative-relative-normalized",
            "GET",
            "/example1/example2/../..",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        ("get-slash-normalized", "GET", "//", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            "get-slash-dot-slash-normalized",
            "GET",
            "/./",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "get-slash-pointless-dot-normalized",
            "GET",
            "/./example",
            "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
        ),
        (
            "get-slashes-normalized",
            "GET",
            "//example//",
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ),
        ("get-utf8", "GET", "/ሴ", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        (
            "get-unreserved",
            "GET",
            "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
        (
            "get-vanilla-query-order-key-case",
            "GET",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "get-vanilla-query-order-encoded",
            "GET",
            "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        ),
        (
            "get-vanilla-query-unreserved",
            "GET",
            "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        (
            "get-vanilla-utf8-query",
            "GET",
            "/?ሴ=bar",
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ),
        (
            "get-vanilla-empty-query-key",
            "GET",
            "/?Param1=value1",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
        ),
        (
            "post-vanilla-query",
            "POST",
            "/?Param1=value1",
            "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
        ),
    ] {
        let mut parts = parts(method, &format!("https://example.amazonaws.com{target}"), &[]);
        sign(&mut parts, EMPTY, &Keys::fixed(ID, SECRET, None), SUITE, time("2015-08-30T12:36:00Z")).unwrap();
        assert_eq!(signature(&parts), expected, "{name}");
        assert_eq!(parts.headers["x-amz-date"], "20150830T123600Z", "{name}");
    }
}

#[test]
fn the_whole_header() {
    let mut parts = parts("GET", "https://example.amazonaws.com/", &[]);
    sign(&mut parts, EMPTY, &Keys::fixed(ID, SECRET, None), SUITE, time("2015-08-30T12:36:00Z")).unwrap();
    assert_eq!(
        parts.headers[header::AUTHORIZATION],
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, \
         Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    );
    assert!(parts.headers[header::AUTHORIZATION].is_sensitive());
}

/// Headers that no request of a backend would have signed: the suite's are fed to the signature itself.
#[test]
fn headers_of_the_suite() {
    let long = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwt\
                hAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAk\
                iY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
    let form = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e";
    type Vector<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);
    let vectors: &[Vector<'_>] = &[
        (
            "get-header-key-duplicate",
            "GET",
            &[("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
            EMPTY,
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
        (
            "get-header-value-order",
            "GET",
            &[("My-Header1", "value4"), ("My-Header1", "value1"), ("My-Header1", "value3"), ("My-Header1", "value2")],
            EMPTY,
            "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        ),
        (
            "get-header-value-trim",
            "GET",
            &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
            EMPTY,
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            "post-header-key-sort",
            "POST",
            &[("My-Header1", "value1")],
            EMPTY,
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        ),
        (
            "post-header-value-case",
            "POST",
            &[("My-Header1", "VALUE1")],
            EMPTY,
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        ),
        (
            "get-vanilla-with-session-token",
            "GET",
            &[("x-amz-security-token", "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267")],
            EMPTY,
            "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        ),
        (
            "post-sts-header-before",
            "POST",
            &[("x-amz-security-token", long)],
            EMPTY,
            "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        ),
        (
            "post-x-www-form-urlencoded",
            "POST",
            &[
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Content-Length", "13"),
                ("x-amz-content-sha256", form),
            ],
            form,
            "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
        ),
        (
            "post-x-www-form-urlencoded-parameters",
            "POST",
            &[
                ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("Content-Length", "13"),
                ("x-amz-content-sha256", form),
            ],
            form,
            "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
        ),
    ];
    assert_eq!(hash(b"Param1=value1"), form);
    for (name, method, headers, hash, expected) in vectors {
        let mut parts = parts(method, "https://example.amazonaws.com/", headers);
        parts.headers.insert("host", HeaderValue::from_static("example.amazonaws.com"));
        parts.headers.insert("x-amz-date", HeaderValue::from_static("20150830T123600Z"));
        let mut names: Vec<_> = parts.headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        let keys = Keys::fixed(ID, SECRET, None);
        let value = authorization(&parts, &names, hash, &keys, SUITE, time("2015-08-30T12:36:00Z")).unwrap();
        assert!(value.ends_with(expected), "{name}: {value}");
    }
}

/// `double-url-encode` and `post-sts-header-before` once more, by way of what requests go through.
#[test]
fn an_encoded_path_and_a_session_token() {
    let uri = "https://lambda.us-east-2.amazonaws.com/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-west-2%3A892717189312\
               %3Afunction%3Amy-rusty-fun/invocations";
    let mut encoded = parts("POST", uri, &[]);
    let scope = Scope { service: "lambda", region: "us-east-2" };
    sign(&mut encoded, EMPTY, &Keys::fixed(ID, SECRET, None), scope, time("2021-05-11T15:40:45Z")).unwrap();
    assert_eq!(signature(&encoded), "4b93abbcc68be32bd64c18e2c71150660ab4c29bbd6c32a383a7517a88fc1804");

    let token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
    let mut with_token = parts("GET", "https://example.amazonaws.com/", &[]);
    sign(&mut with_token, EMPTY, &Keys::fixed(ID, SECRET, Some(token)), SUITE, time("2015-08-30T12:36:00Z")).unwrap();
    assert_eq!(signature(&with_token), "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8");
    assert!(with_token.headers["x-amz-security-token"].is_sensitive());
}

#[test]
fn what_the_caller_set_does_not_count() {
    let forged = [
        ("authorization", "AWS4-HMAC-SHA256 forged"),
        ("x-amz-date", "20000101T000000Z"),
        ("x-amz-security-token", "forged"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("host", "elsewhere.example.com"),
    ];
    let mut parts = parts("GET", "https://example.amazonaws.com/", &forged);
    sign(&mut parts, EMPTY, &Keys::fixed(ID, SECRET, None), SUITE, time("2015-08-30T12:36:00Z")).unwrap();
    assert_eq!(signature(&parts), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    assert!(!parts.headers.contains_key("x-amz-content-sha256") && !parts.headers.contains_key("x-amz-security-token"));
    assert_eq!(parts.headers["host"], "example.amazonaws.com");
}

/// Header authentication of S3, with the example of its documentation (GET of a range of test.txt).
#[test]
fn s3_as_documented() {
    let mut parts = parts("GET", "https://examplebucket.s3.amazonaws.com/test.txt", &[("range", "bytes=0-9")]);
    let keys = Keys::fixed("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None);
    let scope = Scope { service: "s3", region: "us-east-1" };
    let now = time("2013-05-24T00:00:00Z");
    sign(&mut parts, EMPTY, &keys, scope, now).unwrap();
    // The example signs Range too.
    let names = ["host", "range", "x-amz-content-sha256", "x-amz-date"].map(str::to_owned);
    let value = authorization(&parts, &names, EMPTY, &keys, scope, now).unwrap();
    assert!(value.ends_with("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"), "{value}");
}

#[test]
fn ports_of_their_own_are_named() {
    for (uri, expected) in [
        ("https://a.example.com:443/", "a.example.com"),
        ("http://a.example.com:80/", "a.example.com"),
        ("https://a.example.com:80/", "a.example.com:80"),
        ("http://127.0.0.1:5000/", "127.0.0.1:5000"),
        ("http://[::1]:5000/", "[::1]:5000"),
    ] {
        assert_eq!(host(&uri.parse().unwrap()).unwrap(), expected);
    }
    assert!(host(&"/relative".parse().unwrap()).is_err());
}

#[test]
fn keys_with_a_newline_are_refused_and_not_shown() {
    let mut parts = parts("GET", "https://example.amazonaws.com/", &[]);
    let keys = Keys::fixed("AKID\nEXAMPLE", SECRET, None);
    let error = sign(&mut parts, EMPTY, &keys, SUITE, time("2015-08-30T12:36:00Z")).unwrap_err();
    assert!(error.contains("newline") && !error.contains("AKID"), "{error}");
    assert!(!format!("{keys:?}").contains(SECRET));
}
