//! The resolver against name servers that misbehave: real sockets on 127.0.0.1, a
//! server and an encoder of this file's own, no code of the library's on that side.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use isatap_std::resolve::{
    AddressLookup, Failure, Lookup, Name, Records, ResolvConf, Resolver, Settings, Step, StubClient, Unusable,
};

const NOERROR: u16 = 0x8180;
const SERVFAIL: u16 = 0x8182;
const NXDOMAIN: u16 = 0x8183;
const REFUSED: u16 = 0x8185;
const TRUNCATED: u16 = 0x0200;
const NAME: &str = "isatap.example.com";
/// For servers that will not answer: short enough to wait for.
const TIMEOUT: Duration = Duration::from_millis(300);

/// One question as the server saw it.
#[derive(Clone)]
struct Question {
    bytes: Vec<u8>,
    id: u16,
    name: String,
    client: SocketAddr,
    tcp: bool,
}

impl Question {
    fn read(bytes: &[u8], client: SocketAddr, tcp: bool) -> Question {
        let mut labels = Vec::new();
        let mut at = 12;
        while bytes[at] != 0 {
            let end = at + 1 + usize::from(bytes[at]);
            labels.push(String::from_utf8(bytes[at + 1..end].to_vec()).unwrap());
            at = end;
        }
        Question {
            bytes: bytes.to_vec(),
            id: u16::from_be_bytes([bytes[0], bytes[1]]),
            name: labels.join("."),
            client,
            tcp,
        }
    }

    /// An answer with these flags to this question.
    fn answer(&self, flags: u16, records: &[Record]) -> Vec<u8> {
        message(self.id, flags, &self.name, records)
    }
}

struct Record {
    owner: String,
    kind: u16,
    ttl: u32,
    data: Vec<u8>,
}

fn a(owner: &str, address: [u8; 4], ttl: u32) -> Record {
    Record { owner: owner.to_owned(), kind: 1, ttl, data: address.to_vec() }
}

fn cname(owner: &str, target: &str, ttl: u32) -> Record {
    Record { owner: owner.to_owned(), kind: 5, ttl, data: encoded(target) }
}

fn aaaa(owner: &str, ttl: u32) -> Record {
    Record { owner: owner.to_owned(), kind: 28, ttl, data: vec![0x20; 16] }
}

fn encoded(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.') {
        octets.push(label.len() as u8);
        octets.extend(label.bytes());
    }
    octets.push(0);
    octets
}

fn message(id: u16, flags: u16, question: &str, records: &[Record]) -> Vec<u8> {
    let mut octets = Vec::new();
    for field in [id, flags, 1, records.len() as u16, 0, 0] {
        octets.extend(field.to_be_bytes());
    }
    octets.extend(encoded(question));
    octets.extend([0, 1, 0, 1]);
    for record in records {
        octets.extend(encoded(&record.owner));
        octets.extend(record.kind.to_be_bytes());
        octets.extend([0, 1]);
        octets.extend(record.ttl.to_be_bytes());
        octets.extend((record.data.len() as u16).to_be_bytes());
        octets.extend(&record.data);
    }
    octets
}

/// A name server on 127.0.0.1, UDP and TCP on one port. Its threads end with the test's process.
struct Server {
    address: SocketAddr,
    questions: Arc<Mutex<Vec<Question>>>,
}

impl Server {
    /// `answers` gives the messages to send, in order, for each question.
    fn start(answers: impl Fn(&Question) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Server {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            // The port may be taken for TCP: try another.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let questions = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(answers);
        let (seen, answer) = (questions.clone(), answers.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, client)) = udp.recv_from(&mut buffer) {
                let question = Question::read(&buffer[..length], client, false);
                seen.lock().unwrap().push(question.clone());
                for message in answer(&question) {
                    udp.send_to(&message, client).unwrap();
                }
            }
        });
        let seen = questions.clone();
        std::thread::spawn(move || {
            while let Ok((mut stream, client)) = tcp.accept() {
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut buffer = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut buffer).unwrap();
                let question = Question::read(&buffer, client, true);
                seen.lock().unwrap().push(question.clone());
                for message in answers(&question) {
                    let mut framed = (message.len() as u16).to_be_bytes().to_vec();
                    framed.extend(message);
                    let _ = stream.write_all(&framed);
                }
            }
        });
        Server { address, questions }
    }

    fn silent() -> Server {
        Server::start(|_| vec![])
    }

    fn questions(&self) -> Vec<Question> {
        self.questions.lock().unwrap().clone()
    }
}

