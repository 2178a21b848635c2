"""HTTP/1.x: method, host, agent and status out of crafted and damaged streams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applog.capture.decode.http import Request, request, response_status
from applog.capture.decode.tls import Need

PLAIN = (
    b"GET /secret?q=1 HTTP/1.1\r\nHost: Www.Example.com:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"
)
READ = Request("GET", "www.example.com", "curl/8.5.0")


def with_host(value: bytes) -> bytes:
    """A request with one Host header."""
    return b"GET / HTTP/1.1\r\nHost:" + value + b"\r\n\r\n"


def test_a_request_is_read() -> None:
    """Method, host without its port in lower case, agent as written; nothing of the path."""
    assert request(PLAIN + b"body") == READ


@pytest.mark.parametrize(
    "stream",
    [
        PLAIN.replace(b"\r\n", b"\n"),
        b"\r\n" + PLAIN,
        PLAIN.replace(b"Host: ", b"hOsT:\t ").replace(b"User-Agent: ", b"USER-AGENT:"),
        PLAIN.replace(b"Host: ", b"Host:\r\n  "),
        PLAIN.replace(b":8080", b":8080 \t"),
        PLAIN.replace(b"Accept", b"Host: other.example\r\nUser-Agent: other\r\nAccept"),
        PLAIN.replace(b"Accept", b"X-A: a\r\n Host: folded.example\r\nAccept"),
        PLAIN.replace(b"Host: ", b"X-Host: x.example\r\nHost : y.example\r\nHost: "),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1."),
        PLAIN.replace(b"GET /secret", b"GET  /sec ret"),
        PLAIN + b"GET / HTTP/1.1\r\nHost: second.example\r\n\r\n",
    ],
)
def test_spellings_of_one_request(stream: bytes) -> None:
    """Line ends, case, spaces, folding and repeated or look-alike headers do not change what is read."""
    assert request(stream) == READ


def test_a_folded_value_is_one_line() -> None:
    """Folds become one space each (RFC 9112 5.2)."""
    stream = b"GET / HTTP/1.0\nUser-Agent: one\r\n\t two\n three\r\n\r\n"

    assert request(stream) == Request("GET", None, "one two three")


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"example.com", "example.com"),
        (b" example.com.:80 ", "example.com"),
        (b"example.com:", "example.com"),
        (b"[2001:DB8::1]", "2001:db8::1"),
        (b"[2001:db8::1]:443", "2001:db8::1"),
        (b"[2001:db8::1", "[2001:db8::1"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"example.com:http", "example.com:http"),
        (b"192.0.2.1:8080", "192.0.2.1"),
        (b"\xff\x00.example", "\\xff\\x00.example"),
        (b"a" * 256, None),
        (b":80", None),
        (b"", None),
    ],
)
def test_hosts(value: bytes, host: str | None) -> None:
    """Port, brackets and last dot go; what is no authority stays visible; empty and over-long are none."""
    assert request(with_host(value)) == Request("GET", host, None)


@pytest.mark.parametrize(
    ("line", "host"),
    [
        (b"GET http://User:Secret@Proxy.Example:3128/path?a@b", "proxy.example"),
        (b"GET http://[2001:db8::1]:80/", "2001:db8::1"),
        (b"CONNECT secure.example:443", "secure.example"),
        (b"OPTIONS *", None),
        (b"GET /http://not.example/", None),
        (b"GET http:///", None),
    ],
)
def test_hosts_of_request_targets(line: bytes, host: str | None) -> None:
    """Without a Host header the target's authority counts, never its credentials; with one, the header."""
    method = line.split()[0].decode()

    assert request(line + b" HTTP/1.1\r\n\r\n") == Request(method, host, None)
    assert request(line + b" HTTP/1.1\r\nHost: h.example\r\n\r\n") == Request(method, "h.example", None)


@pytest.mark.parametrize("stream", [PLAIN, b"\n\r\n" + PLAIN, PLAIN.replace(b"\r\n", b"\n")])
def test_need_leads_to_the_answer(stream: bytes) -> None:
    """Every prefix asks for more than it has, never for more than the whole."""
    for end in range(len(stream)):
        result = request(stream[:end])
        assert isinstance(result, Need)
        assert end < result.total <= len(stream)


