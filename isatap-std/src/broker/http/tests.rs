use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn response(status: u16, body: &str) -> Response {
    Response { status, location: None, body: body.to_owned() }
}

/// Each answer byte by byte: it is complete at its last byte and no sooner, whatever its form.
#[test]
fn an_answer_is_complete_at_its_last_byte() {
    for (text, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood", response(200, "good")),
        ("HTTP/1.0 204 No\r\n\r\n", response(204, "")),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 No\r\ncontent-length: 7\r\n\r\nbadauth", response(401, "badauth")),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ngo\r\n5;x\r\nod 19\r\n0\r\n",
            response(200, "good 19"),
        ),
        (
            "HTTP/1.1 301 Moved\r\nLocation: https://b.example/\r\nContent-Length: 0\r\n\r\n",
            Response { status: 301, location: Some("https://b.example/".to_owned()), body: String::new() },
        ),
    ] {
        for length in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..length], End::Open).unwrap(), None, "{length} of {text}");
        }
        assert_eq!(parse(text.as_bytes(), End::Open).unwrap(), Some(expected), "{text}");
    }
}

/// What comes in pieces, and how the connection ends.
struct Peer(Vec<Vec<u8>>, io::ErrorKind);

impl Read for Peer {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.first().cloned() {
            Some(piece) => {
                self.0.remove(0);
                into[..piece.len()].copy_from_slice(&piece);
                Ok(piece.len())
            }
            None if self.1 == io::ErrorKind::UnexpectedEof => Err(self.1.into()),
            None => Ok(0),
        }
    }
}

fn read(text: &[u8], is_cut: bool) -> Result<Response, String> {
    let end = if is_cut { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::Other };
    read_answer(Peer(text.chunks(700).map(<[u8]>::to_vec).collect(), end)).map_err(|error| error.to_string())
}

#[test]
fn an_answer_that_is_cut_is_none() {
    let without_length = b"HTTP/1.1 200 OK\r\n\r\ngood";
    assert_eq!(parse(without_length, End::Open).unwrap(), None);
    assert_eq!(read(without_length, false), Ok(response(200, "good")));
    for cut in [false, true] {
        // Whole by what it says itself.
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood", cut), Ok(response(200, "good")));
        assert_eq!(read(b"", cut).unwrap_err(), "it hung up before it answered");
        for text in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ngood"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\ngood",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 200",
        ] {
            assert_eq!(read(text, cut).unwrap_err(), "it hung up in the middle of its answer");
        }
    }
    assert_eq!(read(without_length, true).unwrap_err(), "it hung up in the middle of its answer");
}