fn conf(servers: &[&Server]) -> ResolvConf {
    let mut conf = ResolvConf::default();
    conf.nameservers = servers.iter().map(|server| server.address).collect();
    conf.timeout = Duration::from_secs(5);
    conf.attempts = 1;
    conf
}

/// The same for servers of which one is silent.
fn impatient(servers: &[&Server]) -> ResolvConf {
    let mut conf = conf(servers);
    conf.timeout = TIMEOUT;
    conf
}

fn ask(conf: &ResolvConf) -> Result<Records, Failure> {
    let name: Name = NAME.parse().unwrap();
    StubClient::new().addresses(&name.to_absolute(), conf, soon())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn records(addresses: &[[u8; 4]], ttl: u64) -> Result<Records, Failure> {
    Ok(Records { addresses: addresses.iter().map(|octets| (*octets).into()).collect(), ttl: Duration::from_secs(ttl) })
}

/// Asks one server, which always answers alike.
fn check(answers: impl Fn(&Question) -> Vec<Vec<u8>> + Send + Sync + 'static, expected: Result<Records, Failure>) {
    let server = Server::start(answers);
    assert_eq!(ask(&conf(&[&server])), expected);
}

/// All but the identification, which is random.
#[test]
fn nam_2_the_question_on_the_wire_is_the_vector() {
    let vector = "0100000100000000000006697361746170076578616d706c6503636f6d0000010001";
    let server = Server::start(|q| vec![q.answer(NOERROR, &[a(NAME, [10, 0, 0, 1], 60)])]);
    let answer = ask(&conf(&[&server]));
    assert_eq!(answer, records(&[[10, 0, 0, 1]], 60));
    let question = server.questions().pop().unwrap();
    let hex: String = question.bytes.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex[4..], *vector);
    assert!(!question.tcp);
}

#[test]
fn sec_14_identification_and_port_change_with_each_question() {
    let server = Server::start(|q| vec![q.answer(NXDOMAIN, &[])]);
    for _ in 0..16 {
        let _ = ask(&conf(&[&server]));
    }
    let questions = server.questions();
    let distinct = |key: fn(&Question) -> u16| {
        let mut keys: Vec<u16> = questions.iter().map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.len()
    };
    // Of 16 out of 65536, three equal pairs would be a wonder.
    assert!(distinct(|question| question.id) >= 13);
    assert!(distinct(|question| question.client.port()) >= 13);
}

#[test]
fn isa_24_no_answer_is_a_timeout_in_bounded_time() {
    let (one, two) = (Server::silent(), Server::silent());
    let mut conf = impatient(&[&one, &two]);
    conf.attempts = 2;
    let start = Instant::now();
    assert_eq!(ask(&conf), Err(Failure::Timeout));
    let took = start.elapsed();
    assert!(took >= TIMEOUT, "{took:?}");
    assert!(took < TIMEOUT * 4 + Duration::from_secs(1), "{took:?}");
    // The deadline cuts a longer timeout short.
    conf.timeout = Duration::from_secs(5);
    let start = Instant::now();
    let name: Name = "isatap.example.com.".parse().unwrap();
    let answer = StubClient::new().addresses(&name, &conf, start + TIMEOUT);
    assert_eq!(answer, Err(Failure::Timeout));
    assert!(start.elapsed() < TIMEOUT * 5);
    // Past the deadline nobody is asked.
    let asked = one.questions().len() + two.questions().len();
    let answer = StubClient::new().addresses(&name, &conf, Instant::now());
    assert_eq!(answer, Err(Failure::Timeout));
    assert_eq!(one.questions().len() + two.questions().len(), asked);
    // Two rounds over two servers, then one try that the deadline cut.
    assert!(one.questions().len() >= 3);
    assert!(two.questions().len() >= 2);
}