def test_a_cut_request_is_read_when_final() -> None:
    """With final, whole lines count and a line that is cut does not; a cut request line is nothing."""
    host_end = PLAIN.index(b":8080\r\n") + len(b":8080\r\n")

    assert request(PLAIN[:host_end], final=True) == Request("GET", "www.example.com", None)
    assert request(PLAIN[: host_end - 2], final=True) == Request("GET", None, None)
    assert request(PLAIN[:20], final=True) is None
    assert request(b"", final=True) is None


def test_a_header_section_is_read_to_16_kib() -> None:
    """After 16 KiB the lines that are whole are enough; a request line of that length is nothing."""
    endless = PLAIN[:-2] + b"Cookie: " + b"c" * 20000

    assert request(endless) == READ
    assert request(b"GET /" + b"a" * 20000) is None
    assert isinstance(request(b"GET /" + b"a" * 16000), Need)


@pytest.mark.parametrize(
    "line", [b"OPTIONS", b"OPTIONS HTTP/1.1", b"GET /HTTP/1.1", b"CCM_POST /HTTP/1.1", b"POST /"]
)
def test_a_spoilt_request_line_with_a_host(line: bytes) -> None:
    """No target or no version, but a well-known method and a Host header: the name is still the client's."""
    method = line.split()[0].decode()

    assert request(line + b"\r\nHost: h.example\r\n\r\n") == Request(method, "h.example", None)
    assert request(line + b"\r\n\r\n", final=True) is None


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/2.0\r\nHost: h.example\r\n\r\n",
        b"GET rtsp://h.example/ RTSP/1.0\r\nHost: h.example\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"OPTIONS rtsp://example.com/ RTSP/1.0\r\n\r\n",
        b"INVITE sip:a@example.com SIP/2.0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"EHLO example.com\r\n",
        b"\x16\x03\x01\x02\x00",
        b"A" * 33,
        b" GET / HTTP/1.1\r\n\r\n",
        b"GET /\rHTTP/1.1\r\n",
    ],
)
def test_what_is_no_request(stream: bytes) -> None:
    """HTTP/0.9, HTTP/2 and other protocols give nothing, as soon as that is certain."""
    assert request(stream) is None


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        (b"HTTP/1.0 404 Not Found", 404),
        (b"HTTP/1.1 302\r\n", 302),
        (b"HTTP/1.1 101 Switching Protocols\r\n", 101),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n", 201),
        (b"HTTP/1.1 103 Early Hints\nLink: a\n\nHTTP/1.1 100 \n\nHTTP/1.1 500 \n", 500),
    ],
)
def test_statuses(stream: bytes, status: int) -> None:
    """The first response that is not interim counts, 101 does; its headers need not be there."""
    assert response_status(stream) == status
    for end in range(len(stream)):
        result = response_status(stream[:end])
        assert result == status or (isinstance(result, Need) and end < result.total <= len(stream))


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\r\n",
        b"HTTP/2 200 \r\n\r\n",
        b"HTTP/1.1 099 Low\r\n",
        b"HTTP/1.1 2000 Long\r\n",
        b"ICY 200 OK\r\n",
        b"HTTQ",
        b"HTTP/1.1 100 Continue\r\n\r\nnothing",
    ],
)
def test_what_is_no_response(stream: bytes) -> None:
    """Other protocols and bad status lines have no status."""
    assert response_status(stream) is None


def test_a_final_stream_of_interim_responses_has_no_status() -> None:
    """100 alone is not the answer; the true one was not observed."""
    for stream in (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n", b"HTTP/1.1 20", b""):
        assert response_status(stream, final=True) is None
        assert isinstance(response_status(stream), Need)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_answered(raw: bytes, final: bool) -> None:
    """No input raises, and a need is always for more than was given."""
    for prefix in (b"", b"GET ", b"GET / HTTP/1.1\r\nHost:", b"HTTP/1.1 ", b"HTTP/1.1 100 C\r\n"):
        stream = prefix + raw
        for result in (request(stream, final=final), response_status(stream, final=final)):
            assert not isinstance(result, Need) or (result.total > len(stream) and not final)


@given(st.integers(0, len(PLAIN) - 1), st.sampled_from(b"\r\n \t:[]@/\x00\xffA"), st.booleans())
def test_any_changed_byte_is_survived(at: int, value: int, final: bool) -> None:
    """A request with any byte changed gives one of the three answers."""
    result = request(PLAIN[:at] + bytes([value]) + PLAIN[at + 1 :], final=final)

    assert result is None or isinstance(result, Request | Need)
