"""Names and addresses of S3 objects: what is sent, what is signed, what is refused. No network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from rangecache.errors import BadRequest, ConfigurationError
from rangecache.origin.providers.s3_address import Endpoint, bucket_fault, has_dot_segment

AWS = Endpoint.parse(None)
OWN = Endpoint.parse("http://127.0.0.1:9000")


@pytest.mark.parametrize(
    "name", ["abc", "a.b-c", "0a0", "a" * 63, "static.example.org", "192.168.0.1.x", "1.2.3", "xn--x"]
)
def test_a_name_that_follows_the_rules_is_taken(name: str) -> None:
    assert bucket_fault(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        *("", "ab", "a" * 64, "..", ".ab", "ab.", "-ab", "ab-", "a..b", "192.168.0.1"),
        *("A-B-C", "a_b", "a/b", "a%2Fb", "a b", "a\nb", "abc\n", "a:b", "a@b.c", "é11"),
    ],
)
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    assert bucket_fault(name) != ""


@pytest.mark.parametrize(
    ("bucket", "region", "expected"),
    [
        ("data", "us-east-1", "https://data.s3.us-east-1.amazonaws.com/k"),
        ("data", "eu-west-3", "https://data.s3.eu-west-3.amazonaws.com/k"),
        ("data", "cn-north-1", "https://data.s3.cn-north-1.amazonaws.com.cn/k"),
        ("a.b.c", "us-west-2", "https://s3.us-west-2.amazonaws.com/a.b.c/k"),
    ],
)
def test_aws_is_asked_by_host_name_except_for_buckets_with_dots(bucket: str, region: str, expected: str) -> None:
    assert AWS.address(bucket, "k", region).to_send == expected


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/data/k"),
        ("http://127.0.0.1:9000/", "http://127.0.0.1:9000/data/k"),
        ("https://s3.example.org/some/prefix/", "https://s3.example.org/some/prefix/data/k"),
    ],
)
def test_another_service_is_asked_by_path_below_its_endpoint(endpoint: str, expected: str) -> None:
    assert Endpoint.parse(endpoint).address("data", "k", "us-east-1").to_send == expected


@pytest.mark.parametrize(
    "endpoint",
    ["ftp://x", "127.0.0.1:9000", "https://", "https://u:p@x", "https://x/?a=b", "https://x/#f", "http://[::1", "s3"],
)
def test_an_endpoint_that_is_no_plain_address_is_a_fault_of_the_configuration(endpoint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Endpoint.parse(endpoint)
    assert "u:p" not in caught.value.message


@pytest.mark.parametrize(
    ("key", "encoded"),
    [
        ("a b", "a%20b"),
        ("a+b", "a%2Bb"),
        ("a%2Fb", "a%252Fb"),
        ("a//b", "a//b"),
        ("/lead", "/lead"),
        ("tail/", "tail/"),
        ("é中", "%C3%A9%E4%B8%AD"),
        ("x=1&y?z#f;g", "x%3D1%26y%3Fz%23f%3Bg"),
        ("A-Z._~", "A-Z._~"),
        ("a\\b", "a%5Cb"),
        ("\r\n", "%0D%0A"),
    ],
)
def test_every_byte_but_unreserved_ones_and_the_slash_is_encoded(key: str, encoded: str) -> None:
    address = OWN.address("data", key, "us-east-1")
    assert address.to_send == address.to_sign == f"http://127.0.0.1:9000/data/{encoded}"


@pytest.mark.parametrize(
    ("key", "sent"),
    [
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("a/../b", "a/%2E%2E/b"),
        ("a/./b/..", "a/%2E/b/%2E%2E"),
        ("../../x", "%2E%2E/%2E%2E/x"),
        ("a/.../b", "a/.../b"),
        ("a../.b", "a../.b"),
    ],
)
def test_dot_segments_are_sent_encoded_and_signed_bare(key: str, sent: str) -> None:
    address = OWN.address("data", key, "us-east-1")
    assert address.to_send == f"http://127.0.0.1:9000/data/{sent}"
    assert address.to_sign == f"http://127.0.0.1:9000/data/{key}"
    assert has_dot_segment(key) == (sent != key)


@given(st.text(min_size=1, max_size=60))
def test_the_address_of_any_key_stays_below_its_bucket_and_decodes_to_the_key(key: str) -> None:
    address = AWS.address("data", key, "us-east-1")
    url = URL(address.to_send, encoded=True)
    assert str(url) == address.to_send
    assert (url.host, url.raw_query_string, url.raw_fragment) == ("data.s3.us-east-1.amazonaws.com", "", "")
    assert url.raw_path.startswith("/")
    assert url.path == "/" + key


def test_a_version_is_a_query_parameter_and_cannot_add_another() -> None:
    address = AWS.address("data", "k", "us-east-1", "a&b=c d")
    assert address.to_send.endswith("/k?versionId=a%26b%3Dc%20d")
    assert address.to_sign == address.to_send


@pytest.mark.parametrize("version", ["", "a\nb", "é", "x" * 1025])
def test_a_version_that_s3_would_never_give_out_is_refused(version: str) -> None:
    with pytest.raises(BadRequest):
        AWS.address("data", "k", "us-east-1", version)


@pytest.mark.parametrize("key", ["", "k" * 1025, "é" * 513, "\ud800"])
def test_a_key_that_cannot_exist_is_refused(key: str) -> None:
    with pytest.raises(BadRequest):
        AWS.address("data", key, "us-east-1")


def test_the_longest_key_is_counted_in_decoded_bytes() -> None:
    assert AWS.address("data", "é" * 512, "us-east-1").to_send.endswith("%C3%A9")


@pytest.mark.parametrize(
    ("to", "inside"),
    [
        ("https://data.s3.eu-west-1.amazonaws.com/k", True),
        ("https://data.s3-eu-west-1.amazonaws.com/k", True),
        ("http://data.s3.eu-west-1.amazonaws.com/k", False),
        ("https://data.s3.eu-west-1.amazonaws.com:8443/k", False),
        ("https://other.s3.eu-west-1.amazonaws.com/k", False),
        ("https://data.s3.eu-west-1.amazonaws.com.evil.org/k", False),
        ("https://data.s3.evil.org/k", False),
        ("https://evil.org/data.s3.eu-west-1.amazonaws.com", False),
        ("http://169.254.169.254/latest", False),
    ],
)
def test_a_redirect_of_aws_may_lead_to_the_same_bucket_in_another_region_only(to: str, inside: bool) -> None:
    assert AWS.is_inside(URL(to), "data", "us-east-1") is inside


@pytest.mark.parametrize(
    ("to", "inside"),
    [
        ("http://127.0.0.1:9000/data/k", True),
        ("http://127.0.0.1:9000/other/k", False),
        ("http://127.0.0.1:9000/data-evil/k", False),
        ("http://127.0.0.1:9001/data/k", False),
        ("https://127.0.0.1:9000/data/k", False),
        ("http://localhost:9000/data/k", False),
        ("http://127.0.0.1:9000/data/%2E%2E/other/k", False),
    ],
)
def test_a_redirect_of_another_service_stays_in_the_bucket(to: str, inside: bool) -> None:
    assert OWN.is_inside(URL(to, encoded=True), "data", "us-east-1") is inside