#[test]
fn isa_24_nobody_there_is_not_an_absence() {
    // A port that was just free: the kernel answers with an ICMP error.
    let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut conf = conf(&[]);
    conf.nameservers = vec![address];
    conf.timeout = TIMEOUT;
    let failure = ask(&conf).unwrap_err();
    assert_eq!(failure, Failure::Unreachable);
    assert!(failure.keeps_routers());
}

#[test]
fn isa_24_servfail_and_refused_are_failures() {
    check(|q| vec![q.answer(SERVFAIL, &[])], Err(Failure::ServerFailure));
    check(|q| vec![q.answer(REFUSED, &[])], Err(Failure::ServerFailure));
}

#[test]
fn nam_9_nxdomain_and_an_empty_answer_are_an_absence() {
    check(|q| vec![q.answer(NXDOMAIN, &[])], Err(Failure::NoSuchName));
    check(|q| vec![q.answer(NOERROR, &[])], Err(Failure::NoSuchName));
}

#[test]
fn nam_8_aaaa_is_ignored() {
    check(|q| vec![q.answer(NOERROR, &[aaaa(NAME, 60)])], Err(Failure::NoSuchName));
    check(|q| vec![q.answer(NOERROR, &[aaaa(NAME, 5), a(NAME, [10, 0, 0, 1], 60)])], records(&[[10, 0, 0, 1]], 60));
}

#[test]
fn isa_22_a_ttl_of_zero_is_told() {
    check(|q| vec![q.answer(NOERROR, &[a(NAME, [10, 0, 0, 1], 0)])], records(&[[10, 0, 0, 1]], 0));
}

#[test]
fn nam_7_an_alias_is_followed_and_the_smallest_ttl_counts() {
    check(
        |q| {
            let router = "da-isatap.example.com";
            let chain = [cname(NAME, router, 60), a(router, [10, 0, 0, 1], 3600)];
            vec![q.answer(NOERROR, &chain)]
        },
        records(&[[10, 0, 0, 1]], 60),
    );
}

#[test]
fn nam_7_an_alias_is_followed_over_several_answers() {
    check(
        |q| {
            let record = match q.name.as_str() {
                NAME => cname(NAME, "b.example.com", 30),
                "b.example.com" => cname("b.example.com", "c.example.net", 300),
                name => a(name, [10, 0, 0, 1], 3600),
            };
            vec![q.answer(NOERROR, &[record])]
        },
        records(&[[10, 0, 0, 1]], 30),
    );
}

#[test]
fn nam_7_an_alias_of_nothing_is_an_absence() {
    check(
        |q| {
            let flags = if q.name == NAME { NOERROR } else { NXDOMAIN };
            let alias = [cname(NAME, "gone.example.com", 300)];
            vec![q.answer(flags, if q.name == NAME { &alias } else { &[] })]
        },
        Err(Failure::NoSuchName),
    );
}

#[test]
fn nam_7_a_loop_of_aliases_ends_and_is_not_an_absence() {
    let in_one_answer = Server::start(|q| {
        let other = "b.example.com";
        vec![q.answer(NOERROR, &[cname(NAME, other, 60), cname(other, NAME, 60)])]
    });
    let over_several = Server::start(|q| {
        let target = if q.name == NAME { "b.example.com" } else { NAME };
        vec![q.answer(NOERROR, &[cname(&q.name, target, 60)])]
    });
    for server in [&in_one_answer, &over_several] {
        let before = server.questions().len();
        let answer = ask(&conf(&[server]));
        assert_eq!(answer, Err(Failure::BadAnswer));
        assert!(server.questions().len() - before <= 9);
    }
}