#[test]
fn of_a_long_answer_the_beginning_counts() {
    let page = "x".repeat(2 * LONGEST);
    for header in ["X: y", "Content-Length: 99999", "Content-Length: 18446744073709551615"] {
        let read = read(format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\ngood {page}").as_bytes(), false).unwrap();
        assert!(read.body.starts_with("good xx") && read.body.len() < LONGEST + 1024);
    }
    assert!(read(format!("HTTP/1.1 200 OK\r\nX: {page}\r\n\r\n").as_bytes(), false).unwrap_err().contains("too long"));
}

#[test]
fn what_is_no_answer_is_told() {
    for (text, why) in [
        ("SSH-2.0-x\r\n", "that is no HTTP"),
        ("HTTP/1.1 101 Switching\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "nobody asked for status 101"),
        ("HTTP/1.1 099 No\r\n\r\n", "nobody asked for status 99"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "a chunk is broken"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "Content-Length is \"-1\""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "Content-Length is \"1\""),
        // As many as fit: each called the next one on the stack once.
        (&"HTTP/1.1 100\r\n\r\n".repeat(LONGEST / 16), "goes on and on"),
        (&"HTTP/1.1 100\r\n\r\n".repeat(9), "goes on and on"),
    ] {
        let told = read(text.as_bytes(), false).unwrap_err();
        assert!(told.contains(why), "{text}: {told}");
    }
    let patient = "HTTP/1.1 103\r\n\r\n".repeat(8) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(read(patient.as_bytes(), false), Ok(response(200, "")));
}

proptest! {
    /// Whatever comes: no panic, a body no longer than what was read, and the same in any pieces.
    #[test]
    fn any_bytes_end(pieces in vec(piece(), 0..40), is_cut: bool) {
        let text = pieces.concat();
        let whole = read(&text, is_cut);
        if let Ok(response) = &whole {
            // A byte that is no UTF-8 becomes three.
            prop_assert!(response.status >= 200 && response.body.len() <= 3 * (LONGEST + 1024));
        }
        if text.len() < LONGEST {
            let end = if is_cut { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::Other };
            let single = read_answer(Peer(text.iter().map(|byte| vec![*byte]).collect(), end));
            prop_assert_eq!(single.is_ok(), whole.is_ok());
        }
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "HTTP/1.1 ",
        "100",
        "200 OK",
        "204",
        "\r\n",
        "\r\n\r\n",
        "HTTP/1.1 100\r\n\r\n",
        "HTTP/1.1 200 OK\r\n",
        "Content-Length: ",
        "Transfer-Encoding: chunked\r\n",
        "5",
        "ffffffffffffffff",
        "0\r\n",
        "good",
        ";",
        "-",
    ];
    prop_oneof![
        4 => select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..600),
    ]
}

/// A wrong way is none of the broker's faults.
#[test]
fn who_cannot_be_reached_is_told_with_the_way() {
    let to = SocketAddr::from(([192, 0, 2, 1], 8080));
    let told = |error: io::Error, device| unanswered(to, device, &error).failure.fix;
    for code in [libc::EHOSTUNREACH, libc::ENETUNREACH] {
        let unreachable = || io::Error::from_raw_os_error(code);
        assert_eq!(told(unreachable(), Some("eth1")), "see: ip -4 route get 192.0.2.1 oif eth1");
        assert_eq!(told(unreachable(), None), "see: ip -4 route get 192.0.2.1");
    }
    let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
    assert_eq!(told(refused, Some("eth1")), "see whether the broker listens at TCP port 8080");
    let forbidden = io::Error::from_raw_os_error(libc::EPERM);
    assert_eq!(told(forbidden, Some("eth1")), "let it through this machine's firewall");
}

/// The first of three hangs: the next one has its share, and the next call begins with it.
#[test]
fn an_address_that_hangs_leaves_time_for_the_next() {
    let all = [1, 2, 3].map(|last| Ipv4Addr::new(192, 0, 2, last));
    let begun = Instant::now();
    let until = begun + Duration::from_secs(300);
    let mut asked = Vec::new();
    let silent = |address: Ipv4Addr| Unanswered {
        failure: Failure::new(format!("{address} does not answer"), "let it through"),
        is_unknown_issuer: address.octets()[3] == 2,
    };
    let answer = ask_each(&all, 1, until, |address, share| {
        asked.push((address, share.duration_since(begun).as_secs()));
        if address == all[0] { Ok(response(200, "good")) } else { Err(silent(address)) }
    });
    assert_eq!(answer, Ok(response(200, "good")));
    assert_eq!(asked.iter().map(|(address, _)| *address).collect::<Vec<_>>(), [all[1], all[2], all[0]]);
    assert!(asked[0].1.abs_diff(100) < 5 && asked[1].1.abs_diff(150) < 5 && asked[2].1.abs_diff(300) < 5, "{asked:?}");
    for turn in 0..4 {
        let failed = ask_each(&all, turn, until, |address, _| Err(silent(address))).unwrap_err();
        let causes = "192.0.2.1 does not answer; 192.0.2.2 does not answer; 192.0.2.3 does not answer";
        assert_eq!((failed.failure, failed.is_unknown_issuer), (Failure::new(causes, "let it through"), true));
    }
}