#[test]
fn nam_7_the_limit_of_eight_holds_over_all_answers() {
    // Each answer holds five aliases of a chain without end.
    let server = Server::start(|q| {
        let first = q.name.split('.').next().unwrap();
        let first: u32 = first.strip_prefix('n').map_or(0, |n| n.parse().unwrap());
        let name = |n: u32| if n == 0 { NAME.to_owned() } else { format!("n{n}.example.com") };
        let chain: Vec<Record> = (first..first + 5).map(|n| cname(&name(n), &name(n + 1), 60)).collect();
        vec![q.answer(NOERROR, &chain)]
    });
    let answer = ask(&conf(&[&server]));
    assert_eq!(answer, Err(Failure::BadAnswer));
    assert_eq!(server.questions().len(), 2);
}

#[test]
fn answers_that_are_not_ours_are_passed_over() {
    check(
        |q| {
            let forged = [a(NAME, [192, 0, 2, 66], 60)];
            let other = "isatap.example.net";
            vec![
                message(q.id ^ 1, NOERROR, NAME, &forged),
                message(q.id ^ 0x8000, NXDOMAIN, NAME, &[]),
                message(q.id, NOERROR, other, &[a(other, [192, 0, 2, 66], 60)]),
                message(q.id, NXDOMAIN, other, &[]),
                q.answer(NOERROR, &[a(NAME, [10, 0, 0, 1], 60)]),
            ]
        },
        records(&[[10, 0, 0, 1]], 60),
    );
}

#[test]
fn our_own_question_is_no_answer() {
    let server = Server::start(|q| {
        let router = [a(NAME, [10, 0, 0, 1], 60)];
        vec![q.bytes.clone(), q.answer(NOERROR, &router)]
    });
    let answer = ask(&conf(&[&server]));
    assert_eq!(answer, records(&[[10, 0, 0, 1]], 60));
}

#[test]
fn only_a_wrong_identification_is_no_answer() {
    let server = Server::start(|q| vec![message(q.id ^ 1, NXDOMAIN, NAME, &[])]);
    let answer = ask(&impatient(&[&server]));
    assert_eq!(answer, Err(Failure::Timeout));
}

#[test]
fn answers_from_elsewhere_are_not_heard() {
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    check(
        move |q| {
            let forged = q.answer(NOERROR, &[a(NAME, [192, 0, 2, 66], 60)]);
            // Refused by the kernel of a connected socket; that may come back as an error.
            let _ = stranger.send_to(&forged, q.client);
            vec![q.answer(NOERROR, &[a(NAME, [10, 0, 0, 1], 60)])]
        },
        records(&[[10, 0, 0, 1]], 60),
    );
}

#[test]
fn a_flood_of_guesses_ends_the_question() {
    let server = Server::start(|q| {
        let guess = |id| message(id, NOERROR, NAME, &[a(NAME, [192, 0, 2, 66], 60)]);
        (1..200).map(|n| guess(q.id ^ n)).collect()
    });
    let start = Instant::now();
    let answer = ask(&impatient(&[&server]));
    // A busy machine may lose datagrams of the flood: then the time ends it.
    assert!(matches!(answer, Err(Failure::BadAnswer | Failure::Timeout)));
    assert!(start.elapsed() < TIMEOUT * 5);
}

#[test]
fn five_hundred_addresses_come_by_tcp() {
    let many = || (0..500u16).map(|n| a(NAME, [10, 1, (n >> 8) as u8, n as u8], 60));
    let server = Server::start(move |q| {
        let records: Vec<Record> = many().collect();
        vec![if q.tcp { q.answer(NOERROR, &records) } else { q.answer(NOERROR | TRUNCATED, &records[..10]) }]
    });
    let answer = ask(&conf(&[&server])).unwrap();
    assert_eq!(answer.addresses.len(), 500);
    assert_eq!(answer.addresses[499], Ipv4Addr::new(10, 1, 1, 243));
    assert!(server.questions().pop().unwrap().tcp);
    // In one datagram, beyond the 512 octets that a server may send unasked.
    let server = Server::start(move |q| vec![q.answer(NOERROR, &many().collect::<Vec<_>>())]);
    let answer = ask(&conf(&[&server])).unwrap();
    assert_eq!(answer.addresses.len(), 500);
}

#[test]
fn truncated_without_tcp_is_not_an_absence() {
    let server = Server::start(|q| match q.tcp {
        true => vec![],
        false => vec![q.answer(NOERROR | TRUNCATED, &[])],
    });
    let failure = ask(&impatient(&[&server])).unwrap_err();
    assert!(failure.keeps_routers(), "{failure:?}");
}

#[test]
fn a_message_cut_short_is_not_believed() {
    let full = message(0, NOERROR, NAME, &[a(NAME, [10, 0, 0, 1], 60)]).len();
    for cut in [11, 20, 36, 40, full - 1] {
        let server = Server::start(move |q| {
            let mut answer = q.answer(NOERROR, &[a(NAME, [10, 0, 0, 1], 60)]);
            answer.truncate(cut);
            vec![answer]
        });
        let failure = ask(&impatient(&[&server])).unwrap_err();
        assert!(failure.keeps_routers(), "{cut}: {failure:?}");
    }
}

/// One octet now and then must not keep the thread beyond its time.
#[test]
fn a_dripping_stream_ends_with_the_timeout() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind(udp.local_addr().unwrap()).unwrap();
    let address = udp.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        let (length, client) = udp.recv_from(&mut buffer).unwrap();
        let question = Question::read(&buffer[..length], client, false);
        let answer = question.answer(NOERROR | TRUNCATED, &[]);
        udp.send_to(&answer, client).unwrap();
        let (mut stream, _) = tcp.accept().unwrap();
        while stream.write_all(&[1]).is_ok() {
            std::thread::sleep(TIMEOUT / 10);
        }
    });
    let mut conf = impatient(&[]);
    conf.nameservers = vec![address];
    let start = Instant::now();
    let answer = ask(&conf);
    assert_eq!(answer, Err(Failure::Timeout));
    assert!(start.elapsed() < TIMEOUT * 5);
}

#[test]
fn the_next_server_is_asked_after_silence_and_after_a_failure() {
    let good = Server::start(|q| vec![q.answer(NOERROR, &[a(NAME, [10, 0, 0, 1], 60)])]);
    let silent = Server::silent();
    let failing = Server::start(|q| vec![q.answer(SERVFAIL, &[])]);
    for first in [&silent, &failing] {
        let answer = ask(&impatient(&[first, &good]));
        assert_eq!(answer, records(&[[10, 0, 0, 1]], 60));
    }
    // One server's error and another's silence together are no absence.
    let mut twice = impatient(&[&failing, &silent]);
    twice.attempts = 2;
    let (failing_before, silent_before) = (failing.questions().len(), silent.questions().len());
    let answer = ask(&twice);
    assert_eq!(answer, Err(Failure::ServerFailure));
    // Only who was not heard is asked again.
    assert_eq!(failing.questions().len() - failing_before, 1);
    assert_eq!(silent.questions().len() - silent_before, 2);
}

#[test]
fn isa_25_unusable_addresses_of_an_answer_are_refused() {
    let server = Server::start(|q| {
        let addresses =
            [[127, 0, 0, 1], [224, 0, 0, 1], [10, 0, 0, 1], [10, 0, 0, 10], [0, 0, 0, 0], [255, 255, 255, 255]];
        vec![q.answer(NOERROR, &addresses.map(|address| a(NAME, address, 60)))]
    });
    let own = Ipv4Addr::new(10, 0, 0, 1);
    let mut lookup = Lookup::with_client(settings(&server), StubClient::new());
    let answer = lookup.resolve(&[own]).unwrap();
    assert_eq!(answer.addresses, [Ipv4Addr::new(10, 0, 0, 10)]);
    let reasons: Vec<Unusable> = answer.refused.iter().map(|(_, reason)| *reason).collect();
    assert_eq!(
        reasons,
        [Unusable::Loopback, Unusable::Multicast, Unusable::Own, Unusable::ThisNetwork, Unusable::Broadcast]
    );
}

/// `isatap` in `example.com`, by this server and nothing of this machine's.
fn settings(server: &Server) -> Settings {
    let mut settings = Settings::default();
    settings.nameservers = Some(vec![server.address]);
    settings.search = Some(vec!["example.com".parse().unwrap()]);
    settings.steps = vec![Step::Dns];
    settings.resolver_file = "/nonexistent/resolv.conf".into();
    settings
}

#[test]
fn isa_24_the_resolver_tells_failure_from_absence_and_recovers() {
    let flags = Arc::new(Mutex::new(NOERROR));
    let current = flags.clone();
    let server = Server::start(move |q| {
        let flags = *current.lock().unwrap();
        let router = [a(NAME, [10, 0, 0, 1], 60)];
        vec![q.answer(flags, if flags == NOERROR { &router } else { &[] })]
    });
    let mut resolver = Resolver::new(settings(&server)).unwrap();
    assert_eq!(resolver.try_recv(), None);
    for (answer, expected) in [
        (NOERROR, Ok(vec![Ipv4Addr::new(10, 0, 0, 1)])),
        (SERVFAIL, Err(Failure::ServerFailure)),
        (NXDOMAIN, Err(Failure::NoSuchName)),
        (NOERROR, Ok(vec![Ipv4Addr::new(10, 0, 0, 1)])),
    ] {
        *flags.lock().unwrap() = answer;
        assert!(resolver.request(&[]));
        let outcome = resolver.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(outcome.map(|answer| answer.addresses), expected);
        assert!(!resolver.is_pending());
        assert_eq!(resolver.try_recv(), None, "an answer comes once");
    }
}

/// Waits until the resolver's descriptor is readable, by reading from a duplicate.
#[cfg(unix)]
fn wait_readable(resolver: &Resolver) {
    use std::os::fd::AsFd;
    let wake = resolver.as_fd().try_clone_to_owned().unwrap();
    let mut wake = std::os::unix::net::UnixStream::from(wake);
    let end = soon();
    while wake.read(&mut [0; 1]).is_err() {
        assert!(Instant::now() < end, "never readable");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(unix)]
#[test]
fn the_resolver_wakes_a_poll_loop_and_answers_one_request_at_a_time() {
    let server = Server::start(|q| {
        std::thread::sleep(Duration::from_millis(50));
        vec![q.answer(NOERROR, &[a(NAME, [10, 0, 0, 1], 60)])]
    });
    let mut resolver = Resolver::new(settings(&server)).unwrap();
    for _ in 0..3 {
        assert!(resolver.request(&[]));
        assert!(resolver.is_pending());
        assert!(!resolver.request(&[]), "one at a time");
        wait_readable(&resolver);
        let answer = resolver.try_recv().expect("readable means there").unwrap();
        assert_eq!(answer.ttl, Some(Duration::from_secs(60)));
    }
    assert_eq!(server.questions().len(), 3);
}

struct Panics;

impl AddressLookup for Panics {
    fn addresses(&mut self, _: &Name, _: &ResolvConf, _: Instant) -> Result<Records, Failure> {
        panic!("expected by this test");
    }
}

#[cfg(unix)]
#[test]
fn a_resolver_that_died_says_so_and_keeps_the_routers() {
    let server = Server::silent();
    let mut resolver = Resolver::with_client(settings(&server), Panics).unwrap();
    // The first request kills the thread, the second finds it dead.
    for _ in 0..2 {
        assert!(resolver.request(&[]));
        wait_readable(&resolver);
        assert_eq!(resolver.try_recv(), Some(Err(Failure::Stopped)));
        assert!(!resolver.is_pending());
    }
    assert!(Failure::Stopped.keeps_routers());
}

#[test]
fn dropping_the_resolver_does_not_wait_for_the_server() {
    let server = Server::silent();
    let mut resolver = Resolver::new(settings(&server)).unwrap();
    resolver.request(&[]);
    let start = Instant::now();
    drop(resolver);
    assert!(start.elapsed() < Duration::from_secs(1));
}
